//! The container's root, mounted where only this process and its children see it.

use std::{fs, io, path::Path};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind,
    mount_change, move_mount, unmount,
};

use crate::image::snapshot::Mount;

/// Leaves the others' mount namespace. What they mount later is still seen here, nothing of ours there.
pub(super) fn leave_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    Ok(())
}

/// Mounts a snapshot on the folder `root`, which is made. With `passing`, what is written need not outlive
/// the mount: the kernel then does not sync the whole file system below when it goes.
pub(super) fn mount(snapshot: &Mount, root: &Path, passing: bool) -> io::Result<()> {
    fs::create_dir_all(root)?;
    match snapshot {
        Mount::Bind { source, .. } => Ok(mount_bind(source, root)?),
        Mount::Overlay { lower, upper } => {
            match overlay(lower, upper.as_ref(), root, passing) {
                // The kernel does not take the folders one by one (before 6.5): all in one text, then.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => overlay_by_text(snapshot, root),
                other => Ok(other?),
            }
        }
    }
}

fn overlay(
    lower: &[std::path::PathBuf],
    upper: Option<&(std::path::PathBuf, std::path::PathBuf)>,
    root: &Path,
    passing: bool,
) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for folder in lower {
        fsconfig_set_string(&context, "lowerdir+", folder)?;
    }
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&context, "upperdir", upper)?;
        fsconfig_set_string(&context, "workdir", work)?;
        if passing {
            fsconfig_set_flag(&context, "volatile")?;
        }
    }
    fsconfig_create(&context)?;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(
        &mounted,
        "",
        rustix::fs::CWD,
        root,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

fn overlay_by_text(snapshot: &Mount, root: &Path) -> io::Result<()> {
    let options = snapshot.overlay_options().unwrap_or_default();
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount(
        "overlay",
        root,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?)
}

/// Takes the root away; one that is not mounted is already away.
pub(super) fn unmount_root(root: &Path) -> io::Result<()> {
    match unmount(root, UnmountFlags::DETACH) {
        Err(error) if !matches!(error, rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
