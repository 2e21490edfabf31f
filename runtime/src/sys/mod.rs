//! The system calls that no safe crate wraps, each as a thin safe function.
//!
//! Invariant: every `unsafe` line of the crate is in this folder, and each says why it holds.
#![expect(unsafe_code, reason = "the one place for it")]

mod bpf;
mod clone;
mod descriptors;
#[cfg(target_arch = "x86_64")]
mod entry;
mod mount;
mod network;
mod program;
mod signals;

pub(crate) use bpf::{
    BpfInsn, attach_device_program, detach_device_program, device_programs, load_device_program,
};
pub(crate) use clone::{Side, clone3, unshare};
pub(crate) use descriptors::{close_all_but, keep_across_exec};
pub(crate) use mount::{MountAttr, mount_setattr};
pub(crate) use network::bring_loopback_up;
pub(crate) use program::{exit_now, install_seccomp, join_session_keyring, personality};
pub(crate) use signals::{kill, pidfd_send_signal, reset_signals};

use rustix::io::Errno;

/// Turns a raw system call's answer into a result.
fn answer(value: libc::c_long) -> Result<libc::c_long, Errno> {
    if value < 0 { Err(last_errno()) } else { Ok(value) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
