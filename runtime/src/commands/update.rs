//! `update`: other limits for a container that is there.

use std::{io::Read, path::Path};

use crate::{
    cgroups,
    error::{Doing, Error},
    id::ContainerId,
    lifecycle::Store,
    spec::resources::Resources,
    state::Status,
};

/// Writes the limits of a file in the form of `linux.resources`.
pub(super) fn update(store: &Store, id: &ContainerId, file: &Path) -> Result<u8, Error> {
    let mut text = String::new();
    let doing = || format!("--resources: read {}", file.display());
    if file == Path::new("-") {
        std::io::stdin()
            .take(1 << 20)
            .read_to_string(&mut text)
            .doing(doing)?;
    } else {
        text = std::fs::read_to_string(file).doing(doing)?;
    }
    let resources: Resources<'_> = serde_json::from_str(&text).map_err(|error| Error::Malformed {
        what: "--resources".to_owned(),
        why: error.to_string(),
    })?;
    let folder = store.lock(id)?;
    let record = folder.load()?;
    if folder.status(&record) == Status::Stopped {
        return Err(Error::State("container not running".to_owned()));
    }
    let devices_too = !resources.devices.is_empty();
    cgroups::apply(&record.layout, Some(&resources), devices_too)?;
    Ok(0)
}
