//! Running another program in a running container.
//!
//! The runtime starts it and ends; the program then becomes this process's child, since this process
//! adopts orphans, and so its exit code is known. Its output comes through pipes, or a terminal.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    Containers, Runtime, RuntimeError, State, Status, StreamsForRuntime,
    attach::{Detach, RawTerminal, Signals, terminal_size, write},
    spec,
};
use crate::{
    error::{Error, Kind, Result},
    shim::{
        log::Stream,
        streams::{Console, Streams, pipes},
    },
};

/// What is to run.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, above the container's.
    pub env: Vec<String>,
    /// The working folder, instead of the container's.
    pub working_dir: Option<String>,
    /// The user, instead of the container's.
    pub user: Option<String>,
    /// It has a terminal.
    pub terminal: bool,
    /// It reads this process's standard input.
    pub interactive: bool,
    /// It goes on alone.
    pub detached: bool,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program ended with this code.
    Exited(i32),
    /// It goes on alone.
    Detached,
    /// It could not be run; docker prints why as if the program had said it, and exits with 126.
    NotRun(String),
}

/// Runs a program in a running container.
///
/// # Errors
/// [`Kind::Conflict`] for a container that does not run.
pub fn exec(
    containers: &Containers<'_>,
    runtime: &Runtime,
    state: &State,
    wishes: Wishes,
) -> Result<Outcome> {
    let Status::Running { pid, .. } = state.status else {
        return Err(not_running(state));
    };
    let run_folder = containers.run_folder(&state.id);
    let failed = |error: io::Error| Error::io("prepare the program", error);
    let root = match File::open(format!("/proc/{pid}/root")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_running(state)),
        other => other.map_err(failed)?,
    };
    let mut process = state.process.clone();
    process.entrypoint = Vec::new();
    process.command.clone_from(&wishes.command);
    process.terminal = wishes.terminal;
    for variable in &wishes.env {
        spec::set_variable(&mut process.env, variable);
    }
    process.working_dir = wishes.working_dir.clone().unwrap_or(process.working_dir);
    let who = wishes.user.as_deref().unwrap_or(&state.process.user);
    let user = match spec::resolve_user(root.as_fd(), who) {
        Ok(user) => user,
        Err(error) => return Ok(Outcome::NotRun(error.to_string())),
    };
    let files = Files::write(&run_folder, &spec::process(&process, &state.host, &user)).map_err(failed)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| failed(error.into()))?;
    let signals = Signals::catch_resizes()?;
    match run(runtime, state, &wishes, &files, &run_folder) {
        Ok((_, _)) if wishes.detached => Ok(Outcome::Detached),
        Ok((pid, mut streams)) => {
            converse(pid, &mut streams, wishes.interactive && wishes.terminal, &signals)
        }
        Err(error) => Ok(Outcome::NotRun(format!(
            "OCI runtime exec failed: {error}: unknown"
        ))),
    }
}

fn not_running(state: &State) -> Error {
    Error::engine(Kind::Conflict, format!("Container {} is not running", state.id))
}

/// What the runtime reads and writes; gone when this is dropped.
struct Files {
    process: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

impl Files {
    fn write(folder: &Path, process: &oci_spec::runtime::Process) -> io::Result<Self> {
        let name = crate::app::random_hex::<8>();
        let file = |kind: &str| folder.join(format!("exec-{name}.{kind}"));
        let files = Self {
            process: file("json"),
            pid: file("pid"),
            log: file("log"),
        };
        fs::write(&files.process, serde_json::to_vec(process)?)?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.process, &self.pid, &self.log] {
            // What is left goes with the run folder.
            drop(fs::remove_file(path));
        }
    }
}

/// Has the runtime start the program: its process id, and its streams.
fn run(
    runtime: &Runtime,
    state: &State,
    wishes: &Wishes,
    files: &Files,
    run_folder: &Path,
) -> Result<(i32, Streams), RuntimeError> {
    let broken = |error: io::Error| RuntimeError {
        message: error.to_string(),
    };
    let mut command = runtime.command("exec", &files.log);
    command
        .arg("--detach")
        .arg("--process")
        .arg(&files.process)
        .arg("--pid-file")
        .arg(&files.pid);
    let (console, (ours, theirs)) = if wishes.terminal {
        let console = Console::listen(run_folder).map_err(broken)?;
        command.arg("--tty").arg("--console-socket").arg(console.path());
        (Some(console), (Streams::default(), StreamsForRuntime::null()))
    } else if wishes.detached {
        (None, (Streams::default(), StreamsForRuntime::null()))
    } else {
        (None, pipes(false).map_err(broken)?)
    };
    let stdin = if wishes.interactive && !wishes.terminal {
        Stdio::inherit()
    } else {
        theirs.stdin
    };
    command
        .arg(state.id.as_str())
        .stdin(stdin)
        .stdout(theirs.stdout)
        .stderr(theirs.stderr);
    let status = command.status().map_err(broken)?;
    // It holds this side's copies of the pipes, whose end could not be seen otherwise.
    drop(command);
    if !status.success() {
        return Err(runtime.reason(status, &files.log));
    }
    let pid = fs::read_to_string(&files.pid).map_err(broken)?;
    let pid = pid
        .trim()
        .parse()
        .map_err(|error: std::num::ParseIntError| RuntimeError {
            message: error.to_string(),
        })?;
    let terminal = console
        .map(|console| console.receive(terminal_size()))
        .transpose()
        .map_err(broken)?;
    Ok((pid, terminal.unwrap_or(ours)))
}

