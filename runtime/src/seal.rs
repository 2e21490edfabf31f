//! The guard against a container that writes to the runtime through `/proc/self/exe`.
//!
//! Before anything of a container exists, the runtime runs itself again from a read-only overlay mount that no
//! path leads to, or, where none can be made, from a sealed copy in memory. Nothing inside can write to either,
//! whatever it opens and however privileged it is.

use std::{
    ffi::{CString, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{
        MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals, fstatvfs,
        memfd_create, open, openat, sendfile,
    },
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    },
};

use crate::error::{Doing, Error};

/// Tells the second run from the first; its absence or presence grants nothing.
const MARK: &str = "_WHARF_RUNTIME_SEALED";

/// Runs this program again from where it cannot be written to, unless that has been done.
///
/// # Errors
/// No such copy can be made: then no container may be.
pub fn ensure(arguments: &[OsString]) -> Result<(), Error> {
    let exe = open(c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open this program")?;
    if std::env::var_os(MARK).is_some() && is_sealed(&exe) {
        return Ok(());
    }
    let copy = match read_only_view() {
        Ok(view) => view,
        Err(_) => memory_copy(&exe).doing(|| "make a copy of this program that containers cannot change")?,
    };
    let strings = |list: Vec<Vec<u8>>| -> Vec<CString> { list.into_iter().flat_map(CString::new).collect() };
    let arguments = strings(
        arguments
            .iter()
            .map(|argument| argument.as_bytes().to_vec())
            .collect(),
    );
    let kept = std::env::vars_os().filter(|(name, _)| name != MARK);
    let environment = kept.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let environment = strings(environment.chain([format!("{MARK}=1").into_bytes()]).collect());
    let empty = nix::fcntl::AtFlags::AT_EMPTY_PATH;
    match nix::unistd::execveat(&copy, c"", &arguments, &environment, empty) {
        Ok(never) => match never {},
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)).doing(|| "run the copy of this program"),
    }
}

/// Whether the kernel refuses every write to the file.
fn is_sealed(exe: &OwnedFd) -> bool {
    let read_only = fstatvfs(exe).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only || fcntl_get_seals(exe).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SEAL))
}

/// This program through a detached, read-only overlay of its folder.
fn read_only_view() -> Result<OwnedFd, Errno> {
    let path = std::env::current_exe().map_err(|_unknown| Errno::NOENT)?;
    let (folder, name) = (
        path.parent().ok_or(Errno::NOENT)?,
        path.file_name().ok_or(Errno::NOENT)?,
    );
    let folder = folder
        .to_str()
        .filter(|folder| !folder.contains([':', '\\', ',']))
        .ok_or(Errno::INVAL)?;
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // An overlay that nothing can be written to needs two layers; the second lends only its being a folder.
    let second = if Path::new(folder).starts_with("/dev") {
        "/sys"
    } else {
        "/dev"
    };
    fsconfig_set_string(&context, c"lowerdir", format!("{folder}:{second}"))?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    let view = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let program = openat(&view, name, flags, Mode::empty())?;
    // Closing the mount here would take it apart, only for `execve` to do without it a moment later.
    std::mem::forget((view, context));
    Ok(program)
}

/// This program in memory, sealed against every change.
fn memory_copy(exe: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match memfd_create(c"wharf-runtime", flags | MemfdFlags::EXEC) {
        // A kernel before the flag.
        Err(Errno::INVAL) => memfd_create(c"wharf-runtime", flags),
        other => other,
    }?;
    while sendfile(&copy, exe, None, 1 << 24)? > 0 {}
    fcntl_add_seals(
        &copy,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    // Reopened for reading, since a file that is open for writing cannot be run.
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
