//! `list`: all containers.

use crate::{error::Error, lifecycle::Store};

/// Prints the containers.
pub(super) fn list(store: &Store, json: bool, quiet: bool) -> Result<u8, Error> {
    let mut containers = Vec::new();
    for id in store.ids() {
        // One that is being made or removed right now is not listed.
        let Ok(folder) = store.find(&id) else { continue };
        let Ok(record) = folder.load() else { continue };
        let status = folder.status(&record);
        containers.push((record, status));
    }
    if quiet {
        return super::print(
            &containers
                .iter()
                .map(|(record, _)| format!("{}\n", record.id))
                .collect::<String>(),
        );
    }
    let shown: Vec<_> = containers
        .iter()
        .map(|(record, status)| record.show(*status))
        .collect();
    if json {
        let text = serde_json::to_string(&shown)
            .map_err(|error| Error::Other(format!("print the list: {error}")))?;
        return super::print(&text);
    }
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(shown.iter().map(|one| {
        let pid = one.pid.unwrap_or(0).to_string();
        let bundle = one.bundle.display().to_string();
        [
            one.id.to_owned(),
            pid,
            one.status.word().to_owned(),
            bundle,
            one.created.to_owned(),
            one.owner.clone(),
        ]
    }));
    super::print(&table(&rows))
}

/// Columns as wide as their widest cell and three spaces, at least twelve, as tabwriter makes them.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.len() + 3).max().unwrap_or(0).max(12)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let last = column == 5;
            text.push_str(&if last {
                format!("{cell}\n")
            } else {
                format!("{cell:width$}", width = *width)
            });
        }
    }
    text
}
