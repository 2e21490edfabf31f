//! Starting, ending and removing containers.

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketAddrUnix, SocketType, connect},
};

use super::{Containers, Durability, Entry, Id, Lock, Runtime, State, Status, find_runtime, signal};
use crate::{
    app::App,
    error::{Error, Kind, Result},
    shim::{
        self,
        wire::{Frame, Hello, Reader, VERSION},
    },
};

/// What a container whose shim was killed is said to have ended with, as docker says after a crash.
const LOST: i32 = 255;
/// How long a shim may take between having the lock and listening, and back.
const BETWEEN_STATES: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long a container may take to end when it does not say, in seconds.
const STOP_TIMEOUT_S: u64 = 10;

/// The runtime that an app's settings name.
pub fn runtime(app: &App) -> Result<Runtime> {
    let store = app.store()?;
    Ok(Runtime::new(
        find_runtime(app.settings.runtime.as_deref()),
        store.run().join("runtime"),
    ))
}

/// Finishes what killed commands and shims left half done. Goes on past errors: what a later command
/// needs, it sees for itself.
///
/// # Errors
/// A store that cannot be read at all.
pub fn repair(app: &App, containers: &Containers<'_>) -> Result<Vec<Entry>> {
    containers.sweep();
    let runtime = runtime(app)?;
    let mut entries = containers.all()?;
    for entry in &mut entries {
        if let Entry::Whole(state) = entry
            && is_lost(containers, state)
            && let Some(repaired) = repair_one(containers, &state.id, &runtime, app.now())?
        {
            *entry = repaired;
        }
    }
    entries.retain(|entry| containers.folder(entry.id()).exists());
    Ok(entries)
}

/// Finds a container and finishes what a killed shim left of it.
///
/// # Errors
/// As [`Containers::find`].
pub fn find(app: &App, containers: &Containers<'_>, word: &str) -> Result<Entry> {
    let entry = containers.find(word)?;
    match &entry {
        Entry::Whole(state) if is_lost(containers, state) => {
            let repaired = repair_one(containers, &state.id, &runtime(app)?, app.now())?;
            repaired
                .or_else(|| containers.read(&state.id))
                .ok_or_else(|| no_such_container(word))
        }
        _ => Ok(entry),
    }
}

fn no_such_container(word: &str) -> Error {
    Error::engine(Kind::NotFound, format!("No such container: {word}"))
}

/// A run of which something is left, without a shim.
fn is_lost(containers: &Containers<'_>, state: &State) -> bool {
    (state.is_running() || containers.run_folder(&state.id).exists()) && !containers.is_locked(&state.id)
}

/// Takes down what is left of a container's run; none when another command is at it, or it is gone now.
fn repair_one(
    containers: &Containers<'_>,
    id: &Id,
    runtime: &Runtime,
    now: Timestamp,
) -> Result<Option<Entry>> {
    let Some(lock) = containers.try_lock(id)? else {
        return Ok(containers.read(id));
    };
    let Some(Entry::Whole(mut state)) = containers.read(id) else {
        return Ok(None);
    };
    // What cannot be taken down is tried again by the next command, as long as the run folder is there.
    let problems = shim::take_down(containers, id, runtime);
    if let Status::Running { started, .. } = state.status {
        state.status = Status::Exited {
            code: LOST,
            started,
            finished: now,
            failure: None,
        };
        if state.host.auto_remove {
            containers.remove(id, Some(&state.name), lock)?;
            return Ok(None);
        }
        containers.save(&state, Durability::Synced)?;
    }
    if problems.is_empty() {
        drop(std::fs::remove_dir_all(containers.run_folder(id)));
    }
    Ok(Some(Entry::Whole(state)))
}

