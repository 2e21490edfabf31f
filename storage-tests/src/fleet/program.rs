//! Where the registry's program is.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Returns the `wharf-registry` that the same cargo run has built: the one in the folder above this test's own.
///
/// Cargo builds no other package's program for a test, so that the program may be missing, or older than its sources,
/// when this package alone is tested; `cargo x test` builds both.
pub fn registry() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("wharf-registry");
    let way_out = "build it with this package: `cargo build -p wharf-registry -p storage-tests`";
    assert!(program.is_file(), "there is no {}: {way_out}", program.display());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry");
    let newest = ["src", "migrations", "protocol/src"]
        .iter()
        .filter_map(|folder| newest(&sources.join(folder)))
        .max();
    assert!(
        newest <= Some(changed(&program)),
        "{} is older than its sources: {way_out}",
        program.display()
    );
    program
}

/// Returns when the newest file under a folder was changed.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                newest(&path)
            } else {
                Some(changed(&path))
            }
        })
        .max()
}

fn changed(path: &Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}
