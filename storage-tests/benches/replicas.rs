//! What three replicas add on S3: `cargo bench -p storage-tests --bench replicas`.
//!
//! One replica and three, each fleet over a PostgreSQL database and a bucket of its own, behind the round-robin proxy.
//! S3 is a server over a folder whose every request takes 15 ms, and 100 MB/s for its bytes, as S3's do from the same
//! region; PostgreSQL flushes nothing. A push is an image (a config of 300 bytes and a layer of 256 KiB, each in one
//! request, and a manifest), a pull is its manifest and both blobs. Each request has a connection of its own.
//!
//! Prints images a second by number of clients, one replica and three in turn, what the replicas' processes paid for an
//! image in CPU time, and how many cores the whole machine kept busy: client, proxy, S3 and database share them.
//!
//! The program is the one that `BENCH_PROGRAM` names, else the `wharf-registry` that was built with the same profile
//! (`cargo build --release -p wharf-registry -p storage-tests`). `BENCH_SECONDS` is how long each cell is measured (4).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its table, and a failure is a failed run"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use storage_tests::content::content;
use storage_tests::fleet::client::{Caller, Login, image, sha256};
use storage_tests::fleet::door::Trouble;
use storage_tests::fleet::{Fleet, Plan, program};

const CLIENTS: [usize; 4] = [1, 4, 16, 64];
const LAYER_BYTES: usize = 256 << 10;
/// How many images are pulled, in turn.
const IMAGES: u64 = 16;
const REPOSITORY: &str = "bench/app";
const S3: Trouble = Trouble::Slow {
    latency: Duration::from_millis(15),
    bytes_per_s: 100e6,
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Work {
    Push,
    Pull,
}

/// What one cell of the table came to.
struct Cell {
    images_per_s: f64,
    cpu_ms: f64,
    cores: f64,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::var("BENCH_SECONDS").ok();
    let seconds: f64 = seconds.map_or(4.0, |text| text.parse().unwrap());
    let program = std::env::var_os("BENCH_PROGRAM").map_or_else(program::registry, PathBuf::from);
    println!("{}, {seconds} s a cell, {S3:?}", program.display());
    let mut fleets = Vec::new();
    for replicas in [1, 3] {
        let fleet = Plan::of(program.clone()).await.start(replicas).await;
        let caller = logged_in(&fleet).await;
        for seed in 0..IMAGES {
            push(&caller, seed).await;
        }
        for replica in &fleet.replicas {
            replica.door().make(S3);
        }
        fleets.push(fleet);
    }
    println!(
        "{:<6}{:>8} | {:>13}{:>9}{:>7} | {:>13}{:>9}{:>7} | {:>5}",
        "", "clients", "1 replica /s", "CPU ms", "cores", "3 replicas /s", "CPU ms", "cores", "3/1"
    );
    for work in [Work::Push, Work::Pull] {
        for clients in CLIENTS {
            let one = measure(&fleets[0], work, clients, seconds).await;
            let three = measure(&fleets[1], work, clients, seconds).await;
            let shown = |cell: &Cell| {
                format!(
                    "{:>13.1}{:>9.1}{:>7.2}",
                    cell.images_per_s, cell.cpu_ms, cell.cores
                )
            };
            let ratio = three.images_per_s / one.images_per_s;
            println!(
                "{work:<6?}{clients:>8} | {} | {} | {ratio:>5.2}",
                shown(&one),
                shown(&three)
            );
        }
    }
}

/// Returns a client with a token, whose password nobody has to verify again.
async fn logged_in(fleet: &Fleet) -> Caller {
    let scope = format!("repository:{REPOSITORY}:pull,push");
    fleet.caller(Login::Bearer(fleet.admin().token(&[&scope]).await))
}

async fn measure(fleet: &Fleet, work: Work, clients: usize, seconds: f64) -> Cell {
    static SEED: AtomicU64 = AtomicU64::new(IMAGES);
    let caller = logged_in(fleet).await;
    let done = Arc::new(AtomicU64::new(0));
    let (begin, cpu, busy) = (Instant::now(), cpu_s(fleet), busy_s());
    let end = begin + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (caller, done) = (caller.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while Instant::now() < end {
                    match work {
                        Work::Push => push(&caller, SEED.fetch_add(1, Ordering::Relaxed)).await,
                        Work::Pull => pull(&caller, done.load(Ordering::Relaxed) % IMAGES).await,
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (took_s, images) = (begin.elapsed().as_secs_f64(), done.load(Ordering::Relaxed) as f64);
    Cell {
        images_per_s: images / took_s,
        cpu_ms: (cpu_s(fleet) - cpu) * 1000.0 / images,
        cores: (busy_s() - busy) / took_s,
    }
}

fn parts(seed: u64) -> (Vec<u8>, Vec<u8>) {
    (content(seed, 300), content(seed + (1 << 40), LAYER_BYTES))
}

async fn push(caller: &Caller, seed: u64) {
    let (config, layer) = parts(seed);
    caller.push_blob(REPOSITORY, &config).await;
    caller.push_blob(REPOSITORY, &layer).await;
    let manifest = image(&config, &[&layer]);
    let put = caller
        .put_manifest(REPOSITORY, &format!("t{seed}"), &manifest, &[])
        .await;
    let _ = put.expect(201);
}

async fn pull(caller: &Caller, seed: u64) {
    let manifest = caller
        .get(&format!("/v2/{REPOSITORY}/manifests/t{seed}"))
        .await
        .expect(200)
        .json();
    for blob in [&manifest["config"], &manifest["layers"][0]] {
        let digest = blob["digest"].as_str().unwrap();
        let got = caller
            .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await
            .expect(200);
        assert_eq!(sha256(&got.body).to_string(), digest);
    }
}

/// Returns the CPU seconds of all replicas so far.
fn cpu_s(fleet: &Fleet) -> f64 {
    let of_one = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // utime and stime, in ticks of 10 ms.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    fleet.replicas.iter().map(|replica| of_one(replica.pid())).sum()
}

/// Returns the seconds that all cores together have been busy since the machine started.
fn busy_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
    // All but idle and waiting for the disk.
    (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / 100.0
}
