//! What is measured.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use wharf_protocol::digest::{Algorithm, Digest};

use super::client::Connection;
use super::servers::{DockerRegistry, Nginx, Server, Wharf};
use super::table::{Contender, Round, Table};

pub(crate) const REPOSITORY: &str = "admin/bench";
const LARGE_BYTES: usize = 256 << 20;
const LARGE_GB: f64 = LARGE_BYTES as f64 / 1e9;

/// What manifests are asked for: docker-registry answers 404 for one whose type is not accepted.
const ACCEPT: &str = "Accept: application/vnd.oci.image.manifest.v1+json\r\n";

/// The servers side by side.
pub(crate) struct Peers<'a> {
    pub(crate) wharf: &'a Wharf,
    pub(crate) docker: Option<&'a DockerRegistry>,
    pub(crate) nginx: Option<&'a Nginx>,
}

/// Bytes that no compression or deduplication makes cheaper, and that differ by `seed`.
fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

impl Peers<'_> {
    /// Opens a connection to each registry that is there.
    fn registries(&self) -> Vec<(&'static str, &Server, String)> {
        self.registries_for(&format!("repository:{REPOSITORY}:pull,push"))
    }

    /// As [`Self::registries`], with a token of ours for `scope`.
    pub(crate) fn registries_for(&self, scope: &str) -> Vec<(&'static str, &Server, String)> {
        let mut all = vec![(
            "wharf-registry",
            &self.wharf.server,
            self.wharf.authorization(scope),
        )];
        if let Some(docker) = self.docker {
            all.push(("docker-registry", &docker.server, String::new()));
        }
        all
    }

    /// A manifest by tag, 16 connections, GET and HEAD; ours with a token, the peers without.
    pub(crate) fn manifest_reads(&self) {
        let config = content(2000, 1);
        let layer = content(5000, 2);
        let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap();
        let path = format!("/v2/{REPOSITORY}/manifests/latest");
        let registries = self.registries();
        let mut contenders: Vec<Contender<'_>> = Vec::new();
        let mut heads: Vec<Contender<'_>> = Vec::new();
        for (name, server, authorization) in &registries {
            let mut connection = Connection::open(&server.address, authorization);
            for bytes in [&config, &layer] {
                connection.push(REPOSITORY, &sha256(bytes), bytes);
            }
            connection.put_manifest(REPOSITORY, "latest", &manifest);
            contenders.push((*name, wrk(server, &path, authorization)));
            heads.push((*name, head_requests(server, &path, authorization)));
        }
        if let Some(nginx) = self.nginx {
            nginx.add("manifest", &manifest);
            contenders.push(("nginx", wrk(&nginx.server, "/manifest", "")));
            heads.push(("nginx", head_requests(&nginx.server, "/manifest", "")));
        }
        Table::run(
            "manifest GET by tag, wrk, 16 connections",
            "req/s",
            "1000",
            &mut contenders,
        );
        Table::run(
            "manifest HEAD by tag, 16 connections",
            "req/s",
            "1000",
            &mut heads,
        );
    }

    /// A large blob, by so many connections at once.
    pub(crate) fn blob_get(&self, connections: usize) {
        let bytes = content(LARGE_BYTES, 3);
        let digest = sha256(&bytes);
        let authorization = self.wharf.authorization(&format!("repository:{REPOSITORY}:pull"));
        Connection::open(&self.wharf.server.address, Wharf::LOGIN).push(REPOSITORY, &digest, &bytes);
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        let mut contenders: Vec<Contender<'_>> = vec![(
            "wharf-registry",
            downloads(&self.wharf.server, path, authorization, connections),
        )];
        if let Some(nginx) = self.nginx {
            nginx.add("blob", &bytes);
            contenders.push((
                "nginx",
                downloads(&nginx.server, "/blob".into(), String::new(), connections),
            ));
        }
        let what = format!("blob GET 256 MiB, {connections} connection(s)");
        Table::run(&what, "MB/s", "GB", &mut contenders);
    }

    /// A large blob, verified; ours durable, the peer's not. The floor is openssl over the same bytes.
    pub(crate) fn blob_put(&self, folder: &Path) {
        let registries = self.registries();
        let mut bytes = content(LARGE_BYTES, 4);
        let file = folder.join("bytes");
        std::fs::write(&file, &bytes).unwrap();
        let mut seed = 0_u64;
        let mut next = move || {
            seed += 1;
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            (sha256(&bytes), bytes.clone())
        };
        let next = std::cell::RefCell::new(&mut next);
        let mut contenders: Vec<Contender<'_>> = Vec::new();
        for (name, server, authorization) in &registries {
            let next = &next;
            contenders.push((
                *name,
                Box::new(move || {
                    let (digest, bytes) = (next.borrow_mut())();
                    let mut connection = Connection::open(&server.address, authorization);
                    Round::measure(server, LARGE_GB * 1e3, LARGE_GB, || {
                        connection.push(REPOSITORY, &digest, &bytes);
                    })
                }),
            ));
        }
        contenders.push(("openssl dgst", Box::new(|| openssl(&file))));
        Table::run("blob PUT 256 MiB (ours: fsynced)", "MB/s", "GB", &mut contenders);
    }

    /// Blobs of 1 MiB, eight clients pushing; ours durable, the peer's not.
    pub(crate) fn small_blobs(&self) {
        const CLIENTS: u64 = 8;
        const EACH: u64 = 16;
        let registries = self.registries();
        let seed = std::sync::atomic::AtomicU64::new(1000);
        let seed = &seed;
        let mut contenders: Vec<Contender<'_>> = Vec::new();
        for (name, server, authorization) in &registries {
            contenders.push((
                *name,
                Box::new(move || {
                    let all: Vec<Vec<(String, Vec<u8>)>> = (0..CLIENTS)
                        .map(|_| {
                            let one = |_| {
                                let seed = seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                                let bytes = content(1 << 20, seed);
                                (sha256(&bytes), bytes)
                            };
                            (0..EACH).map(one).collect()
                        })
                        .collect();
                    let blobs = (CLIENTS * EACH) as f64;
                    Round::measure(server, blobs, blobs, || {
                        std::thread::scope(|scope| {
                            for blobs in &all {
                                scope.spawn(move || {
                                    let mut connection = Connection::open(&server.address, authorization);
                                    for (digest, bytes) in blobs {
                                        connection.push(REPOSITORY, digest, bytes);
                                    }
                                });
                            }
                        });
                    })
                }),
            ));
        }
        Table::run(
            "blobs of 1 MiB, 8 clients (ours: fsynced)",
            "blobs/s",
            "blob",
            &mut contenders,
        );
    }
}

