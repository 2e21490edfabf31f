//! The change of the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx},
    io::Errno,
    mount::{UnmountFlags, unmount},
    process::{chdir, chroot, fchdir, pivot_root},
};

use super::attach;
use crate::sys::{MountAttr, mount_setattr};

/// How the root is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `pivot_root`: the host's tree is gone afterwards.
    Pivot,
    /// The root is moved over `/`, for a host that runs from its first ramdisk.
    Move,
    /// `chroot`, for a container without a mount namespace.
    Chroot,
}

/// Makes `root` the root and the working directory.
pub(crate) fn change(root: BorrowedFd<'_>, how: How) -> Result<(), Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = openat(CWD, c"/", directory, Mode::empty())?;
    fchdir(root)?;
    match how {
        How::Pivot => {
            // The old root comes to lie on top of the new one, so that no folder is needed for it.
            pivot_root(c".", c".")?;
            fchdir(&host)?;
            let slave = MountAttr {
                propagation: libc::MS_SLAVE,
                ..MountAttr::default()
            };
            mount_setattr(&host, &slave, true)?;
            unmount(c".", UnmountFlags::DETACH)?;
        }
        How::Move => {
            attach(root, host.as_fd())?;
            chroot(c".")?;
        }
        How::Chroot => chroot(c".")?,
    }
    chdir(c"/")
}

/// Makes the mount that holds `place` private, so that what is mounted on it reaches nobody else.
pub(super) fn isolate_parent(place: BorrowedFd<'_>) -> Result<(), Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = openat(place, c".", directory, Mode::empty())?;
    for _ in 0..4096 {
        let found = statx(&at, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            let private = MountAttr {
                propagation: libc::MS_PRIVATE,
                ..MountAttr::default()
            };
            return mount_setattr(&at, &private, false);
        }
        at = openat(&at, c"..", directory, Mode::empty())?;
    }
    Err(Errno::NAMETOOLONG)
}
