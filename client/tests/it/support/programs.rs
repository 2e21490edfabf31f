//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `wharf` that cargo built for this test.
pub(crate) fn wharf() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wharf"))
}

/// The `wharf-runtime` beside it, built first, since cargo builds no other package's program for a test.
pub(crate) fn runtime() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("wharf-runtime")).clone()
}

fn built(package: &str) -> PathBuf {
    let wharf = wharf();
    let folder = wharf.parent().unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--target-dir"])
        .arg(folder.parent().unwrap())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()
        .unwrap();
    assert!(status.success(), "cargo build --package {package}");
    folder.join(package)
}