/// A round of `wrk` against a path.
pub(crate) fn wrk<'a>(server: &'a Server, path: &str, authorization: &str) -> Box<dyn FnMut() -> Round + 'a> {
    let url = format!("http://{}{path}", server.address);
    let header = authorization.trim().to_owned();
    Box::new(move || {
        let mut command = Command::new("wrk");
        command.args(["-t2", "-c16", "-d4s", "--latency", "-H", ACCEPT.trim()]);
        if !header.is_empty() {
            command.args(["-H", &header]);
        }
        let cpu = server.cpu_s();
        let output = command.arg(&url).output().expect("wrk is on PATH");
        let cpu = server.cpu_s() - cpu;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("Non-2xx"), "{url}: {text}");
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(name))
                .map_or("?", str::trim)
                .to_owned()
        };
        let rate: f64 = field("Requests/sec:")
            .parse()
            .unwrap_or_else(|_| panic!("{text}"));
        let requests: f64 = text
            .lines()
            .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
            .unwrap_or(rate * 4.0);
        Round {
            rate,
            cpu: cpu / requests * 1000.0,
            note: format!("p99 {}", field("99%")),
        }
    })
}

/// A round of HEAD, which `wrk` cannot: it waits for the body. Two threads have eight connections each.
fn head_requests<'a>(server: &'a Server, path: &str, authorization: &str) -> Box<dyn FnMut() -> Round + 'a> {
    const EACH: usize = 2000;
    let (path, authorization) = (path.to_owned(), authorization.to_owned());
    Box::new(move || {
        let requests = (2 * 8 * EACH) as f64;
        Round::measure(server, requests, requests / 1000.0, || {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let open = |_| Connection::open(&server.address, &authorization);
                        let mut connections: Vec<Connection> = (0..8).map(open).collect();
                        for _ in 0..EACH {
                            for connection in &mut connections {
                                connection.send("HEAD", &path, ACCEPT, 0);
                            }
                            for connection in &mut connections {
                                assert_eq!(connection.head().status, 200);
                            }
                        }
                    });
                }
            });
        })
    })
}

/// A round of downloads, each connection once.
fn downloads(
    server: &Server,
    path: String,
    authorization: String,
    connections: usize,
) -> Box<dyn FnMut() -> Round + '_> {
    Box::new(move || {
        let total = LARGE_GB * connections as f64;
        Round::measure(server, total * 1e3, total, || {
            std::thread::scope(|scope| {
                for _ in 0..connections {
                    scope.spawn(|| {
                        let mut connection = Connection::open(&server.address, &authorization);
                        let answer = connection.ask("GET", &path, "", b"");
                        assert_eq!((answer.status, answer.body_bytes), (200, LARGE_BYTES));
                    });
                }
            });
        })
    })
}

/// What hashing the same bytes costs by itself.
fn openssl(file: &Path) -> Round {
    let children_cpu_s = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) / 100.0
    };
    let (cpu, begin) = (children_cpu_s(), Instant::now());
    let done = Command::new("openssl")
        .args(["dgst", "-sha256"])
        .arg(file)
        .output()
        .expect("openssl is on PATH");
    assert!(done.status.success());
    let rate = LARGE_GB * 1e3 / begin.elapsed().as_secs_f64();
    Round {
        rate,
        cpu: (children_cpu_s() - cpu) / LARGE_GB,
        note: String::new(),
    }
}
