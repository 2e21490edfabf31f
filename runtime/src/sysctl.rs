//! Kernel parameters of the container's own namespaces.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2},
    io::Errno,
};

use crate::{
    plan::SysctlPlan,
    process::message::{During, Failure, Phase},
};

/// The host's `/proc/sys`, proven to be of a procfs. The parameters seen there are those of the namespaces
/// that the reader is in.
fn folder() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, c"/proc/sys", flags, Mode::empty())?;
    if fstatfs(&folder)?.f_type == PROC_SUPER_MAGIC {
        Ok(folder)
    } else {
        Err(Errno::NODEV)
    }
}

/// Writes each parameter; called while the host's `/proc` is still in reach, so that the image's never is used.
pub(crate) fn write_all(parameters: &[SysctlPlan]) -> Result<(), Failure> {
    if parameters.is_empty() {
        return Ok(());
    }
    let folder = folder().during(Phase::SysctlOpen)?;
    for (index, parameter) in parameters.iter().enumerate() {
        let step = u16::try_from(index).unwrap_or(u16::MAX);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let file =
            openat2(&folder, &parameter.path, flags, Mode::empty(), resolve).at(Phase::SysctlOpen, step)?;
        rustix::io::write(&file, parameter.value.as_bytes()).at(Phase::SysctlWrite, step)?;
    }
    Ok(())
}
