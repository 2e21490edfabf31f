//! The real `wharf-registry`, on a port and in a folder of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running server; it is asked to stop, and must, when it is dropped.
pub(crate) struct Server {
    pub(crate) host: String,
    folder: tempfile::TempDir,
    process: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts it with more flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let wharf = Path::new(env!("CARGO_BIN_EXE_wharf"));
        let program = wharf.with_file_name("wharf-registry");
        if !program.exists() {
            build(wharf);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let host = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self {
            host,
            folder,
            process,
        }
    }

    /// The password of the first user, `admin`.
    pub(crate) fn password(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("data/admin-password"))
            .unwrap()
            .trim()
            .to_owned()
    }
}

/// Cargo builds no other package's program for a test.
fn build(wharf: &Path) {
    let target = wharf.parent().unwrap().parent().unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "wharf-registry", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
