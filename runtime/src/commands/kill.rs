//! `kill`: a signal to the first process, or to all.

use rustix::{
    io::Errno,
    process::{PidfdFlags, pidfd_open},
};

use crate::{
    cgroups,
    error::{Doing, Error},
    id::ContainerId,
    lifecycle::Store,
    signal, sys,
};

/// Sends the signal.
pub(super) fn kill(store: &Store, id: &ContainerId, name: &str, all: bool) -> Result<u8, Error> {
    let signal = signal::parse(name)?;
    // Without the lock: a signal must get through while a start waits for a hook.
    let record = store.find(id)?.load()?;
    if all {
        cgroups::kill_all(&record.layout, signal)?;
        return Ok(0);
    }
    let stopped = || Error::State("container not running".to_owned());
    let pid = record.alive().ok_or_else(stopped)?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Err(stopped()),
        other => other.doing(|| "open the container's process")?,
    };
    // The number may have gone to another process between the look and the open.
    record.alive().ok_or_else(stopped)?;
    sys::pidfd_send_signal(&pidfd, signal).doing(|| format!("send signal {name}"))?;
    if signal == libc::SIGKILL && cgroups::is_frozen(&record.layout) {
        // On v1 a frozen process takes even this signal only once it thaws.
        cgroups::freeze(&record.layout, false)?;
    }
    Ok(0)
}
