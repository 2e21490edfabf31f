//! Who is inside, and how all of them end.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};

use super::{Hierarchy, Layout, read, write};
use crate::error::{Doing, Error};

/// How long the removal of a cgroup waits for the kernel to let its processes go.
const PATIENCE: Duration = Duration::from_secs(5);

/// The hierarchy that tells who is inside: v2 if there, since all are in it.
fn witness(layout: &Layout) -> Option<&Hierarchy> {
    layout
        .v2()
        .or_else(|| layout.v1("pids"))
        .or_else(|| layout.hierarchies.first())
}

/// The folder and all below it, deepest first.
fn tree(folder: &Path, found: &mut Vec<PathBuf>) {
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                tree(&entry.path(), found);
            }
        }
        found.push(folder.to_owned());
    }
}

/// All processes inside, in folders below too.
pub(crate) fn members(layout: &Layout) -> Vec<Pid> {
    let mut folders = Vec::new();
    if let Some(hierarchy) = witness(layout) {
        tree(hierarchy.container_path(), &mut folders);
    }
    let listed = folders
        .into_iter()
        .filter_map(|folder| read(folder.join("cgroup.procs")).ok());
    let pids = listed.flat_map(|text| {
        text.lines()
            .filter_map(|line| line.parse().ok())
            .collect::<Vec<i32>>()
    });
    pids.filter_map(Pid::from_raw).collect()
}

/// Sends a signal to all inside.
pub(crate) fn kill_all(layout: &Layout, signal: i32) -> Result<(), Error> {
    if signal == Signal::KILL.as_raw()
        && let Some(hierarchy) = layout.v2()
        && write(hierarchy.container_path().join("cgroup.kill"), "1").is_ok()
    {
        return Ok(());
    }
    for pid in members(layout) {
        match crate::sys::kill(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno).doing(|| format!("signal process {}", pid.as_raw_nonzero())),
        }
    }
    Ok(())
}

/// Stops all inside, or lets them go on.
pub(crate) fn freeze(layout: &Layout, frozen: bool) -> Result<(), Error> {
    let doing = || {
        if frozen {
            "freeze the cgroup"
        } else {
            "thaw the cgroup"
        }
    };
    if let Some(hierarchy) = layout.v1("freezer") {
        let file = hierarchy.container_path().join("freezer.state");
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        // A process may fork while the kernel freezes: asked again, it takes the new one too.
        return wait_until(|| {
            write(file.clone(), wanted).doing(doing)?;
            Ok(read(file.clone()).doing(doing)?.trim() == wanted)
        });
    }
    let folder = layout.v2().map(|hierarchy| hierarchy.container_path().to_owned());
    let folder = folder.ok_or_else(|| Error::Other("there is no freezer controller".to_owned()))?;
    write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" }).doing(doing)?;
    let wanted = if frozen { "frozen 1" } else { "frozen 0" };
    wait_until(|| {
        Ok(read(folder.join("cgroup.events"))
            .doing(doing)?
            .lines()
            .any(|line| line == wanted))
    })
}

/// Whether the container is frozen.
pub(crate) fn is_frozen(layout: &Layout) -> bool {
    layout.hierarchies.iter().any(folder_is_frozen)
}

pub(super) fn folder_is_frozen(hierarchy: &Hierarchy) -> bool {
    let folder = hierarchy.container_path();
    if hierarchy.is_v2() {
        return read(folder.join("cgroup.freeze")).is_ok_and(|state| state.trim() == "1");
    }
    hierarchy.has("freezer") && read(folder.join("freezer.state")).is_ok_and(|state| state.trim() != "THAWED")
}

/// Takes the container's folders away, with all below. What is missing is already removed.
///
/// Goes on past a failure and answers with all of them.
pub(crate) fn remove(layout: &Layout) -> Result<(), Vec<Error>> {
    let mut errors = Vec::new();
    for hierarchy in &layout.hierarchies {
        let path = hierarchy.container_path();
        let removed = wait_until(|| match remove_tree(path) {
            Ok(()) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno).doing(|| format!("remove the cgroup {}", path.display())),
        });
        errors.extend(removed.err());
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn remove_tree(path: &Path) -> Result<(), Errno> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(errno),
    }
    let mut folders = Vec::new();
    tree(path, &mut folders);
    for folder in folders {
        match rustix::fs::rmdir(&folder) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Asks again at growing distances until the answer is yes or patience ends.
fn wait_until(mut done: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let mut pause = Duration::from_micros(200);
    let mut waited = Duration::ZERO;
    while !done()? {
        if waited > PATIENCE {
            return Err(Error::System {
                doing: "wait for the cgroup".to_owned(),
                errno: Errno::BUSY,
            });
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Ok(())
}
