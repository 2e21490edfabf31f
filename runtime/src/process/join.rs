//! A process that joins a running container.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{DumpableBehavior, Pid, PidfdFlags, chroot, fchdir, pidfd_open, set_dumpable_behavior, setsid},
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};

use super::{
    init::become_root,
    message::{During, Failure, Message, Phase, Stage, hear, tell},
    program::{self, Runnable},
    start::Started,
    words,
};
use crate::{
    capabilities::Sets,
    cgroups::Entrance,
    console::Console,
    error::{Doing, Error},
    handover,
    plan::{KINDS, ProcessPlan, flag},
    pty,
    seccomp::Program,
    state::Record,
    sys::{self, Side},
};

/// A process about to join.
pub(crate) struct Joining<'a> {
    pub(crate) record: &'a Record,
    pub(crate) process: &'a ProcessPlan,
    pub(crate) capabilities: Sets,
    pub(crate) seccomp: Option<&'a Program>,
    pub(crate) preserved: u32,
    pub(crate) console_socket: Option<&'a Path>,
    pub(crate) no_new_keyring: bool,
    /// Whether the master may come to this process, for want of a socket.
    pub(crate) foreground: bool,
}

/// Starts the program inside the container.
pub(crate) fn join(joining: &Joining<'_>) -> Result<Started, Error> {
    let process = joining.process;
    let init = joining
        .record
        .alive()
        .ok_or_else(|| Error::State("container not running".to_owned()))?;
    let pidfd = pidfd_open(init, PidfdFlags::empty()).doing(|| "open the container's process")?;
    // The number may have gone to another process between the look and the open.
    joining
        .record
        .alive()
        .ok_or_else(|| Error::State("container not running".to_owned()))?;
    let differing = differing(init)?;
    let root = root_of(init, differing)?;
    let entrance = Entrance::open(&joining.record.layout)?;
    let console = Console::open(joining.console_socket, process.terminal, joining.foreground)?;
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing(|| "make a socket pair")?;
    // The container's first process must find nothing in this one: neither memory nor descriptors.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing(|| "become undumpable")?;
    if differing & flag::PID != 0 {
        move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
            .doing(|| "join the container's pid namespace")?;
    }
    match sys::clone3(0, entrance.v2.as_ref().map(AsFd::as_fd)).doing(|| "make the process")? {
        Side::Child => {
            let way = Way {
                entrance: &entrance,
                namespaces: differing & !flag::PID,
                container: pidfd.as_fd(),
                root: root.as_ref().map(AsFd::as_fd),
                console: console.child_end(),
            };
            let failure = run(joining, &way, &theirs);
            tell(&theirs, Message::Failed(failure));
            sys::exit_now(1)
        }
        Side::Parent { pid, pidfd } => {
            drop(theirs);
            match listen(joining, &ours).and_then(|()| console.master()) {
                Ok(master) => Ok(Started { pid, pidfd, master }),
                Err(error) => {
                    let _ = sys::pidfd_send_signal(&pidfd, libc::SIGKILL);
                    let _ = super::exit_code(&pidfd);
                    Err(error)
                }
            }
        }
    }
}

/// Which namespaces of the process are not this one's.
fn differing(pid: Pid) -> Result<u64, Error> {
    let mut flags = 0;
    for (_, name, flag) in KINDS {
        let of = |process: &str| rustix::fs::stat(format!("/proc/{process}/ns/{name}"));
        match (of("self"), of(&pid.as_raw_nonzero().to_string())) {
            (Ok(ours), Ok(theirs)) if ours.st_ino != theirs.st_ino => flags |= flag,
            (Ok(_), Ok(_)) | (Err(Errno::NOENT), Err(Errno::NOENT)) => {}
            (Err(errno), _) | (_, Err(errno)) => {
                return Err(errno).doing(|| format!("look at the container's {name} namespace"));
            }
        }
    }
    Ok(flags)
}

