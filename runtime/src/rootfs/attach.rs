//! The mounts of the bundle, each made detached and then attached.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, fstatfs, openat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};

use super::{attach, cgroup, clone_tree, copy_up, create_dirs, open_inside, path::parent_and_name};
use crate::{
    cgroups::Layout,
    plan::{MountKind, MountPlan, NewFs, Plan},
    process::message::{During, Failure, Phase},
    sys::{MountAttr, mount_setattr},
};

/// What later steps need of the mounts.
#[derive(Default)]
pub(crate) struct Mounted {
    /// The container's own devpts, if the bundle has one.
    pub(crate) devpts: Option<OwnedFd>,
}

/// Makes every mount of the plan, in order.
pub(crate) fn mount_all(plan: &Plan<'_>, root: BorrowedFd<'_>, layout: &Layout) -> Result<Mounted, Failure> {
    let mut mounted = Mounted::default();
    for mount in &plan.mounts {
        match &mount.kind {
            MountKind::Bind {
                source,
                recursive,
                procfs_only,
            } => {
                bind(mount, root, source, *recursive, *procfs_only)?;
            }
            MountKind::New(fs) => {
                let place = folder(mount, root)?;
                let detached = match new_detached(fs, attributes(mount)) {
                    // A user namespace without its own network namespace may not make a sysfs.
                    Err((Errno::PERM, _)) if fs.kind.as_c_str() == c"sysfs" => host_sysfs(mount)?,
                    other => other.map_err(|(errno, phase)| Failure {
                        phase,
                        step: mount.index,
                        errno,
                    })?,
                };
                if fs.copy_up {
                    copy_up::copy(place.as_fd(), detached.as_fd()).at(Phase::MountCopyUp, mount.index)?;
                }
                finish(mount, detached.as_fd(), place.as_fd())?;
                if fs.kind.as_c_str() == c"devpts" {
                    mounted.devpts = Some(detached);
                }
            }
            MountKind::Cgroup(fs) => {
                let place = folder(mount, root)?;
                cgroup::mount(plan, mount, fs, place.as_fd(), layout)?;
            }
        }
    }
    Ok(mounted)
}

/// The folder to mount on, made if missing.
fn folder(mount: &MountPlan, root: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    create_dirs(root, &mount.destination, mount.strict).at(Phase::MountDestination, mount.index)
}

fn bind(
    mount: &MountPlan,
    root: BorrowedFd<'_>,
    source: &CString,
    recursive: bool,
    procfs_only: bool,
) -> Result<(), Failure> {
    let open = || openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let origin = open().at(Phase::MountSource, mount.index)?;
    if procfs_only {
        let kind = fstatfs(&origin).at(Phase::MountSource, mount.index)?.f_type;
        let is_procfs = kind == rustix::fs::PROC_SUPER_MAGIC;
        (if is_procfs { Ok(()) } else { Err(Errno::PERM) }).at(Phase::MountRefused, mount.index)?;
    }
    let found = fstat(&origin).at(Phase::MountSource, mount.index)?;
    let place = if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        folder(mount, root)?
    } else {
        file(mount, root).at(Phase::MountDestination, mount.index)?
    };
    let detached = clone_tree(origin.as_fd(), recursive).at(Phase::MountSource, mount.index)?;
    // Only what the bundle names is changed, so flags that a user namespace locked stay as they are.
    if !mount.attr.is_empty() {
        mount_setattr(&detached, &mount.attr, false).at(Phase::MountAttributes, mount.index)?;
    }
    finish(mount, detached.as_fd(), place.as_fd())
}

/// The file to mount on, made empty if missing.
fn file(mount: &MountPlan, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match open_inside(root, &mount.destination, OFlags::PATH, mount.strict) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let (parent, name) = parent_and_name(&mount.destination).ok_or(Errno::ISDIR)?;
    let parent = create_dirs(root, &parent, mount.strict)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&parent, &name, flags, Mode::from_raw_mode(0o755)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    open_inside(root, &mount.destination, OFlags::PATH, mount.strict)
}

/// Sets what holds for all below and the propagation, then attaches.
pub(super) fn finish(
    mount: &MountPlan,
    detached: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
) -> Result<(), Failure> {
    if !mount.recursive.is_empty() {
        mount_setattr(detached, &mount.recursive, true).at(Phase::MountAttributes, mount.index)?;
    }
    if let Some((propagation, recursive)) = mount.propagation {
        let attr = MountAttr {
            propagation,
            ..MountAttr::default()
        };
        mount_setattr(detached, &attr, recursive).at(Phase::MountAttributes, mount.index)?;
    }
    attach(detached, place).at(Phase::MountAttach, mount.index)
}

/// The attributes that a new mount is born with.
pub(super) fn attributes(mount: &MountPlan) -> MountAttrFlags {
    let bits = u32::try_from(mount.attr.set).unwrap_or(0);
    MountAttrFlags::from_bits_retain(bits)
}

/// Makes a file system and a detached mount of it.
pub(super) fn new_detached(fs: &NewFs, attributes: MountAttrFlags) -> Result<OwnedFd, (Errno, Phase)> {
    let create = |errno| (errno, Phase::MountCreate);
    let option = |errno| (errno, Phase::MountOption);
    let context = fsopen(&fs.kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(create)?;
    let source = fs.source.as_ref().unwrap_or(&fs.kind);
    fsconfig_set_string(&context, c"source", source).map_err(option)?;
    if fs.readonly {
        fsconfig_set_flag(&context, c"ro").map_err(option)?;
    }
    for (key, value) in &fs.data {
        match value {
            Some(value) => fsconfig_set_string(&context, key, value).map_err(option)?,
            None => fsconfig_set_flag(&context, key).map_err(option)?,
        }
    }
    fsconfig_create(&context).map_err(create)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(create)
}

fn host_sysfs(mount: &MountPlan) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = openat(CWD, c"/sys", flags, Mode::empty()).at(Phase::MountCreate, mount.index)?;
    let detached = clone_tree(host.as_fd(), true).at(Phase::MountCreate, mount.index)?;
    mount_setattr(&detached, &mount.attr, true).at(Phase::MountAttributes, mount.index)?;
    Ok(detached)
}
