//! The container's root: what is mounted in it, its devices, what is hidden, and the change to it.
//!
//! Invariant: a path inside the root is resolved once, by `openat2` below the root's descriptor, and used by
//! that descriptor alone. Mounts are made detached and attached by descriptor.

mod attach;
mod cgroup;
mod copy_up;
mod dev;
mod hide;
mod path;
mod pivot;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) use attach::mount_all;
pub(crate) use dev::{empty_file, make_devices, make_links};
pub(crate) use hide::hide_all;
pub(crate) use path::{create_dirs, open_inside};
pub(crate) use pivot::{How, change};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};

use crate::{
    plan::Plan,
    process::message::{During, Failure, Phase},
    sys::{MountAttr, mount_setattr},
};

/// Sets the propagation of what the new mount namespace copied, and attaches the root to itself.
pub(crate) fn attach_root(plan: &Plan<'_>) -> Result<OwnedFd, Failure> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = openat(CWD, c"/", directory, Mode::empty()).during(Phase::Propagation)?;
    // What is unbindable could not be attached; the root becomes it once it is the root.
    let propagation = match plan.propagation {
        None => libc::MS_SLAVE,
        Some(libc::MS_UNBINDABLE) => libc::MS_PRIVATE,
        Some(other) => other,
    };
    mount_setattr(
        &host,
        &MountAttr {
            propagation,
            ..MountAttr::default()
        },
        true,
    )
    .during(Phase::Propagation)?;
    let place = openat(CWD, &plan.rootfs, directory, Mode::empty()).during(Phase::RootOpen)?;
    if propagation == libc::MS_SHARED {
        pivot::isolate_parent(place.as_fd()).during(Phase::Propagation)?;
    }
    let root = clone_tree(place.as_fd(), true).during(Phase::RootAttach)?;
    attach(root.as_fd(), place.as_fd()).during(Phase::RootAttach)?;
    Ok(root)
}

/// The root of a container without a mount namespace, where nothing can be attached.
pub(crate) fn open_root(plan: &Plan<'_>) -> Result<OwnedFd, Failure> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, &plan.rootfs, directory, Mode::empty()).during(Phase::RootOpen)
}

/// A detached copy of the mount at a descriptor.
pub(crate) fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(source, c"", flags)
}

/// Attaches a detached mount at a descriptor.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", by_descriptor)
}

/// Makes the root unbindable, if that is its propagation.
pub(crate) fn finish_propagation(plan: &Plan<'_>, root: impl AsFd) -> Result<(), Failure> {
    if plan.propagation != Some(libc::MS_UNBINDABLE) {
        return Ok(());
    }
    let attr = MountAttr {
        propagation: libc::MS_UNBINDABLE,
        ..MountAttr::default()
    };
    mount_setattr(root, &attr, false).during(Phase::Propagation)
}

/// Makes the root itself read-only.
pub(crate) fn make_readonly(root: impl AsFd) -> Result<(), Failure> {
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(root, &attr, false).during(Phase::RootReadonly)
}
