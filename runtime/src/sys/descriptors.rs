//! Descriptors by number.

use std::os::fd::RawFd;

use rustix::io::Errno;

use super::answer;

/// Marks every open descriptor from `first` on close-on-exec.
pub(crate) fn close_range_cloexec(first: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only and closes nothing.
    answer(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Leaves a descriptor open for the next program.
///
/// # Errors
/// `EBADF` if it is not open.
pub(crate) fn keep_across_exec(number: u32) -> Result<(), Errno> {
    let number = RawFd::try_from(number).map_err(|_range| Errno::BADF)?;
    // SAFETY: takes integers only and changes one flag.
    answer(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into()).map(drop)
}
