//! The container's cgroup, on v1, v2 and both at once.
//!
//! [`Layout`] says which hierarchies the machine has and where in each the container stands; the rest makes
//! those folders, limits them, lists and ends who is inside, and takes them away.

mod devices;
mod ebpf;
mod layout;
mod members;
mod settings;
mod v1;
mod v2;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, open, openat},
    io::Errno,
};

pub(crate) use layout::{Hierarchy, Layout};
pub(crate) use members::{freeze, is_frozen, kill_all, members, remove};
pub(crate) use settings::apply;

use crate::error::{Doing, Error};

/// Refuses a place that somebody else is in, who would be limited and ended with the container, or where the
/// container's process would freeze on its way in.
pub(crate) fn check_free(layout: &Layout) -> Result<(), Error> {
    let holds = |hierarchy: &Hierarchy| {
        let processes = read(hierarchy.container_path().join("cgroup.procs"));
        processes.is_ok_and(|processes| !processes.is_empty())
    };
    let find =
        |taken: &dyn Fn(&Hierarchy) -> bool| layout.hierarchies.iter().find(|hierarchy| taken(hierarchy));
    let (hierarchy, how) = match (find(&members::folder_is_frozen), find(&holds)) {
        (Some(hierarchy), _) => (hierarchy, "frozen"),
        (None, Some(hierarchy)) => (hierarchy, "holds processes"),
        (None, None) => return Ok(()),
    };
    let path = hierarchy.container_path().display();
    Err(Error::State(format!(
        "linux.cgroupsPath: the cgroup {path} is there already and {how}"
    )))
}

/// Makes the container's folder in every hierarchy.
pub(crate) fn create(layout: &Layout) -> Result<(), Error> {
    for hierarchy in &layout.hierarchies {
        let path = hierarchy.container_path();
        make_dirs(hierarchy, path)
            .doing(|| format!("linux.cgroupsPath: make the cgroup {}", path.display()))?;
    }
    Ok(())
}

/// Makes the folder and what is missing above it.
fn make_dirs(hierarchy: &Hierarchy, path: &Path) -> Result<(), Errno> {
    let prepare = |level: &Path| match (hierarchy.is_v2(), hierarchy.has("cpuset")) {
        (false, true) => v1::inherit_cpuset(level),
        _ => Ok(()),
    };
    if hierarchy.is_v2() {
        return v2::make_dirs(hierarchy, path);
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => prepare(path),
        Err(Errno::NOENT) if path.starts_with(hierarchy.mount_point()) && path != hierarchy.mount_point() => {
            make_dirs(hierarchy, path.parent().ok_or(Errno::NOENT)?)?;
            rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).or_else(|errno| match errno {
                Errno::EXIST => Ok(()),
                other => Err(other),
            })?;
            prepare(path)
        }
        Err(errno) => Err(errno),
    }
}

/// What a process needs to start inside: the v2 folder to be cloned into, and the v1 files it writes itself to.
#[derive(Default)]
pub(crate) struct Entrance {
    /// For `CLONE_INTO_CGROUP`.
    pub(crate) v2: Option<OwnedFd>,
    /// `tasks` of each v1 hierarchy.
    pub(crate) tasks: Vec<OwnedFd>,
}

impl Entrance {
    /// Opens the folders and files.
    pub(crate) fn open(layout: &Layout) -> Result<Self, Error> {
        let mut entrance = Self::default();
        for hierarchy in &layout.hierarchies {
            let path = hierarchy.container_path();
            let doing = || format!("linux.cgroupsPath: open the cgroup {}", path.display());
            if hierarchy.is_v2() {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                entrance.v2 = Some(open(path, flags, Mode::empty()).doing(doing)?);
            } else {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                entrance
                    .tasks
                    .push(openat(CWD, path.join("tasks"), flags, Mode::empty()).doing(doing)?);
            }
        }
        Ok(entrance)
    }

    /// Moves this process, which has one thread, into the v1 hierarchies.
    pub(crate) fn join_v1(&self) -> Result<(), Errno> {
        // `0` is the writer itself, which the kernel moves without waiting for anyone.
        self.tasks
            .iter()
            .try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop))
    }
}

fn read(path: PathBuf) -> Result<String, Errno> {
    crate::files::read_text(path)
}

fn write(path: PathBuf, value: &str) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}
