//! `mount_setattr`.

use std::{
    mem::size_of,
    os::fd::{AsFd, AsRawFd},
};

use rustix::io::Errno;

use super::answer;

/// What to change on a mount, `MOUNT_ATTR_…` bits and one `MS_…` propagation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// Bits to set.
    pub(crate) set: u64,
    /// Bits to clear, cleared first.
    pub(crate) clear: u64,
    /// One of `MS_SHARED MS_SLAVE MS_PRIVATE MS_UNBINDABLE`, or 0.
    pub(crate) propagation: u64,
}

impl MountAttr {
    /// Whether there is nothing to change.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes the mount that `mount` is the root of, and with `recursive` all below it.
pub(crate) fn mount_setattr(mount: impl AsFd, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    // SAFETY: mount_attr is a plain structure of integers, for which all zeroes is a value.
    let mut raw: libc::mount_attr = unsafe { std::mem::zeroed() };
    raw.attr_set = attr.set;
    raw.attr_clr = attr.clear;
    raw.propagation = attr.propagation;
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a literal, the structure lives across the call and its size is given.
    answer(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const raw,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}
