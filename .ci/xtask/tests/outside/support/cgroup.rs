//! A cgroup of a test's own, below which others put containers.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The name of a cgroup, in every hierarchy, removed when it is dropped.
pub(crate) struct Cgroup(String);

impl Cgroup {
    /// Names a cgroup that no other test has. Whoever puts something into it makes it.
    pub(crate) fn named(purpose: &str) -> Self {
        Self(format!("wharf-{purpose}-{}", std::process::id()))
    }

    /// Its path in each hierarchy.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.0)
    }

    /// Every folder below it or of it that is there, the deepest first.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(&root).unwrap().flatten().map(|entry| entry.path());
        let mut found = Vec::new();
        for hierarchy in hierarchies.chain([root]) {
            below(hierarchy.join(&self.0), &mut found);
        }
        found
    }
}

fn below(folder: PathBuf, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(entry.path(), found);
        }
    }
    if folder.is_dir() {
        found.push(folder);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel keeps one for a moment after its last process.
        let last = Instant::now() + Duration::from_secs(20);
        while !self.folders().is_empty() && Instant::now() < last {
            for folder in self.folders() {
                // Tried again until it goes.
                let _busy = fs::remove_dir(folder);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if !std::thread::panicking() {
            assert_eq!(self.folders(), Vec::<PathBuf>::new());
        }
    }
}