/// Starts a container that this process has locked; the shim takes the lock over.
///
/// # Errors
/// A shim that cannot be run, a container that cannot be started: the error holds the exit code.
pub fn start(app: &App, containers: &Containers<'_>, id: &Id, lock: Lock, hello: Hello) -> Result<Running> {
    let program = runtime(app)?.program().to_owned();
    let (stream, shim) = shim::spawn(containers, id, lock, &program, hello)?;
    let mut running = Running {
        stream,
        reader: Reader::default(),
        shim: Some(shim),
    };
    match running.next_word()? {
        Some(Frame::Started(_)) => Ok(running),
        Some(Frame::Failed(failure)) => {
            running.wait_for_shim();
            let kind = match failure.code {
                127 => Kind::NoSuchProgram,
                126 => Kind::CannotInvoke,
                _ => Kind::CannotStart,
            };
            Err(Error::engine(kind, failure.text))
        }
        _ => {
            running.wait_for_shim();
            Err(Error::new(
                Kind::CannotStart,
                format!("the shim of container {id} died while starting it"),
            ))
        }
    }
}

/// A connection to the shim of a running container.
#[derive(Debug)]
pub struct Running {
    pub(super) stream: UnixStream,
    pub(super) reader: Reader,
    shim: Option<Child>,
}

impl Running {
    /// Connects to a running container's shim; none when it does not run (any more).
    ///
    /// # Errors
    /// A socket that is there and cannot be connected to.
    pub fn connect(containers: &Containers<'_>, id: &Id) -> Result<Option<Self>> {
        let folder = containers.run_folder(id);
        match connect_in(&folder) {
            Ok(stream) => Ok(Some(Self {
                stream,
                reader: Reader::default(),
                shim: None,
            })),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::io(
                format!("connect to the shim in {}", folder.display()),
                error,
            )),
        }
    }

    /// Says which words this program speaks.
    pub fn say_hello(&self) {
        self.send(&Frame::Hello(Hello {
            version: VERSION,
            ..Hello::default()
        }));
    }

    /// Sends a word. A shim that has ended does not need it.
    pub fn send(&self, frame: &Frame) {
        drop(frame.send(&self.stream));
    }

    /// The next word; none when the shim has ended.
    ///
    /// # Errors
    /// Something else than our words.
    pub fn next_word(&mut self) -> Result<Option<Frame>> {
        match self.reader.read_frame(&self.stream) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            read => read.map_err(|error| Error::io("listen to the container's shim", error)),
        }
    }

    /// Waits until the container has ended and nothing of its run is left; its exit code, or none when
    /// `timeout` went by. A shim that died without a word counts as the end.
    ///
    /// # Errors
    /// As [`next_word`](Self::next_word).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<i32>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(frame) = self
                .reader
                .next_frame()
                .map_err(|error| Error::io("listen to the shim", error))?
            {
                if let Frame::Exited(exited) = frame {
                    return Ok(Some(exited.code));
                }
                continue;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !self.is_readable(left)? {
                return Ok(None);
            }
            match self.next_word()? {
                Some(Frame::Exited(exited)) => return Ok(Some(exited.code)),
                Some(_) => {}
                None => return Ok(Some(LOST)),
            }
        }
    }

    fn is_readable(&self, timeout: Option<Duration>) -> Result<bool> {
        let timeout = timeout.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut polled = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(Error::io("wait for the container", io::Error::from(error))),
        }
    }

    /// Reaps the shim, if it is this process's child and about to end.
    pub(super) fn wait_for_shim(&mut self) {
        if let Some(mut shim) = self.shim.take() {
            // It was asked for nothing else, so how it ended does not matter.
            drop(shim.wait());
        }
    }
}

/// Who has a container in hand.
#[derive(Debug)]
pub enum Hands {
    /// This process, from now on.
    Ours(Lock),
    /// Its shim: it runs.
    Shim(Running),
    /// Nobody: it is gone.
    Gone,
}