/// The exit code of the program, which has ended.
fn exit_code(pid: i32) -> Result<i32> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::io("wait for the program", io::Error::from(error))),
        }
    }
}

/// Passes on what the program writes, and what the user types on its terminal, until it ends or the user leaves.
fn converse(pid: i32, streams: &mut Streams, keyboard: bool, signals: &Signals) -> Result<Outcome> {
    let failed = |error: io::Error| Error::io("pass bytes to and from the program", error);
    let child =
        rustix::process::Pid::from_raw(pid).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    let child = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty())
        .map_err(|error| failed(error.into()))?;
    let _raw = if keyboard {
        RawTerminal::enter().map_err(failed)?
    } else {
        None
    };
    let own: OwnedFd = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let mut own = File::from(own);
    let mut detach = Detach::on_terminal();
    let (mut listening, mut buffer) = (keyboard, [0; 16 * 1024]);
    loop {
        let ready = wait(streams, signals, &child, listening.then_some(&own))?;
        if ready.resized {
            while signals.next().is_some() {}
            if let Some((rows, columns)) = terminal_size() {
                streams.resize(rows, columns);
            }
        }
        if ready.typed {
            let length = own.read(&mut buffer).unwrap_or(0);
            listening = length > 0;
            let (bytes, leave) = detach.filter(buffer.get(..length).unwrap_or_default());
            type_in(streams, &bytes)?;
            if leave {
                return Ok(Outcome::Detached);
            }
        }
        for at in (0..streams.outputs.len()).rev() {
            while show(streams, at, &mut buffer)? && ready.ended {}
        }
        if ready.ended {
            return exit_code(pid).map(Outcome::Exited);
        }
    }
}

fn type_in(streams: &mut Streams, bytes: &[u8]) -> Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        left = left.get(streams.write_input(left)..).unwrap_or_default();
        if let Some(input) = streams.input_fd().filter(|_| !left.is_empty()) {
            poll_again(&mut [PollFd::from_borrowed_fd(input, PollFlags::OUT)])?;
        }
    }
    Ok(())
}

/// Shows what one output has now; false when it has nothing.
fn show(streams: &mut Streams, at: usize, buffer: &mut [u8]) -> Result<bool> {
    let Some((stream, length)) = streams.read_output(at, buffer) else {
        return Ok(false);
    };
    let bytes = buffer.get(..length).unwrap_or_default();
    let written = match stream {
        Stream::Stdout => write(io::stdout().lock(), bytes),
        Stream::Stderr => write(io::stderr().lock(), bytes),
    };
    written.map(|()| true).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Error::new(Kind::ClosedPipe, "nobody reads the output any more"),
        _ => Error::io("write the program's output", error),
    })
}

struct Ready {
    ended: bool,
    resized: bool,
    typed: bool,
}

fn wait(streams: &Streams, signals: &Signals, child: &OwnedFd, own: Option<&File>) -> Result<Ready> {
    let mut polled = vec![
        PollFd::new(child, PollFlags::IN),
        PollFd::new(signals, PollFlags::IN),
    ];
    polled.extend(own.map(|own| PollFd::new(own, PollFlags::IN)));
    let typed_at = polled.len() - 1;
    polled.extend(
        streams
            .outputs
            .iter()
            .map(|(_, file)| PollFd::new(file, PollFlags::IN)),
    );
    poll_again(&mut polled)?;
    let is_ready = |at: usize| polled.get(at).is_some_and(|polled| !polled.revents().is_empty());
    Ok(Ready {
        ended: is_ready(0),
        resized: is_ready(1),
        typed: own.is_some() && is_ready(typed_at),
    })
}

fn poll_again(polled: &mut [PollFd<'_>]) -> Result<()> {
    match poll(polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::io("wait for the program", io::Error::from(error))),
    }
}
