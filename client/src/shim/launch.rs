//! The way up and the way down: what a container needs is built step by step; a step that fails leads
//! to [`abandon`], the end to [`Launched::end`], which go on past errors.

use std::{
    fs, io,
    os::fd::OwnedFd,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    SOCKET,
    log::{Log, Stream},
    monitor::signal_child,
    rootfs,
    streams::{Console, Streams, open_folder, pipes, remove_stale, through_descriptor},
    wire::Hello,
};
use crate::{
    container::{
        Bundle, Containers, Durability, Failure, Id, Lock, Runtime, State, Status, StreamsForRuntime,
        boot_id, spec, state::NetworkMode,
    },
    error::{Error, Kind, Result},
    image::snapshot::Snapshots,
    network::{Bridge, Claim, Forwarder},
};

/// A container that runs, and all that hangs on it.
pub(super) struct Launched {
    state: State,
    folder: PathBuf,
    /// Process 1 of the container.
    pub(super) pid: i32,
    /// Its standard streams.
    pub(super) streams: Streams,
    /// Where clients connect.
    pub(super) listener: UnixListener,
    /// The ports that it publishes.
    pub(super) forwarders: Vec<Forwarder>,
    /// Nobody will write to it any more, once what was written is passed on.
    pub(super) input_ended: bool,
    log: Log,
    problems: Vec<String>,
    _socket_folder: OwnedFd,
}

/// The folders of a container's run.
struct Folders {
    run: PathBuf,
    root: PathBuf,
}

impl Folders {
    fn of(containers: &Containers<'_>, id: &Id) -> Self {
        let run = containers.run_folder(id);
        let root = run.join("rootfs");
        Self { run, root }
    }

    fn log(&self) -> PathBuf {
        self.run.join("runtime.log")
    }
}

/// Starts the container. After a failure [`abandon`] removes what was built until then.
pub(super) fn launch(
    containers: &Containers<'_>,
    id: &Id,
    runtime: &Runtime,
    hello: &Hello,
) -> Result<Launched, Failure> {
    let mut state = containers
        .find(id.as_str())
        .and_then(crate::container::Entry::into_state)?;
    let folders = Folders::of(containers, id);
    let built = |doing: &'static str| move |error: io::Error| Failure::from(Error::io(doing, error));
    fs::create_dir_all(&folders.run).map_err(built("make the container's run folder"))?;
    let socket_folder = open_folder(&folders.run).map_err(built("open the container's run folder"))?;
    let listener = listen(&socket_folder).map_err(built("listen for clients"))?;
    rootfs::leave_namespace().map_err(built("make a mount namespace"))?;
    let snapshot = Snapshots::of(containers.store()).mounts(id.as_str())?;
    rootfs::mount(&snapshot, &folders.root, state.host.auto_remove)
        .map_err(built("mount the container's files"))?;

    let claim = claim(containers, &state)?;
    let (lease, forwarders) = claim.map(|claim| (claim.lease, claim.forwarders)).unzip();
    let folder = containers.folder(id);
    let places = spec::Places {
        folder: &folder,
        root: &folders.root,
    };
    let config = spec::build(&state, &places, lease.as_ref(), hello.size)?;
    let json = serde_json::to_vec(&config).map_err(|error| built("write config.json")(error.into()))?;
    fs::write(folders.run.join("config.json"), json).map_err(built("write config.json"))?;
    let log = Log::open(&containers.log_file(id)).map_err(built("open the container's log"))?;

    let (pid, streams) = create(&state, runtime, &folders, hello)?;
    if let Some(lease) = &lease {
        let netns =
            fs::File::open(format!("/proc/{pid}/ns/net")).map_err(built("open the network namespace"))?;
        let attached = bridge(containers, |bridge| bridge.attach(lease, &netns.into()));
        attached.map_err(|error| network_failure(&error))?;
        runtime
            .start(id, &folders.log())
            .map_err(crate::container::RuntimeError::into_failure)?;
    }
    let started = Timestamp::now();
    state.status = Status::Running { pid, started, lease };
    containers.save(&state, Durability::ThisBoot)?;
    Ok(Launched {
        state,
        folder,
        pid,
        streams,
        listener,
        forwarders: forwarders.unwrap_or_default(),
        input_ended: false,
        log,
        problems: Vec::new(),
        _socket_folder: socket_folder,
    })
}

