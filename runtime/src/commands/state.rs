//! `state`: what is known of a container.

use crate::{error::Error, id::ContainerId, lifecycle::Store};

/// Prints the state.
pub(super) fn state(store: &Store, id: &ContainerId) -> Result<u8, Error> {
    let folder = store.find(id)?;
    let record = folder.load()?;
    let shown = serde_json::to_string_pretty(&record.show(folder.status(&record)));
    let mut text = shown.map_err(|error| Error::Other(format!("print the state: {error}")))?;
    text.push('\n');
    super::print(&text)
}
