//! The OCI runtime, by its command line alone: `wharf-runtime`, or any other that speaks it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use serde::Deserialize;

use super::{Id, state::Failure};

/// The program's name, as it is looked for.
const PROGRAM: &str = "wharf-runtime";
/// The runtime's log is read up to this size.
const LOG_BYTES_MAX: usize = 1 << 20;

/// A runtime and where it keeps what it knows.
#[derive(Debug, Clone)]
pub struct Runtime {
    program: PathBuf,
    root: PathBuf,
}

/// The runtime refused, or could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuntimeError {
    /// What it said.
    pub message: String,
}

impl RuntimeError {
    /// The code that `docker run` exits with: 127 for a program that is not there, 126 for one that
    /// cannot be executed.
    pub fn exit_code(&self) -> i32 {
        let says = |text: &str| self.message.contains(text);
        if says("executable file not found") || says("no such file or directory") {
            127
        } else if says("permission denied") || says("is a directory") || says("exec format error") {
            126
        } else {
            125
        }
    }

    /// The failure to start, in docker's words.
    pub fn into_failure(self) -> Failure {
        let code = self.exit_code();
        let text = format!(
            "failed to create shim task: OCI runtime create failed: {}: unknown",
            self.message
        );
        Failure { code, text }
    }
}

/// Finds the runtime: what is configured, beside this program, on PATH.
pub fn find(configured: Option<&Path>) -> PathBuf {
    if let Some(program) = configured {
        return program.to_owned();
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside
        .filter(|program| program.exists())
        .unwrap_or_else(|| PathBuf::from(PROGRAM))
}

impl Runtime {
    /// A runtime that keeps its state in `root`.
    pub fn new(program: PathBuf, root: PathBuf) -> Self {
        Self { program, root }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command of the runtime's, that logs to `log`.
    pub fn command(&self, verb: &str, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(&self.root)
            .arg("--log")
            .arg(log)
            .args(["--log-format", "json", verb]);
        command
    }

    /// Makes the container of a bundle; with `run`, starts it too. Standard streams are those of the command.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn create(
        &self,
        id: &Id,
        bundle: &Bundle<'_>,
        run: bool,
        streams: Streams,
    ) -> Result<i32, RuntimeError> {
        let (log, pid_file) = (bundle.folder.join("runtime.log"), bundle.folder.join("pid"));
        let mut command = self.command(if run { "run" } else { "create" }, &log);
        if run {
            command.arg("--detach");
        }
        command
            .arg("--bundle")
            .arg(bundle.folder)
            .arg("--pid-file")
            .arg(&pid_file);
        if let Some(socket) = bundle.console_socket {
            command.arg("--console-socket").arg(socket);
        }
        command.arg(id.as_str());
        command
            .stdin(streams.stdin)
            .stdout(streams.stdout)
            .stderr(streams.stderr);
        self.run(command, &log)?;
        let text = fs::read_to_string(&pid_file).map_err(|error| RuntimeError {
            message: format!(
                "the runtime wrote no process id to {}: {error}",
                pid_file.display()
            ),
        })?;
        text.trim().parse().map_err(|error| RuntimeError {
            message: format!("the runtime wrote {text:?} as process id: {error}"),
        })
    }

    /// Lets a created container's program begin.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn start(&self, id: &Id, log: &Path) -> Result<(), RuntimeError> {
        self.quietly("start", &[id.as_str()], log)
    }

    /// Removes what the runtime keeps of a container, killing it if it must.
    ///
    /// # Errors
    /// What the runtime says; a container that it does not know is already deleted.
    pub fn delete(&self, id: &Id, log: &Path) -> Result<(), RuntimeError> {
        match self.quietly("delete", &["--force", id.as_str()], log) {
            Err(error) if error.message.contains("does not exist") => Ok(()),
            other => other,
        }
    }

    fn quietly(&self, verb: &str, arguments: &[&str], log: &Path) -> Result<(), RuntimeError> {
        let mut command = self.command(verb, log);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.run(command, log)
    }

    fn run(&self, mut command: Command, log: &Path) -> Result<(), RuntimeError> {
        // What an earlier command logged must not be taken for this one's reason.
        drop(fs::remove_file(log));
        let status = command.status().map_err(|error| RuntimeError {
            message: format!("the runtime {} cannot be run: {error}", self.program.display()),
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(self.reason(status, log))
        }
    }

    /// What the runtime logged last, or how it ended.
    pub fn reason(&self, status: ExitStatus, log: &Path) -> RuntimeError {
        let text = fs::read_to_string(log).unwrap_or_default();
        let message = last_error(&text).unwrap_or_else(|| {
            let name = self
                .program
                .file_name()
                .unwrap_or(OsStr::new(PROGRAM))
                .to_string_lossy();
            format!("{name} failed without a reason: {status}")
        });
        RuntimeError { message }
    }
}

/// What the runtime is given of a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Bundle<'a> {
    /// Its folder.
    pub folder: &'a Path,
    /// Where to send the terminal, if there is one.
    pub console_socket: Option<&'a Path>,
}

/// What the container's program finds as its standard streams.
#[derive(Debug)]
pub struct Streams {
    /// Descriptor 0.
    pub stdin: Stdio,
    /// Descriptor 1.
    pub stdout: Stdio,
    /// Descriptor 2.
    pub stderr: Stdio,
}

impl Streams {
    /// Nothing to read, nowhere to write.
    pub fn null() -> Self {
        Self {
            stdin: Stdio::null(),
            stdout: Stdio::null(),
            stderr: Stdio::null(),
        }
    }
}

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

fn last_error(log: &str) -> Option<String> {
    let recent = log.get(log.len().saturating_sub(LOG_BYTES_MAX)..).unwrap_or(log);
    let mut lines = recent
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines
        .rfind(|line| matches!(line.level.as_str(), "error" | "fatal"))
        .map(|line| line.msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_the_reason_and_decides_the_code() {
        let log = concat!(
            "{\"level\":\"warning\",\"msg\":\"old\",\"time\":\"x\"}\n",
            "{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": executable file not found in $PATH\",\"time\":\"x\"}\n",
            "not json\n"
        );
        let message = last_error(log).unwrap();
        assert_eq!(RuntimeError { message }.into_failure().code, 127);
        for (message, code) in [("exec: \"/etc\": permission denied", 126), ("no cgroup", 125)] {
            assert_eq!(
                RuntimeError {
                    message: message.to_owned()
                }
                .exit_code(),
                code
            );
        }
        assert_eq!(last_error(""), None);
    }
}
