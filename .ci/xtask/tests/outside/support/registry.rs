//! A registry on its embedded default, in a folder and on a port of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::bucket::Bucket;
use super::machine::Machine;
use super::programs::{ours, said, said_after, tool};

/// A running `wharf-registry`, ended when it is dropped.
pub(crate) struct Registry {
    server: Child,
    address: String,
    data: TempDir,
}

impl Registry {
    /// Starts the registry with its defaults and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Starts the registry with these settings (TOML).
    pub(crate) fn with(settings: &str) -> Self {
        Self::run(tool("setpriv"), &[], "127.0.0.1:0", settings)
    }

    /// Starts the registry in a machine's network, on this address of its.
    pub(crate) fn inside(machine: &Machine, address: &str, settings: &str) -> Self {
        let setpriv = machine.networked("setpriv");
        Self::run(setpriv, &[], &format!("{address}:0"), settings)
    }

    /// Starts the registry with its blobs in a bucket, where it sends all who pull.
    pub(crate) fn over(bucket: &Bucket) -> Self {
        Self::run(
            tool("setpriv"),
            &bucket.environment(),
            "127.0.0.1:0",
            &bucket.settings(),
        )
    }

    /// As [`Registry::over`], on the loopback of a machine.
    pub(crate) fn inside_over(machine: &Machine, bucket: &Bucket) -> Self {
        let setpriv = machine.networked("setpriv");
        Self::run(setpriv, &bucket.environment(), "127.0.0.1:0", &bucket.settings())
    }

    /// Starts the registry by `setpriv`: it ends with the test however that ends.
    fn run(mut setpriv: Command, environment: &[(&str, &str)], listen: &str, settings: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let log = fs::File::create(data.path().join("log")).unwrap();
        fs::write(data.path().join("config.toml"), settings).unwrap();
        let mut server = setpriv
            .envs(environment.iter().copied())
            .args(["--pdeathsig", "TERM"])
            .arg(ours("wharf-registry"))
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(data.path().join("data"))
            .arg("--config")
            .arg(data.path().join("config.toml"))
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

    /// Runs one of the registry's own commands on its folder, with this on stdin, and returns what it said.
    pub(crate) fn command(&self, arguments: &[&str], stdin: &str) -> String {
        let mut command = Command::new(ours("wharf-registry"));
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data.path().join("data"));
        said_after(&mut command, stdin)
    }

    /// Adds a user who may do what `actions` say where `pattern` matches.
    pub(crate) fn add_user(&self, name: &str, password: &str, pattern: &str, actions: &str) {
        self.command(&["user", "add", name, "--password-stdin"], password);
        self.command(&["grant", name, pattern, actions], "");
    }

    /// `IP:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The port alone.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
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
