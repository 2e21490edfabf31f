//! The monitor beside every running container: it starts it, keeps its output, lets clients attach,
//! waits for its end, and cleans up.
//!
//! [`spawn`] runs this program again with a hidden first argument; [`main`] is what runs then, before
//! any thread exists. The order of a life: [`launch`] builds what the container needs and starts it,
//! undoing everything when a step fails; [`monitor`] moves bytes between the container, its [`log`] and
//! the clients, in the words of [`wire`]; [`launch::Launched::end`] takes everything down again.
//!
//! What a shim inherits is three descriptors: the client that started it (0), the container's locked
//! folder (1), and a place for what it cannot tell anybody (2). It holds the lock for as long as it
//! lives, and nobody else changes the container meanwhile; killing it leaves a container without a
//! holder, which the next command cleans up.
//!
//! Its mounts are in a mount namespace of its own, so none outlives it.

mod connection;
mod launch;
pub mod log;
mod monitor;
mod rootfs;
pub(crate) mod streams;
pub mod wire;

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

pub(crate) use launch::take_down;

use crate::{
    container::{Containers, Id, Lock, Runtime},
    error::{Error, Result},
    store::Store,
};

/// The hidden first argument.
pub const ENTRY_POINT: &str = "__shim";
/// The socket that clients connect to, in the container's run folder.
pub const SOCKET: &str = "shim.sock";

/// Starts the shim of a container that this process has locked, and hands the lock on. The stream speaks
/// [`wire`]; the shim reads a [`wire::Hello`] first, so `hello` is sent before it exists.
///
/// # Errors
/// This program cannot be run again.
pub fn spawn(
    containers: &Containers<'_>,
    id: &Id,
    lock: Lock,
    runtime: &Path,
    hello: wire::Hello,
) -> Result<(UnixStream, Child)> {
    let failed = |error: io::Error| Error::io("start the container's shim", error);
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    wire::Frame::Hello(hello).send(&ours).map_err(failed)?;
    let store = containers.store();
    let child = Command::new("/proc/self/exe")
        .arg(ENTRY_POINT)
        .arg(id.as_str())
        .args([store.root(), store.run(), runtime])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(lock.into_fd()))
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(failed)?;
    Ok((ours, child))
}

/// The hidden entry point.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let [id, root, run, runtime] = arguments else {
        return ExitCode::from(2);
    };
    let Some(id) = id.to_str().and_then(|id| id.parse::<Id>().ok()) else {
        return ExitCode::from(2);
    };
    let (root, run) = (PathBuf::from(root), PathBuf::from(run));
    match look_after(&id, root, run, PathBuf::from(runtime)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::FAILURE,
    }
}

fn look_after(id: &Id, root: PathBuf, run: PathBuf, runtime: PathBuf) -> Result<()> {
    let (client, lock) = inherited().map_err(|error| Error::io("take over the descriptors", error))?;
    let store = Store::open_at(root, run)?;
    let containers = Containers::new(&store);
    let runtime = Runtime::new(runtime, store.run().join("runtime"));
    let mut monitor = monitor::Monitor::new(client)?;
    match launch::launch(&containers, id, &runtime, &monitor.hello()) {
        Ok(mut launched) => {
            let code = monitor.run(&mut launched);
            let problems = launched.end(&containers, &runtime, code, lock);
            monitor.farewell(&wire::Frame::Exited(wire::Exited { code, problems }));
        }
        Err(failure) => {
            launch::abandon(&containers, id, &runtime, &failure, lock);
            monitor.farewell(&wire::Frame::Failed(failure));
        }
    }
    Ok(())
}

/// Takes the inherited descriptors over, so that nothing inherits them from here, and leaves the
/// session of whoever started this.
fn inherited() -> io::Result<(UnixStream, Lock)> {
    let client = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let folder = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok((UnixStream::from(client), Lock::from_fd(folder)))
}
