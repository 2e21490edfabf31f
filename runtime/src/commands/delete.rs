//! `delete`: takes away all that is left of a container.

use rustix::process::{PidfdFlags, pidfd_open};

use crate::{
    cgroups,
    error::Error,
    hooks,
    id::ContainerId,
    lifecycle::{Folder, Store},
    log::{Level, Log},
    process::{self, hook_state},
    state::{Record, Status},
    sys,
};

/// Deletes the containers. With `force` a running one is ended first, and a missing one is no error.
pub(super) fn delete(store: &Store, log: &mut Log, ids: &[ContainerId], force: bool) -> Result<u8, Error> {
    let mut first_error = None;
    for id in ids {
        if let Err(error) = delete_one(store, log, id, force) {
            // Each is tried; the last message is shown by the caller, the others are in the log.
            if let Some(earlier) = first_error.replace(error) {
                log.write(Level::Error, &earlier.to_string());
            }
        }
    }
    first_error.map_or(Ok(0), Err)
}

fn delete_one(store: &Store, log: &mut Log, id: &ContainerId, force: bool) -> Result<(), Error> {
    let folder = match store.lock(id) {
        Err(Error::Missing(_)) if force => return Ok(()),
        other => other?,
    };
    let record = match folder.load() {
        // A creation that was killed before it had made anything, or a state that cannot be read.
        Err(_) if force => return folder.remove(),
        other => other?,
    };
    let status = folder.status(&record);
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        let word = status.word();
        return Err(Error::State(format!(
            "cannot delete container {id} that is not stopped: {word}"
        )));
    }
    remove(&folder, &record, log)
}

/// Ends what still runs and removes cgroups and folder; goes on past failures, and answers with the first.
pub(super) fn remove(folder: &Folder, record: &Record, log: &mut Log) -> Result<(), Error> {
    let mut errors = Vec::new();
    end(record, &mut errors);
    if let Err(more) = cgroups::remove(&record.layout) {
        errors.extend(more);
    }
    let config = folder.config();
    if errors.is_empty() {
        errors.extend(folder.remove().err());
        post_stop(config.as_deref().unwrap_or_default(), record, log);
    }
    let mut errors = errors.into_iter();
    let first = errors.next();
    errors.for_each(|error| log.write(Level::Error, &error.to_string()));
    first.map_or(Ok(()), Err)
}

/// Kills the first process and whoever else is in the cgroup, and waits for the first.
fn end(record: &Record, errors: &mut Vec<Error>) {
    if cgroups::is_frozen(&record.layout) {
        errors.extend(cgroups::kill_all(&record.layout, libc::SIGKILL).err());
        errors.extend(cgroups::freeze(&record.layout, false).err());
    }
    if let Some(pid) = record.alive()
        && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
        && record.alive().is_some()
    {
        // It may end by itself in between.
        let _ = sys::pidfd_send_signal(&pidfd, libc::SIGKILL);
        if !process::await_end(record) {
            errors.push(Error::Other(
                "the container's process did not end when it was killed".to_owned(),
            ));
        }
    }
    // Without a pid namespace of its own the first process takes nobody with it.
    errors.extend(cgroups::kill_all(&record.layout, libc::SIGKILL).err());
}

fn post_stop(config: &str, record: &Record, log: &mut Log) {
    // Most configs name none, and need no second reading.
    if !config.contains("\"poststop\"") {
        return;
    }
    let Ok(spec) = super::create::parse(config) else {
        return;
    };
    let (Some(spec_hooks), Ok(state)) = (&spec.hooks, hook_state(record, Status::Stopped)) else {
        return;
    };
    for hook in &spec_hooks.poststop {
        // The specification: log a failure, and go on with the others.
        if let Err(error) = hooks::run_all("poststop", std::slice::from_ref(hook), &state) {
            log.write(Level::Warning, &error.to_string());
        }
    }
}
