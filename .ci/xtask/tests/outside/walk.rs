//! `cargo x try`'s walk, with the programs that were built for the tests.

use std::process::Command;

use crate::support::programs::{programs, root, said};

#[test]
fn the_walk_goes_from_login_to_a_served_page_and_leaves_nothing() {
    let cache = xtask::workspace::cache().unwrap().join("walk");
    let _lock = xtask::workspace::lock(&cache.with_file_name("walks")).unwrap();
    let mut walk = Command::new(env!("CARGO_BIN_EXE_xtask"));
    walk.current_dir(root())
        .arg("walk")
        .arg("--programs")
        .arg(programs())
        .arg("--cache")
        .arg(&cache);
    let told = said(&mut walk);
    for shown in [
        "Login Succeeded",
        "hello from busybox",
        "Welcome to nginx!",
        "Directory listing for /",
    ] {
        assert!(told.contains(shown), "{shown}: {told}");
    }
    assert!(!cache.join("walk").exists(), "the walk's folder is still there");
}
