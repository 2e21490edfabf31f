//! Descriptors by number.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;

use super::answer;

/// Closes every descriptor from `first` on but those in `keep`, which stay close-on-exec as they are.
///
/// For a child that never drops what it copied from its parent: it ends in `execve` or [`super::exit_now`].
pub(crate) fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = keep
        .iter()
        .map(|descriptor| descriptor.as_raw_fd().cast_unsigned())
        .collect();
    kept.sort_unstable();
    let mut from = first;
    for number in kept.into_iter().filter(|number| *number >= first) {
        if number > from {
            close_range(from, number - 1)?;
        }
        from = number + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only; nothing owned is used afterwards, as the caller above promises.
    answer(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
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
