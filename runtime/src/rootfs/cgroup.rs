//! The mount of type `cgroup`: one file system on v2, a folder of hierarchies on v1 and hybrid.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    },
};

use super::{
    attach,
    attach::{attributes, finish, new_detached},
    clone_tree,
};
use crate::{
    cgroups::{Hierarchy, Layout},
    plan::{MountPlan, NewFs, Plan},
    process::message::{During, Failure, Phase},
    sys::{MountAttr, mount_setattr},
};

const CGROUP_NAMESPACE: u64 = 0x200_0000;

/// Mounts the container's view of its cgroups at `place`.
pub(super) fn mount(
    plan: &Plan<'_>,
    mount: &MountPlan,
    fs: &NewFs,
    place: BorrowedFd<'_>,
    layout: &Layout,
) -> Result<(), Failure> {
    let own = plan.namespaces.own(CGROUP_NAMESPACE);
    if let [only] = layout.hierarchies.as_slice()
        && only.is_v2()
    {
        let detached = view(only, own, attributes(mount), &fs.data).at(Phase::MountCreate, mount.index)?;
        return finish(mount, detached.as_fd(), place);
    }
    let tmpfs = NewFs {
        kind: c"tmpfs".to_owned(),
        source: Some(c"tmpfs".to_owned()),
        data: vec![(c"mode".to_owned(), Some(c"755".to_owned()))],
        readonly: false,
        copy_up: false,
    };
    let born = attributes(mount).difference(MountAttrFlags::MOUNT_ATTR_RDONLY);
    let folder = new_detached(&tmpfs, born).map_err(|(errno, phase)| Failure {
        phase,
        step: mount.index,
        errno,
    })?;
    // The hierarchies go on the folder once it is part of the tree.
    finish(mount, folder.as_fd(), place)?;
    for hierarchy in &layout.hierarchies {
        one(hierarchy, own, attributes(mount), folder.as_fd()).at(Phase::MountCreate, mount.index)?;
    }
    if fs.readonly {
        let readonly = MountAttr {
            set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttr::default()
        };
        mount_setattr(&folder, &readonly, false).at(Phase::MountAttributes, mount.index)?;
    }
    Ok(())
}

fn one(
    hierarchy: &Hierarchy,
    own: bool,
    attributes: MountAttrFlags,
    folder: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let name = hierarchy.mount_name();
    mkdirat(folder, name.as_str(), Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(folder, name.as_str(), flags, Mode::empty())?;
    let view = view(hierarchy, own, attributes, &[])?;
    attach(view.as_fd(), place.as_fd())?;
    for alias in hierarchy.aliases() {
        symlinkat(name.as_str(), folder, alias)?;
    }
    Ok(())
}

/// A detached mount of one hierarchy: from an own cgroup namespace its root is the container's cgroup, else
/// that folder of the host's is bound.
fn view(
    hierarchy: &Hierarchy,
    own: bool,
    attributes: MountAttrFlags,
    data: &[(CString, Option<CString>)],
) -> Result<OwnedFd, Errno> {
    if !own {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let host = openat(CWD, hierarchy.container_path(), flags, Mode::empty())?;
        let detached = clone_tree(host.as_fd(), false)?;
        let attr = MountAttr {
            set: attributes.bits().into(),
            ..MountAttr::default()
        };
        mount_setattr(&detached, &attr, false)?;
        return Ok(detached);
    }
    let kind = if hierarchy.is_v2() { c"cgroup2" } else { c"cgroup" };
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"cgroup")?;
    for option in hierarchy.mount_options() {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    for (key, value) in data {
        match value {
            Some(value) => fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, key)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
