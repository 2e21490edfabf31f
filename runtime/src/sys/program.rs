//! What the child does to itself before it becomes the user's program.

use std::ffi::CStr;

use rustix::io::Errno;

use super::answer;
use crate::seccomp::Instruction;

/// Installs a seccomp filter on this process. `flags` are `SECCOMP_FILTER_FLAG_…`.
///
/// Answers the listener's descriptor number if the flags ask for one, else 0.
pub(crate) fn install_seccomp(filter: &[Instruction], flags: u32) -> Result<i32, Errno> {
    let len = u16::try_from(filter.len()).map_err(|_too_long| Errno::INVAL)?;
    let program = libc::sock_fprog {
        len,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: an Instruction is laid out as a sock_filter. The kernel only reads the instructions, whose number
    // is given, and copies them before it returns.
    let value = answer(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })?;
    i32::try_from(value).map_err(|_not_a_descriptor| Errno::OVERFLOW)
}

/// Starts a new session keyring of that name.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the name is NUL-terminated and only read.
    answer(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) }).map(drop)
}

/// Sets the execution domain.
pub(crate) fn personality(domain: u64) -> Result<(), Errno> {
    // SAFETY: takes an integer only.
    answer(unsafe { libc::personality(domain) }.into()).map(drop)
}

/// Ends this process at once: no destructor runs, which in a copy of the parent would undo the parent's work.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests;
