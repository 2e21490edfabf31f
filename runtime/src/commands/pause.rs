//! `pause` and `resume`.

use crate::{cgroups, error::Error, id::ContainerId, lifecycle::Store, state::Status};

/// Freezes all processes.
pub(super) fn pause(store: &Store, id: &ContainerId) -> Result<u8, Error> {
    let folder = store.lock(id)?;
    let record = folder.load()?;
    match folder.status(&record) {
        Status::Running | Status::Created => cgroups::freeze(&record.layout, true).map(|()| 0),
        other => Err(Error::State(format!(
            "container not running: it is {}",
            other.word()
        ))),
    }
}

/// Lets all processes go on.
pub(super) fn resume(store: &Store, id: &ContainerId) -> Result<u8, Error> {
    let folder = store.lock(id)?;
    let record = folder.load()?;
    match folder.status(&record) {
        Status::Paused => cgroups::freeze(&record.layout, false).map(|()| 0),
        other => Err(Error::State(format!(
            "container not paused: it is {}",
            other.word()
        ))),
    }
}
