//! Device nodes and the links in `/dev`.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, makedev, mknodat, openat,
        statat, symlinkat, unlinkat,
    },
    io::Errno,
};

use super::{attach, clone_tree, create_dirs, path::parent_and_name};
use crate::{
    plan::{DevicePlan, Plan},
    process::message::{During, Failure, Phase},
};

/// Makes the plan's devices. In a user namespace, where none can be made, the host's are bound instead.
pub(crate) fn make_devices(plan: &Plan<'_>, root: BorrowedFd<'_>, bind: bool) -> Result<(), Failure> {
    let below_dev = |path: &CStr| {
        path.to_bytes()
            .strip_prefix(b"dev/")
            .is_some_and(|name| !name.contains(&b'/'))
    };
    let dev = if plan.devices.is_empty() {
        None
    } else {
        Some(create_dirs(root, c"dev", true).during(Phase::DeviceDestination)?)
    };
    for (index, device) in plan.devices.iter().enumerate() {
        let step = u16::try_from(index).unwrap_or(u16::MAX);
        let (parent, name) = parent_and_name(&device.path)
            .ok_or(Errno::ISDIR)
            .at(Phase::DeviceDestination, step)?;
        // Nearly all stand in /dev itself, which is opened once.
        let made = match &dev {
            Some(dev) if below_dev(&device.path) => make(device, dev.as_fd(), &name, bind),
            _ => {
                let parent = create_dirs(root, &parent, false).at(Phase::DeviceDestination, step)?;
                make(device, parent.as_fd(), &name, bind)
            }
        };
        made.at(Phase::DeviceCreate, step)?;
    }
    Ok(())
}

fn make(device: &DevicePlan, parent: BorrowedFd<'_>, name: &CStr, bind: bool) -> Result<(), Errno> {
    let number = makedev(device.number.0, device.number.1);
    if bind && device.kind != FileType::Fifo {
        return bind_host(device, parent, name, number);
    }
    match mknodat(
        parent,
        name,
        device.kind,
        Mode::from_raw_mode(device.mode),
        number,
    ) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same = FileType::from_raw_mode(found.st_mode) == device.kind;
            if !same || (device.kind != FileType::Fifo && found.st_rdev != number) {
                return Err(Errno::EXIST);
            }
        }
        Err(errno) => return Err(errno),
    }
    // mknod applied the umask; the new node cannot be a link, since it was made or found not to be one.
    chmodat(parent, name, Mode::from_raw_mode(device.mode), AtFlags::empty())?;
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn bind_host(device: &DevicePlan, parent: BorrowedFd<'_>, name: &CStr, number: u64) -> Result<(), Errno> {
    let mut path = b"/".to_vec();
    path.extend_from_slice(device.path.to_bytes());
    let host = openat(
        CWD,
        path.as_slice(),
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let found = fstat(&host)?;
    if FileType::from_raw_mode(found.st_mode) != device.kind || found.st_rdev != number {
        return Err(Errno::NODEV);
    }
    attach(
        clone_tree(host.as_fd(), false)?.as_fd(),
        empty_file(parent, name)?.as_fd(),
    )
}

/// An empty file to mount on, made or found; never through a link.
pub(crate) fn empty_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::from_raw_mode(0o666)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = openat(
        parent,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    match FileType::from_raw_mode(fstat(&place)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Ok(place),
    }
}

/// Makes the links that every container has in `/dev`.
pub(crate) fn make_links(root: BorrowedFd<'_>, own_devpts: bool) -> Result<(), Failure> {
    let dev = create_dirs(root, c"dev", true).during(Phase::DevSymlinks)?;
    let links = [
        (c"/proc/self/fd", c"fd"),
        (c"/proc/self/fd/0", c"stdin"),
        (c"/proc/self/fd/1", c"stdout"),
        (c"/proc/self/fd/2", c"stderr"),
        (c"/proc/kcore", c"core"),
    ];
    for (target, name) in links {
        if name == c"core" && statat(CWD, target, AtFlags::empty()).is_err() {
            continue;
        }
        link(dev.as_fd(), target, name).during(Phase::DevSymlinks)?;
    }
    if own_devpts {
        match unlinkat(&dev, c"ptmx", AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).during(Phase::DevSymlinks),
        }
        link(dev.as_fd(), c"pts/ptmx", c"ptmx").during(Phase::DevSymlinks)?;
    }
    Ok(())
}

fn link(dev: BorrowedFd<'_>, target: &CStr, name: &CStr) -> Result<(), Errno> {
    match symlinkat(target, dev, name) {
        // What the image brought stays.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}
