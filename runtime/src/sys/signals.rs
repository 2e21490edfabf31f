//! Signals by number, real-time ones too.

use std::os::fd::{AsFd, AsRawFd};

use rustix::{io::Errno, process::Pid};

use super::answer;

/// Sends a signal to a process.
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    answer(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) }.into()).map(drop)
}

/// Sends a signal to the process of a descriptor, which cannot be another with the same number.
pub(crate) fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no information structure is given; the rest are integers.
    answer(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd,
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    })
    .map(drop)
}

/// Gives SIGPIPE, which Rust's start-up ignores, its default back and unblocks every signal.
pub(crate) fn reset_signals() {
    // SAFETY: no handler is installed, SIG_DFL takes no pointer; the set is initialised by sigemptyset before
    // it is read.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
