//! `ps`: the processes inside.

use std::process::Command;

use crate::{
    cgroups,
    error::{Doing, Error},
    id::ContainerId,
    lifecycle::Store,
};

/// Prints the processes: their ids as JSON, or the host's `ps` for them.
pub(super) fn ps(store: &Store, id: &ContainerId, json: bool, arguments: &[String]) -> Result<u8, Error> {
    let record = store.find(id)?.load()?;
    let pids: Vec<i32> = cgroups::members(&record.layout)
        .iter()
        .map(|pid| pid.as_raw_nonzero().get())
        .collect();
    if json {
        return super::print(&format!("{pids:?}\n"));
    }
    let arguments = if arguments.is_empty() {
        ["-ef".to_owned()].to_vec()
    } else {
        arguments.to_vec()
    };
    let output = Command::new("ps").args(&arguments).output().doing(|| "run ps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::Usage("ps: its output has no column PID".to_owned()))?;
    let inside = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let rows = lines.filter(inside).map(|line| format!("{line}\n"));
    super::print(&format!("{heading}\n{}", rows.collect::<String>()))
}
