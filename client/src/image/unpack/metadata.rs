//! Owner, mode, attributes and times of what was unpacked.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::place::Place;
use super::{Entry, Error, Options, shown};

/// Sets owner, mode and attributes, in the order in which none undoes another: a change of owner clears
/// set-id bits and file capabilities.
pub(super) fn apply(file: BorrowedFd<'_>, entry: &Entry, options: &Options<'_>) -> Result<(), Error> {
    let (uid, gid) = owner(entry, options)?;
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(Error::io("set owner of", &entry.path))?;
    let mode = Mode::from_raw_mode(entry.mode);
    rustix::fs::fchmod(file, mode).map_err(Error::io("set mode of", &entry.path))?;
    for (name, value) in &entry.xattrs {
        // A layer may not speak to overlayfs: it could make a folder opaque or redirect a name.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        match rustix::fs::fsetxattr(file, &**name, value, XattrFlags::empty()) {
            Ok(()) => {}
            // A file system that keeps no attributes, a namespace that may not set this one: the file is still
            // the layer's, only poorer. Not so for capabilities, without which a program breaks silently.
            Err(Errno::OPNOTSUPP | Errno::PERM) if name != b"security.capability" => {}
            Err(errno) => return Err(Error::io("set an attribute of", &entry.path)(errno)),
        }
    }
    Ok(())
}

/// Sets owner and times of what can't be opened: a symbolic link, a device, a pipe.
pub(super) fn apply_to_name(place: &Place, entry: &Entry, options: &Options<'_>) -> Result<(), Error> {
    let (uid, gid) = owner(entry, options)?;
    rustix::fs::chownat(
        &place.parent,
        &*place.name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(Error::io("set owner of", &entry.path))?;
    rustix::fs::utimensat(
        &place.parent,
        &*place.name,
        &times(entry.mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(Error::io("set times of", &entry.path))
}

/// Sets the modification time and leaves the access time.
pub(super) fn set_times(file: BorrowedFd<'_>, mtime: (i64, u32)) -> Result<(), Errno> {
    rustix::fs::futimens(file, &times(mtime))
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanos.into(),
        },
    }
}

fn owner(entry: &Entry, options: &Options<'_>) -> Result<(Uid, Gid), Error> {
    let unmapped = |id| Error::UnmappedId {
        path: shown(&entry.path),
        id,
    };
    let uid = options.ids.uid(entry.uid).ok_or_else(|| unmapped(entry.uid))?;
    let gid = options.ids.gid(entry.gid).ok_or_else(|| unmapped(entry.gid))?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}
