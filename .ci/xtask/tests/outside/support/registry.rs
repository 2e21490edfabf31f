//! A registry on its embedded default, in a folder and on a port of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::programs::{ours, said};

/// A running `wharf-registry`, ended when it is dropped.
pub(crate) struct Registry {
    server: Child,
    address: String,
    data: TempDir,
}

impl Registry {
    /// Starts the registry and waits until it answers.
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let log = fs::File::create(data.path().join("log")).unwrap();
        let mut server = Command::new(ours("wharf-registry"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let address = address.unwrap_or_else(|| {
            let status = server.wait().unwrap();
            let log = fs::read_to_string(data.path().join("log")).unwrap();
            panic!("the registry said {line:?} and ended with {status}:\n{log}")
        });
        Self {
            server,
            address,
            data,
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The password of the user `admin`, made on this first start.
    pub(crate) fn password(&self) -> String {
        let file = self.data.path().join("data/admin-password");
        fs::read_to_string(file).unwrap().trim_end().to_owned()
    }

    /// `admin:PASSWORD`.
    pub(crate) fn credentials(&self) -> String {
        format!("admin:{}", self.password())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        said(Command::new("kill").arg(self.server.id().to_string()));
        let status = self.server.wait().unwrap();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
            #[expect(clippy::print_stderr, reason = "nextest shows it beside the failure")]
            {
                eprintln!("--- the registry's log\n{log}");
            }
        } else {
            assert!(
                status.success(),
                "asked to stop, the registry ended with {status}"
            );
        }
    }
}
