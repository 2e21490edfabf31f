//! Runs `wharf` on a store of its own.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A user with a store, logins and settings of their own.
pub(crate) struct Wharf {
    folder: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Wharf {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares a program that sees this user's environment.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("WHARF_ROOT", self.path("root"))
            .env("WHARF_RUN", self.path("run"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("WHARF_DEFAULT_REGISTRY")
            .stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed; returns its stdout.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "wharf {arguments:?}: {}", ran.stderr);
        ran.stdout
    }

    /// Runs a command that must fail with 1; returns its stderr.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(
            ran.code,
            Some(1),
            "wharf {arguments:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
        ran.stderr
    }

    /// Keeps a login for a host.
    pub(crate) fn log_in(&self, host: &str, user: &str, password: &str) {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        std::fs::create_dir_all(self.path("docker")).unwrap();
        let config = serde_json::json!({"auths": {host: {"auth": auth}}});
        std::fs::write(self.path("docker/config.json"), config.to_string()).unwrap();
    }

    /// Every file of the store that holds something: blobs, layers, images, names, snapshots.
    pub(crate) fn kept(&self) -> Vec<String> {
        let mut kept = Vec::new();
        for folder in ["content/sha256", "layers", "images", "references", "snapshots"] {
            let Ok(entries) = std::fs::read_dir(self.path("root").join(folder)) else {
                continue;
            };
            kept.extend(entries.map(|entry| {
                let name = entry.unwrap().file_name();
                format!("{folder}/{}", name.to_string_lossy())
            }));
        }
        kept.sort();
        kept
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
