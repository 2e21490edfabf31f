//! The server's process, in a place that a test prepares.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The password of `admin` in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Where a server keeps its things, and what is mounted for it.
#[derive(Debug)]
pub(crate) struct Place {
    folder: tempfile::TempDir,
    /// A shell command, run before the server in a mount namespace of its own.
    prepare: String,
    flags: Vec<String>,
}

impl Place {
    /// A place with everything in one folder, in which `prepare` (a shell command) mounts `$DISK`.
    pub(crate) fn mounting(prepare: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        Self {
            folder,
            prepare: prepare.to_owned(),
            flags: Vec::new(),
        }
    }

    /// A place without mounts.
    pub(crate) fn plain() -> Self {
        Self::mounting(":")
    }

    /// Adds flags of `serve`.
    pub(crate) fn flags<const N: usize>(mut self, flags: [String; N]) -> Self {
        self.flags.extend(flags);
        self
    }

    /// The folder around the disk.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder; what a mount holds is to be seen through [`Server::root`] alone.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Starts a server here and waits until it answers.
    pub(crate) fn start(&self) -> Server {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-ec"])
            .arg(format!("{}; exec \"$@\"", self.prepare))
            .arg("sh")
            .arg(env!("CARGO_BIN_EXE_wharf-registry"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.disk())
            .arg("--admin-password-file")
            .arg(self.folder().join("password"))
            .args(&self.flags)
            .env("DISK", self.disk())
            .env("IMAGE", self.folder().join("image"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.folder().join("log")).unwrap());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let server = Server {
            process,
            address: address.unwrap_or_default(),
            log: self.folder().join("log"),
        };
        assert!(
            !server.address.is_empty(),
            "the server did not start: {}",
            server.log()
        );
        server
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    address: String,
    log: PathBuf,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The root folder as the server sees it.
    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.id()))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it, and with it its mounts.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may be dead already.
        let _ = kill(Pid::from_raw(self.id().cast_signed()), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
