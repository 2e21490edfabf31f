//! `clone3` and `unshare`.

use std::{
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::{io::Errno, process::Pid};

use super::answer;

/// On which side of a clone the caller goes on.
pub(crate) enum Side {
    /// In the new process.
    Child,
    /// In the process that called.
    Parent {
        /// The child's id in the caller's pid namespace.
        pid: Pid,
        /// The child's descriptor, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// Makes a child that goes on as a copy of this process, in the new namespaces that `flags` name.
///
/// With `cgroup` it starts in that v2 cgroup. With `CLONE_PARENT` in the flags it is a sibling.
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is a plain structure of integers, for which all zeroes is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.pidfd = (&raw mut pidfd) as u64;
    if flags & u64::from(libc::CLONE_PARENT.cast_unsigned()) == 0 {
        args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: the arguments live across the call and their size is given. Neither CLONE_VM nor a stack is
    // asked for, so the child runs on its own copy of this single-threaded process, as after a fork.
    let pid =
        answer(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::OVERFLOW)?;
    // SAFETY: with CLONE_PIDFD the kernel stored a descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Side::Parent { pid, pidfd })
}

/// Moves this process into new namespaces.
pub(crate) fn unshare(flags: i32) -> Result<(), Errno> {
    // SAFETY: takes integers only; the process has one thread, so that no other is surprised by a private
    // descriptor table or file system view.
    answer(unsafe { libc::unshare(flags) }.into()).map(drop)
}
