//! Paths inside the root.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat, statat},
    io::Errno,
};

/// How often a lookup is repeated that a rename elsewhere disturbed.
const ATTEMPTS: u32 = 256;
/// How many symbolic links a path that is being made may hold, as in the kernel.
const LINKS: u32 = 40;

/// Opens a path inside the root, by descriptor only. With `strict` no part may be a symbolic link.
pub(crate) fn open_inside(
    root: impl AsFd,
    path: &CStr,
    flags: OFlags,
    strict: bool,
) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if strict {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..ATTEMPTS {
        match openat2(
            root.as_fd(),
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        ) {
            // A rename somewhere on the machine made `..` uncertain; it is no answer about this path.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a folder inside the root, making what is missing of it, mode 0755.
pub(crate) fn create_dirs(root: impl AsFd, path: &CStr, strict: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open_inside(root.as_fd(), path, flags, strict) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    // Mostly the last part alone is missing.
    if let Some((parent, name)) = parent_and_name(path)
        && let Ok(parent) = open_inside(root.as_fd(), &parent, flags, strict)
        && mkdirat(&parent, &name, Mode::from_raw_mode(0o755)).is_ok()
    {
        return open_inside(root, path, flags, strict);
    }
    let mut rest: Vec<Vec<u8>> = split(path.to_bytes());
    rest.reverse();
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == b".." {
            done.pop();
            continue;
        }
        let parent = open_inside(root.as_fd(), &joined(&done)?, flags, strict)?;
        let name = CString::new(part.as_slice()).map_err(|_nul| Errno::INVAL)?;
        match mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let found = statat(&parent, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            links += 1;
            if strict || links > LINKS {
                return Err(Errno::LOOP);
            }
            // The target is walked by its text; each step of it is opened inside the root again.
            let target = readlinkat(&parent, &name, Vec::new())?;
            if target.as_bytes().first() == Some(&b'/') {
                done.clear();
            }
            rest.extend(split(target.as_bytes()).into_iter().rev());
        } else {
            done.push(part);
        }
    }
    open_inside(root, &joined(&done)?, flags, strict)
}

/// The parent's path and the last part of a clean path; `None` for the root.
pub(crate) fn parent_and_name(path: &CStr) -> Option<(CString, CString)> {
    let mut parts = split(path.to_bytes());
    let name = CString::new(parts.pop()?).ok()?;
    Some((joined(&parts).ok()?, name))
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    parts.map(<[u8]>::to_vec).collect()
}

fn joined(parts: &[Vec<u8>]) -> Result<CString, Errno> {
    let path = if parts.is_empty() {
        b".".to_vec()
    } else {
        parts.join(&b'/')
    };
    CString::new(path).map_err(|_nul| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::*;

    fn root(folder: &tempfile::TempDir) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, folder.path(), flags, Mode::empty()).unwrap()
    }

    #[test]
    fn folders_are_made_below_the_root_through_dangling_links() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/run", folder.path().join("var")).unwrap();
        symlink("../../../../../../etc/x", folder.path().join("up")).unwrap();
        create_dirs(root(&folder), c"var/lock/deep", false).unwrap();
        create_dirs(root(&folder), c"up/y", false).unwrap();
        assert!(folder.path().join("run/lock/deep").is_dir());
        assert!(folder.path().join("etc/x/y").is_dir());
    }

    #[test]
    fn a_strict_path_takes_no_link_and_a_loop_ends() {
        let folder = tempfile::tempdir().unwrap();
        symlink("elsewhere", folder.path().join("proc")).unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert_eq!(
            create_dirs(root(&folder), c"proc", true).unwrap_err(),
            Errno::LOOP
        );
        assert_eq!(
            create_dirs(root(&folder), c"a/x", false).unwrap_err(),
            Errno::LOOP
        );
    }

    #[test]
    fn the_last_part_is_split_off() {
        let (parent, name) = parent_and_name(c"dev/pts/x").unwrap();
        assert_eq!((parent.as_c_str(), name.as_c_str()), (c"dev/pts", c"x"));
        assert_eq!(parent_and_name(c"x").unwrap().0.as_c_str(), c".");
        assert!(parent_and_name(c".").is_none());
    }
}
