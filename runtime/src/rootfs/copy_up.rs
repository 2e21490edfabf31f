//! `tmpcopyup`: what the root has at a place, copied into the tmpfs that will cover it.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, mkdirat, mknodat, openat,
        readlinkat, sendfile, statat, symlinkat,
    },
    io::Errno,
};

/// How deep a tree may be: descriptors are held on the way down.
const DEPTH: u32 = 200;

/// Copies the folder at `from` (an `O_PATH` descriptor will do) into the folder at `to`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    copy_folder(from, to, DEPTH)
}

fn copy_folder(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(from, c".", flags, Mode::empty())?;
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        copy_entry(from.as_fd(), to, name, &stat, depth)?;
        chownat(
            to,
            name,
            Some(Uid::from_raw(stat.st_uid)),
            Some(Gid::from_raw(stat.st_gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    depth: u32,
) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | nofollow;
            let (inner, copy) = (
                openat(from, name, flags, Mode::empty())?,
                openat(to, name, flags, Mode::empty())?,
            );
            copy_folder(inner.as_fd(), copy.as_fd(), depth)?;
            fchmod(&copy, mode)
        }
        FileType::RegularFile => {
            let source = openat(from, name, OFlags::RDONLY | nofollow, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let target = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            while sendfile(&target, &source, None, 1 << 20)? > 0 {}
            fchmod(&target, mode)
        }
        FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?, to, name),
        kind => mknodat(to, name, kind, mode, stat.st_rdev),
    }
}
