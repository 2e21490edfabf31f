//! The registry beside its peers, interleaved, on this machine: `cargo bench -p wharf-registry`.
//!
//! Peers are Debian's `docker-registry` and `nginx`, at their best settings, if they are on PATH; one that is absent is
//! named. Each figure is the minimum and the median of the rounds; a ratio is of the medians, ours over the peer's.
//! CPU seconds are those of the server's processes, user and system together.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark: a failure ends it, and its table goes to stdout"
)]

mod client;
mod listings;
mod open_uploads;
mod servers;
mod start;
mod table;
mod work;

use servers::{DockerRegistry, Nginx, Wharf};

/// How often each measurement is made.
const ROUNDS: usize = 5;

fn main() {
    let folder =
        tempfile::tempdir_in(std::env::var_os("BENCH_FOLDER").unwrap_or_else(|| "/var/tmp".into())).unwrap();
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if wanted("start") {
        start::first_answer_and_idle_memory(folder.path());
    }
    let wharf = Wharf::start(&folder.path().join("wharf"));
    let docker = DockerRegistry::start(&folder.path().join("docker"));
    let nginx = Nginx::start(&folder.path().join("nginx"));
    for (peer, found) in [("docker-registry", docker.is_some()), ("nginx", nginx.is_some())] {
        if !found {
            println!("absent: {peer}");
        }
    }
    let peers = work::Peers {
        wharf: &wharf,
        docker: docker.as_ref(),
        nginx: nginx.as_ref(),
    };
    if wanted("manifest") {
        peers.manifest_reads();
    }
    if wanted("ping") {
        peers.ping();
    }
    if wanted("listings") {
        peers.tags();
        peers.catalog();
    }
    if wanted("get") {
        peers.blob_get(1);
        peers.blob_get(8);
    }
    if wanted("put") {
        peers.blob_put(folder.path());
    }
    if wanted("small") {
        peers.small_blobs();
    }
    if wanted("uploads") {
        peers.open_uploads();
    }
}
