//! New namespaces inside a user namespace that is joined: they must be made by a process that is in it
//! already, so one stands between for a moment.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::Pid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::message::{Failure, Message, Phase, hear, tell};
use crate::{
    error::{Doing, Error},
    files, handover,
    sys::{self, Side},
};

/// What the one between makes.
pub(super) struct Relay<'a> {
    /// The user namespace to join, and its place in the bundle's list.
    pub(super) user: (u16, &'a OwnedFd),
    /// Namespaces to make in it.
    pub(super) new: u64,
    /// The v2 cgroup.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// How it went.
pub(super) enum Relayed {
    /// On either side of the clone.
    Side(Side),
    /// The one between failed.
    Failed(Failure),
}

/// As [`sys::clone3`], but the child is made inside the user namespace; it is this process's child all the same.
pub(super) fn clone3(relay: &Relay<'_>) -> Result<Relayed, Error> {
    let doing = || "linux.namespaces: make the container's process";
    // A pair of its own: on the child's own the child may speak before the one between does.
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing(doing)?;
    let between = match sys::clone3(0, relay.cgroup).doing(doing)? {
        Side::Parent { pidfd, .. } => pidfd,
        Side::Child => match from_inside(relay) {
            Ok(Side::Child) => return Ok(Relayed::Side(Side::Child)),
            Ok(Side::Parent { pidfd, .. }) => {
                let sent = handover::send(theirs.as_fd(), &pidfd, b"pidfd");
                sys::exit_now(i32::from(sent.is_err()))
            }
            Err(failure) => {
                tell(&theirs, Message::Failed(failure));
                sys::exit_now(1)
            }
        },
    };
    drop(theirs);
    if super::exit_code(&between)? != 0 {
        return match hear(&ours).doing(doing)? {
            Some(Message::Failed(failure)) => Ok(Relayed::Failed(failure)),
            _ => Err(Error::Other(format!("{}: the process between ended", doing()))),
        };
    }
    let pidfd = handover::receive(ours.as_fd()).doing(doing)?;
    let pid = pid_of(&pidfd).doing(doing)?;
    Ok(Relayed::Side(Side::Parent { pid, pidfd }))
}

fn from_inside(relay: &Relay<'_>) -> Result<Side, Failure> {
    let failed = |step| {
        move |errno| Failure {
            phase: Phase::JoinNamespace,
            step,
            errno,
        }
    };
    let (index, namespace) = relay.user;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User)).map_err(failed(index))?;
    let sibling = u64::from(libc::CLONE_PARENT.cast_unsigned());
    sys::clone3(relay.new | sibling, None).map_err(failed(u16::MAX))
}

/// The process's id as this process counts, whatever namespace it was made from.
fn pid_of(pidfd: &OwnedFd) -> Result<Pid, Errno> {
    use std::os::fd::AsRawFd;
    let text = files::read_text(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|number| Pid::from_raw(number.trim().parse().ok()?))
        .ok_or(Errno::SRCH)
}
