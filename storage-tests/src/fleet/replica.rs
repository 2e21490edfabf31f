//! One process of the registry.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::door::Door;

/// How long a replica may take to start, on a machine that others use as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A replica: its command, and its process while it runs.
pub struct Replica {
    program: PathBuf,
    /// Where everything is, as flags that every command takes.
    places: Vec<std::ffi::OsString>,
    password: Option<PathBuf>,
    log: PathBuf,
    door: Door,
    child: Option<Child>,
    address: Option<SocketAddr>,
}

/// How a process ended that was asked to.
#[derive(Debug)]
pub struct Ended {
    /// Whether it said that all was well.
    pub success: bool,
    /// What it logged.
    pub log: String,
}

impl Replica {
    /// `places` is the program with the flags that say where everything is.
    pub(super) fn new(places: Command, password: Option<&Path>, log: PathBuf, door: Door) -> Self {
        Self {
            program: places.get_program().into(),
            places: places.get_args().map(Into::into).collect(),
            password: password.map(Path::to_owned),
            log,
            door,
            child: None,
            address: None,
        }
    }

    /// Makes a command of the program on the replica's places.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .args(&self.places)
            .env_clear()
            .envs(self.door.credentials())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the program beside the replicas, which must end well.
    pub fn run(&self, words: &[&str]) -> Output {
        let output = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        output
    }

    /// Adds a user, or changes a password.
    pub fn set_password(&self, user: &str, password: &str) {
        let file = self.log.with_extension("word");
        std::fs::write(&file, password).unwrap();
        let mut command = self.command(&["user", "add", user, "--password-stdin"]);
        let output = command.stdin(File::open(file).unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "user add: {said}");
    }

    /// Starts the process, without waiting for it.
    pub(super) fn begin(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        if let Some(password) = &self.password {
            command.arg("--admin-password-file").arg(password);
        }
        command.stdout(Stdio::piped()).stderr(log);
        let mut command = tokio::process::Command::from(command);
        self.child = Some(command.kill_on_drop(true).spawn().unwrap());
    }

    /// Waits until the process says where it listens.
    pub(super) async fn wait_until_it_listens(&mut self) -> SocketAddr {
        let mut line = String::new();
        let stdout = self.child.as_mut().and_then(|child| child.stdout.take());
        let mut stdout = BufReader::new(stdout.expect("the replica was begun"));
        let read = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok());
        let address =
            address.unwrap_or_else(|| panic!("it did not start ({read:?}, {line:?}): {}", self.log()));
        self.address = Some(address);
        address
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the replica was started")
    }

    /// Returns its way to S3.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Returns what it has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the process's number.
    pub fn pid(&self) -> i32 {
        let pid = self.child.as_ref().and_then(Child::id);
        pid.expect("the replica runs").cast_signed()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid()).expect("a process has a number");
        kill_process(pid, signal).unwrap();
    }

    /// Stops the process where it stands; [`kill`](Self::kill) ends it.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended that was asked to.
    pub async fn wait(&mut self) -> Ended {
        let mut child = self.child.take().expect("the replica runs");
        let status = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end: {}", self.log()));
        Ended {
            success: status.unwrap().success(),
            log: self.log(),
        }
    }

    /// Kills the process.
    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().expect("the replica runs");
        child.start_kill().unwrap();
        // Reaped here, so that its lock on its folder is gone when it is started again.
        while child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            #[expect(clippy::print_stderr, reason = "the runner shows it beside the failure")]
            {
                eprintln!("--- the end of {}\n{}", self.log.display(), end.join("\n"));
            }
        }
    }
}
