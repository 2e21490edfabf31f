//! Masked and read-only paths.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

use super::{attach, clone_tree, open_inside};
use crate::{
    plan::Plan,
    process::message::{During, Failure, Phase},
    sys::{MountAttr, mount_setattr},
};

/// The host's `/dev/null`, proven to be it: a character device, 1:3, not reached by a link.
pub(crate) fn null_device() -> Result<OwnedFd, Errno> {
    let null = openat(
        CWD,
        c"/dev/null",
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let found = fstat(&null)?;
    let device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    if device && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3) {
        Ok(null)
    } else {
        Err(Errno::NODEV)
    }
}

/// Masks and write-protects the plan's paths. What is not there needs no hiding.
pub(crate) fn hide_all(plan: &Plan<'_>, root: BorrowedFd<'_>) -> Result<(), Failure> {
    for (index, path) in plan.readonly.iter().enumerate() {
        let step = u16::try_from(index).unwrap_or(u16::MAX);
        match open_inside(root, path, OFlags::PATH, false) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            found => protect(found.at(Phase::ReadonlyPath, step)?.as_fd()).at(Phase::ReadonlyPath, step)?,
        }
    }
    if plan.masked.is_empty() {
        return Ok(());
    }
    let null = null_device().during(Phase::MaskSource)?;
    let mut empty: Option<OwnedFd> = None;
    for (index, path) in plan.masked.iter().enumerate() {
        let step = u16::try_from(index).unwrap_or(u16::MAX);
        match open_inside(root, path, OFlags::PATH, false) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            found => {
                mask(found.at(Phase::Mask, step)?.as_fd(), null.as_fd(), &mut empty).at(Phase::Mask, step)?
            }
        }
    }
    Ok(())
}

fn protect(place: BorrowedFd<'_>) -> Result<(), Errno> {
    let copy = clone_tree(place, true)?;
    let readonly = MountAttr {
        set: libc::MOUNT_ATTR_RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(&copy, &readonly, true)?;
    attach(copy.as_fd(), place)
}

fn mask(place: BorrowedFd<'_>, null: BorrowedFd<'_>, empty: &mut Option<OwnedFd>) -> Result<(), Errno> {
    if FileType::from_raw_mode(fstat(place)?.st_mode) != FileType::Directory {
        return attach(clone_tree(null, false)?.as_fd(), place);
    }
    // One empty folder serves for all: a copy of its mount costs less than another file system.
    let next = match empty {
        None => empty_folder()?,
        Some(first) => clone_tree(first.as_fd(), false)?,
    };
    attach(next.as_fd(), place)?;
    empty.get_or_insert(next);
    Ok(())
}

fn empty_folder() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"tmpfs")?;
    fsconfig_set_flag(&context, c"ro")?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}
