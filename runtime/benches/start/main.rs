//! How long a container takes to start and end: `run` of `true` in new pid, mount, uts, ipc, cgroup and network
//! namespaces, ours beside the runtimes found on PATH and beside the bare system calls, without and with the
//! client's default seccomp profile.
//!
//! `cargo bench -p wharf-runtime [-- --rounds N] [-- --only NAME]`, as root. The contestants take turns within one
//! run, 20 ms apart, because the kernel cleans up a network namespace behind the back of whoever comes next.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

mod bundle;
mod contestant;
mod floor;
mod table;

use std::{thread, time::Duration};

use bundle::Bundles;
use contestant::Contestant;

/// The pause between two starts.
const PAUSE: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).cloned()
    };
    let rounds: usize = option("--rounds").map_or(60, |rounds| rounds.parse().unwrap());
    let only = option("--only");
    assert!(
        rustix::process::geteuid().is_root(),
        "containers are started as root here"
    );

    let bundles = Bundles::new();
    let (contestants, absent) = contestant::all(&bundles);
    let mut contestants: Vec<Contestant> = contestants;
    contestants.retain(|contestant| only.as_ref().is_none_or(|only| contestant.name().contains(only)));
    for _ in 0..rounds {
        for contestant in &mut contestants {
            thread::sleep(PAUSE);
            contestant.round();
        }
    }
    table::print(rounds, &contestants);
    for line in absent {
        println!("{line}");
    }
}
