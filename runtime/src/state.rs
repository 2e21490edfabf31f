//! What is remembered of a container, and what callers are told of it.

use std::{collections::BTreeMap, path::PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroups::Layout;

/// The version of the runtime specification that is carried out.
pub const SPEC_VERSION: &str = "1.2.0";

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the program waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// All processes are frozen.
    Paused,
    /// The program has ended.
    Stopped,
}

impl Status {
    /// The specification's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// `state.json`: what is known of a container before it has a process. Written whole to another name and renamed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Format of this file.
    pub(crate) format: u32,
    /// The id.
    pub(crate) id: String,
    /// Id of the first process, 0 before there is one; in a file of its own, written once it exists.
    #[serde(skip)]
    pub(crate) pid: i32,
    /// When that process started, in ticks since boot: tells it from another of the same number.
    #[serde(skip)]
    pub(crate) start_time: u64,
    /// Absolute.
    pub(crate) bundle: PathBuf,
    /// Absolute.
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    /// User id of the creator.
    pub(crate) owner: u32,
    /// The bundle's.
    pub(crate) annotations: BTreeMap<String, String>,
    /// The cgroups.
    pub(crate) layout: Layout,
}

/// The current format of `state.json`.
pub(crate) const FORMAT: u32 = 1;

/// What `state` prints and hooks read: the specification's fields, then what runc adds.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(rename = "ociVersion")]
    pub(crate) oci_version: &'static str,
    pub(crate) id: &'a str,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    pub(crate) bundle: &'a PathBuf,
    pub(crate) rootfs: &'a PathBuf,
    pub(crate) created: &'a str,
    pub(crate) owner: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

impl Record {
    /// The state in that status.
    pub(crate) fn show(&self, status: Status) -> Shown<'_> {
        let pid = if status == Status::Stopped { 0 } else { self.pid };
        Shown {
            oci_version: SPEC_VERSION,
            id: &self.id,
            status,
            pid: Some(pid),
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            owner: if self.owner == 0 {
                "root".to_owned()
            } else {
                self.owner.to_string()
            },
            annotations: &self.annotations,
        }
    }

    /// The first process, if it is still there and no zombie.
    pub(crate) fn alive(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid)?;
        let (letter, start_time) = process_stat(self.pid)?;
        (start_time == self.start_time && !matches!(letter, 'Z' | 'X' | 'x')).then_some(pid)
    }
}

/// A process's state letter and start time, from `/proc/PID/stat`.
pub(crate) fn process_stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(
        crate::files::read_text(format!("/proc/{pid}/stat"))
            .ok()?
            .as_bytes(),
    )
}

fn parse_stat(stat: &[u8]) -> Option<(char, u64)> {
    // The program's name is in parentheses and may hold anything, parentheses too.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let letter = fields.next()?.chars().next()?;
    Some((letter, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_forge_its_state_by_its_name() {
        let stat = b"7 (x) Z 1 (y)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 1";
        assert_eq!(parse_stat(stat), Some(('S', 4242)));
        assert_eq!(parse_stat(b"7 (x"), None);
    }

    #[test]
    fn this_process_is_alive() {
        let pid = std::process::id().cast_signed();
        let (letter, start) = process_stat(pid).unwrap();
        assert!(matches!(letter, 'R' | 'S'), "{letter}");
        assert!(start > 0);
    }

    proptest::proptest! {
        #[test]
        fn no_stat_line_does_harm(stat in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = parse_stat(&stat);
        }
    }
}
