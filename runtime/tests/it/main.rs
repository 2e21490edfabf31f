//! The real program over real bundles, as root, on the real kernel.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a failed expectation must fail the test"
)]

mod bad_input;
mod callers;
mod cgroups;
mod cve;
mod exec;
mod hooks;
mod lifecycle;
mod mounts;
mod namespaces;
mod peers;
mod process;
mod sandbox;
mod support;
mod terminal;
mod unified;

/// A file that no `mod` line names would never run.
#[test]
fn every_test_file_is_part_of_the_binary() {
    let main = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry
            .unwrap()
            .path()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            name == "main" || main.contains(&format!("mod {name};")),
            "{name}.rs is not in main.rs"
        );
    }
}