/// Takes a container into this process's hands, or connects to the shim that has it. While a shim is
/// starting or ending there is a moment without either, which is waited for.
///
/// # Errors
/// A folder that cannot be locked, or that another command does not let go.
pub fn take(containers: &Containers<'_>, id: &Id) -> Result<Hands> {
    let deadline = Instant::now() + BETWEEN_STATES;
    loop {
        if let Some(lock) = containers.try_lock(id)? {
            return Ok(Hands::Ours(lock));
        }
        if !containers.folder(id).exists() {
            return Ok(Hands::Gone);
        }
        if let Some(running) = Running::connect(containers, id)? {
            return Ok(Hands::Shim(running));
        }
        if Instant::now() > deadline {
            return Err(Error::engine(
                Kind::Conflict,
                format!("container {id} is in use by another command"),
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Connects through the folder's descriptor, since a socket's path may have 107 bytes only.
fn connect_in(folder: &Path) -> io::Result<UnixStream> {
    use std::os::fd::AsRawFd;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), shim::SOCKET);
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Ends a container: its stop signal, then SIGKILL after the time that it may take. One that does not
/// run has ended already.
///
/// # Errors
/// A container that cannot be found or reached.
pub fn stop(app: &App, word: &str, timeout_s: Option<i64>, signal_name: Option<&str>) -> Result<()> {
    let containers = Containers::new(app.store()?);
    let state = find(app, &containers, word)?.into_state()?;
    let name = signal_name.unwrap_or(&state.process.stop_signal);
    let number = if name.is_empty() { 15 } else { signal::parse(name)? };
    let Hands::Shim(mut running) = take(&containers, &state.id)? else {
        return Ok(());
    };
    running.say_hello();
    running.send(&Frame::Signal(number));
    let default = state.process.stop_timeout_s.unwrap_or(STOP_TIMEOUT_S);
    let timeout = match timeout_s {
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        None => Some(Duration::from_secs(default)),
    };
    if running.wait(timeout)?.is_none() {
        running.send(&Frame::Signal(9));
        running.wait(None)?;
    }
    Ok(())
}

/// Sends a signal to a running container; with SIGKILL, waits for its end.
///
/// # Errors
/// Docker's words for a container that does not exist or run.
pub fn kill(app: &App, word: &str, signal_name: &str) -> Result<()> {
    let number = signal::parse(signal_name)?;
    let cannot = |error: Error| {
        Error::engine(
            error.kind(),
            format!("Cannot kill container: {word}: {}", error.text()),
        )
    };
    let containers = Containers::new(app.store()?);
    let entry = find(app, &containers, word).map_err(cannot)?;
    let id = entry.id().clone();
    let not_running = || {
        cannot(Error::engine(
            Kind::Conflict,
            format!("Container {id} is not running"),
        ))
    };
    let Hands::Shim(mut running) = take(&containers, &id)? else {
        return Err(not_running());
    };
    running.say_hello();
    running.send(&Frame::Signal(number));
    if number == 9 {
        running.wait(None)?;
    }
    Ok(())
}

/// Removes a container; with `force`, one that runs is killed first and one that is damaged goes too.
///
/// # Errors
/// Docker's words for a container that does not exist or runs.
pub fn remove(app: &App, word: &str, force: bool) -> Result<()> {
    let containers = Containers::new(app.store()?);
    let entry = find(app, &containers, word)?;
    let id = entry.id().clone();
    let lock = loop {
        match take(&containers, &id)? {
            Hands::Ours(lock) => break lock,
            Hands::Gone => return Ok(()),
            Hands::Shim(mut running) if force => {
                running.say_hello();
                running.send(&Frame::Signal(9));
                running.wait(None)?;
            }
            Hands::Shim(_) => {
                let name = match &entry {
                    Entry::Whole(state) => &state.name,
                    Entry::Damaged { id, .. } => id.as_str(),
                };
                return Err(Error::engine(
                    Kind::Conflict,
                    format!(
                        "cannot remove container \"/{name}\": container is running: stop the container before \
                         removing or force remove"
                    ),
                ));
            }
        }
    };
    let name = match &entry {
        Entry::Whole(state) => Some(state.name.as_str()),
        Entry::Damaged { name, .. } => {
            // Whatever still runs of it goes with it.
            drop(shim::take_down(&containers, &id, &runtime(app)?));
            name.as_deref()
        }
    };
    containers.remove(&id, name, lock)
}