fn listen(joining: &Joining<'_>, socket: &OwnedFd) -> Result<(), Error> {
    let mut ready = false;
    loop {
        match hear(socket).doing(|| "hear the process")? {
            Some(Message::Failed(failure)) => {
                return Err(words::of_process("process", joining.process, failure));
            }
            Some(Message::Reached(Stage::Ready)) if !ready => ready = true,
            None if ready => return Ok(()),
            None => return Err(Error::Other("the process ended before it was ready".to_owned())),
            Some(Message::Reached(stage)) => {
                return Err(Error::Other(format!("the process said {stage:?} out of turn")));
            }
        }
    }
}

/// What leads the child into the container.
struct Way<'a> {
    entrance: &'a Entrance,
    /// Flags of the namespaces to join.
    namespaces: u64,
    /// The container's first process.
    container: BorrowedFd<'a>,
    /// The container's root, where no mount namespace leads there.
    root: Option<BorrowedFd<'a>>,
    console: Option<BorrowedFd<'a>>,
}

/// The root of a container that shares the host's mount namespace: joining would leave it at the host's root.
fn root_of(pid: Pid, differing: u64) -> Result<Option<OwnedFd>, Error> {
    if differing & flag::MOUNT != 0 {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = format!("/proc/{}/root", pid.as_raw_nonzero());
    openat(CWD, path, flags, Mode::empty())
        .map(Some)
        .doing(|| "open the container's root")
}

/// The child's way in; comes back only with a failure.
fn run(joining: &Joining<'_>, way: &Way<'_>, socket: &OwnedFd) -> Failure {
    let runnable = Runnable {
        process: joining.process,
        capabilities: joining.capabilities,
        seccomp: joining.seccomp,
        personality: None,
        preserved: joining.preserved,
        kept: vec![socket.as_fd()],
        limits_set: false,
    };
    match enter(joining, way, socket).and_then(|()| program::become_user(&runnable)) {
        Err(failure) => failure,
        Ok(found) => {
            tell(socket, Message::Reached(Stage::Ready));
            program::execute(&runnable, &found)
        }
    }
}

fn enter(joining: &Joining<'_>, way: &Way<'_>, socket: &OwnedFd) -> Result<(), Failure> {
    // What the parent alone needs, its end of the pair first of all, does not go in.
    let mut kept = vec![socket.as_fd(), way.container];
    kept.extend(way.root);
    kept.extend(way.console);
    kept.extend(way.entrance.tasks.iter().map(AsFd::as_fd));
    sys::close_all_but(3 + joining.preserved, &kept).during(Phase::Descriptors)?;
    way.entrance.join_v1().during(Phase::JoinCgroup)?;
    program::set_oom_score(joining.process)?;
    if way.namespaces != 0 {
        let flags = u32::try_from(way.namespaces).unwrap_or(0);
        move_into_thread_name_spaces(way.container, ThreadNameSpaceType::from_bits_retain(flags))
            .during(Phase::JoinNamespace)?;
    }
    if way.namespaces & flag::USER != 0 {
        become_root().during(Phase::BecomeRoot)?;
    }
    if let Some(root) = way.root {
        fchdir(root).during(Phase::Pivot)?;
        chroot(c".").during(Phase::Pivot)?;
    }
    setsid().during(Phase::Session)?;
    if !joining.no_new_keyring {
        let name = std::ffi::CString::new(format!("_ses.{}", joining.record.id)).unwrap_or_default();
        match sys::join_session_keyring(&name) {
            Ok(()) | Err(Errno::NOSYS) => {}
            Err(errno) => return Err(errno).during(Phase::Keyring),
        }
    }
    let Some(console) = way.console else { return Ok(()) };
    let root = openat(
        CWD,
        c"/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during(Phase::Console)?;
    let devpts = pty::devpts_inside(root.as_fd()).during(Phase::Console)?;
    let terminal = pty::open(devpts.as_fd(), joining.process.console_size).during(Phase::Console)?;
    handover::send(console, &terminal.master, b"/dev/ptmx").during(Phase::ConsoleSend)?;
    pty::take(&terminal.slave).during(Phase::Console)
}
