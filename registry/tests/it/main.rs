//! The real server over a real socket.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a failed expectation must fail the test"
)]

mod access;
mod bad_input;
mod base;
mod blobs;
mod commands;
mod htpasswd;
mod jobs;
mod limits;
mod listings;
mod manifests;
mod metrics;
mod preconditions;
mod programs;
mod referrers;
mod search;
mod stop;
mod support;
mod tls;
mod tokens;
mod uploads;

/// A file that no `mod` line names would never run.
#[test]
fn every_test_file_is_part_of_the_binary() {
    let main = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            ["main", "snapshots"].contains(&name.as_str()) || main.contains(&format!("mod {name};")),
            "{name} is not a module"
        );
    }
}