fn listen(folder: &OwnedFd) -> io::Result<UnixListener> {
    let path = through_descriptor(folder, std::process::id(), SOCKET);
    remove_stale(&path)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Makes the container with its streams; without a network to attach it runs at once.
fn create(
    state: &State,
    runtime: &Runtime,
    folders: &Folders,
    hello: &Hello,
) -> Result<(i32, Streams), Failure> {
    let failed = |error: io::Error| Failure::from(Error::io("make the container's standard streams", error));
    let run = state.host.network != NetworkMode::Bridge;
    let bundle = Bundle {
        folder: &folders.run,
        console_socket: None,
    };
    if !state.process.terminal {
        let (ours, theirs) = pipes(state.process.interactive).map_err(failed)?;
        let pid = runtime.create(&state.id, &bundle, run, theirs);
        return Ok((pid.map_err(crate::container::RuntimeError::into_failure)?, ours));
    }
    let console = Console::listen(&folders.run).map_err(failed)?;
    let bundle = Bundle {
        console_socket: Some(console.path()),
        ..bundle
    };
    let pid = runtime.create(&state.id, &bundle, run, StreamsForRuntime::null());
    let pid = pid.map_err(crate::container::RuntimeError::into_failure)?;
    Ok((pid, console.receive(hello.size).map_err(failed)?))
}

fn claim(containers: &Containers<'_>, state: &State) -> Result<Option<Claim>, Failure> {
    if state.host.network != NetworkMode::Bridge {
        return Ok(None);
    }
    let claimed = bridge(containers, |bridge| {
        bridge.claim(state.id.as_str(), &state.host.publish)
    });
    claimed.map(Some).map_err(|error| {
        use crate::network::Error::{PortAllocated, PortTaken, PortsExhausted};
        match error {
            PortTaken(_) | PortAllocated(_) | PortsExhausted => {
                let text = format!(
                    "driver failed programming external connectivity on endpoint {} ({}): {error}",
                    state.name, state.id
                );
                Failure { code: 125, text }
            }
            other => network_failure(&other),
        }
    })
}

fn network_failure(error: &crate::network::Error) -> Failure {
    Failure {
        code: 125,
        text: format!("failed to set up container networking: {error}"),
    }
}

/// Works on the bridge of this store.
fn bridge<T>(containers: &Containers<'_>, work: impl FnOnce(Bridge<'_>) -> T) -> T {
    let dir = containers.store().run().join("network");
    let is_alive = |id: &str| id.parse().is_ok_and(|id| containers.is_locked(&id));
    work(Bridge {
        dir: &dir,
        boot_id: &boot_id(),
        is_alive: &is_alive,
    })
}

/// Takes down what a container's run left: network, cgroups and processes, mounts, run folder. Goes on
/// past errors and returns them; what is missing is already down.
pub(crate) fn take_down(containers: &Containers<'_>, id: &Id, runtime: &Runtime) -> Vec<String> {
    let folders = Folders::of(containers, id);
    let mut problems = Vec::new();
    let deleted = if folders.run.exists() {
        runtime.delete(id, &folders.log())
    } else {
        Ok(())
    };
    problems.extend(
        deleted
            .err()
            .map(|error| format!("delete the container: {error}")),
    );
    let released = bridge(containers, |bridge| bridge.release_container(id.as_str()));
    problems.extend(released.iter().map(ToString::to_string));
    if let Err(error) = rootfs::unmount_root(&folders.root) {
        problems.push(format!("unmount {}: {error}", folders.root.display()));
    }
    problems
}

/// Removes what [`launch`] built before it failed, and notes why.
pub(super) fn abandon(
    containers: &Containers<'_>,
    id: &Id,
    runtime: &Runtime,
    failure: &Failure,
    lock: Lock,
) {
    // The failure to start is what the user is told; what cannot be taken down now is at the next command.
    drop(take_down(containers, id, runtime));
    drop(fs::remove_dir_all(containers.run_folder(id)));
    let entry = containers.read(id);
    if let Some(Ok(mut state)) = entry.map(crate::container::Entry::into_state) {
        if state.host.auto_remove {
            drop(containers.remove(id, Some(&state.name), lock));
            return;
        }
        state.fail(failure.clone());
        drop(containers.save(&state, Durability::Synced));
    }
}

impl Launched {
    /// Keeps what the container wrote. A log that cannot be written does not stop the container.
    pub(super) fn keep(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        let kept = self.log.write(stream, bytes, now);
        self.note_lost_log(kept);
    }

    /// Keeps what never got its newline.
    pub(super) fn finish_log(&mut self, now: Timestamp) {
        let kept = self.log.finish(now);
        self.note_lost_log(kept);
    }

    fn note_lost_log(&mut self, kept: io::Result<()>) {
        if let (Err(error), true) = (kept, self.problems.is_empty()) {
            self.problems.push(format!(
                "part of the log in {} is lost: {error}",
                self.folder.display()
            ));
        }
    }

    /// Passes a signal on to the container's program.
    pub(super) fn signal(&self, number: i32) {
        signal_child(self.pid, number);
    }

    /// Takes a connection to a published port on.
    pub(super) fn accept_connection(&self, at: usize) {
        if let Some(forwarder) = self.forwarders.get(at) {
            forwarder.accept();
        }
    }

    /// Takes everything down after the container has ended, keeps its exit code, or removes it whole.
    /// Goes on past errors and returns them. The lock is free when this returns.
    pub(super) fn end(
        mut self,
        containers: &Containers<'_>,
        runtime: &Runtime,
        code: i32,
        lock: Lock,
    ) -> Vec<String> {
        drop((self.listener, self.forwarders));
        let id = self.state.id.clone();
        let mut problems = self.problems;
        problems.extend(take_down(containers, &id, runtime));
        if let Status::Running { started, .. } = self.state.status {
            let finished = Timestamp::now();
            self.state.status = Status::Exited {
                code,
                started,
                finished,
                failure: None,
            };
        }
        let finished = if self.state.host.auto_remove {
            containers.remove(&id, Some(&self.state.name), lock)
        } else {
            let run_folder = containers.run_folder(&id);
            let saved = containers.save(&self.state, Durability::Synced);
            let removed = fs::remove_dir_all(&run_folder);
            saved.and(removed.map_err(|error| removal(&run_folder, error)))
        };
        problems.extend(finished.err().map(|error| error.to_string()));
        problems
    }
}

fn removal(path: &Path, error: io::Error) -> Error {
    Error::new(Kind::System, format!("remove {}", path.display())).because(error)
}
