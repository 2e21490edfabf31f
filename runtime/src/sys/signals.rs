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

/// Gives every signal its default back, whatever the caller or Rust's start-up ignored, and unblocks all.
pub(crate) fn reset_signals() {
    /// The kernel's `sigaction`: the default handler is zero, and so are no flags and an empty mask.
    const DEFAULT: [u64; 4] = [0; 4];
    const SET_BYTES: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the structure is at least as long as the kernel's, is only read, and holds no handler's
        // address. glibc's own call would refuse the two signals that it keeps for itself.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null::<u64>(),
                SET_BYTES,
            )
        };
    }
    let none = 0_u64;
    // SAFETY: the set is eight bytes, as is said, and only read.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null::<u64>(),
            SET_BYTES,
        )
    };
}
