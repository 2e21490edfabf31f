//! Users of an htpasswd file, which is read again when it has changed.
//!
//! A line is `NAME:HASH`; blank lines and those that begin with `#` are passed over. A hash is bcrypt's (`$2y$`, `$2a$`
//! or `$2b$`, as `htpasswd -B` writes it); whatever else stands there makes the whole file one that is not taken.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::basic;

/// How often the file is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The largest file: some 100,000 users.
const LARGEST_BYTES: u64 = 8 << 20;
/// The largest cost of a hash. One more doubles the time that a login takes.
const LARGEST_COST: u32 = 16;

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HtpasswdError {
    /// It can't be read.
    #[error("htpasswd: reading {}: {problem}: give a file that this user may read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// A line is wrong.
    #[error("htpasswd: {} line {line}: {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// A user of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The bcrypt hash.
    pub(super) hash: String,
    /// Its cost.
    pub(super) cost: u32,
    /// Follows from name and hash, and is far from every version of a row.
    pub(super) version: i64,
}

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_name: HashMap<String, Entry>,
    /// The largest cost of all: what a failed login must take, whoever's it is.
    pub(super) costliest: u32,
    /// Another number for each content that was taken.
    pub(super) generation: u64,
}

impl Entries {
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name)
    }
}

/// The file, and what was read of it last.
#[derive(Debug)]
pub struct Htpasswd {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    looked: Instant,
    /// As read last, whether it was taken or not.
    read: Result<Vec<u8>, HtpasswdError>,
    taken: Arc<Entries>,
}

impl Htpasswd {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It can't be read, or a line of it is wrong.
    pub fn open(path: &Path) -> Result<Self, HtpasswdError> {
        let bytes = read(path)?;
        let mut entries = parse(path, &bytes)?;
        entries.generation = 1;
        let last = Last {
            looked: Instant::now(),
            read: Ok(bytes),
            taken: Arc::new(entries),
        };
        Ok(Self {
            path: path.to_owned(),
            last: Mutex::new(last),
        })
    }

    /// Returns whether the file has a user of this name, as it was read last.
    pub fn holds(&self, name: &str) -> bool {
        self.lock().taken.get(name).is_some()
    }

    /// Returns the users as of a second ago at most. A file that became wrong is warned of once, and what it held
    /// before stays.
    pub(super) async fn entries(&self) -> Arc<Entries> {
        if self.is_due() {
            let path = self.path.clone();
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            // Only a runtime that ends stops a blocking task.
            if let Ok(read) = read {
                self.take(read);
            }
        }
        Arc::clone(&self.lock().taken)
    }

    fn is_due(&self) -> bool {
        let mut last = self.lock();
        let due = last.looked.elapsed() >= LOOK_AGAIN;
        if due {
            last.looked = Instant::now();
        }
        due
    }

    fn take(&self, read: Result<Vec<u8>, HtpasswdError>) {
        let mut last = self.lock();
        if last.read == read {
            return;
        }
        let parsed = match &read {
            Ok(bytes) => parse(&self.path, bytes),
            Err(error) => Err(error.clone()),
        };
        last.read = read;
        match parsed {
            Ok(mut entries) => {
                entries.generation = last.taken.generation.wrapping_add(1);
                tracing::info!(path = %self.path.display(), users = entries.by_name.len(), "the htpasswd file was read again");
                last.taken = Arc::new(entries);
            }
            Err(error) => tracing::warn!("{error}: what it held before still holds"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HtpasswdError> {
    let unreadable = |problem: String| HtpasswdError::Unreadable {
        path: path.to_owned(),
        problem,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    file.take(LARGEST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST_BYTES {
        return Err(unreadable(format!("it has more than {LARGEST_BYTES} bytes")));
    }
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Entries, HtpasswdError> {
    let mut entries = Entries::default();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let wrong = |problem: String| HtpasswdError::Line {
            path: path.to_owned(),
            line: number,
            problem,
        };
        let line = std::str::from_utf8(line).map_err(|_not| wrong("it is not UTF-8".to_owned()))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, entry) = entry(line).map_err(wrong)?;
        entries.costliest = entries.costliest.max(entry.cost);
        if entries.by_name.insert(name.to_owned(), entry).is_some() {
            return Err(wrong(format!("{name} stands there a second time: leave one")));
        }
    }
    Ok(entries)
}

/// Reads `NAME:HASH`. What is wrong is said without the hash.
fn entry(line: &str) -> Result<(&str, Entry), String> {
    let (name, hash) = line
        .split_once(':')
        .ok_or("a line is NAME:HASH, as htpasswd -B writes it")?;
    basic::check_name(name).map_err(|error| error.to_string())?;
    let known = ["$2y$", "$2a$", "$2b$"]
        .into_iter()
        .any(|prefix| hash.starts_with(prefix));
    if !known {
        return Err(format!(
            "the hash of {name} is of another kind than bcrypt: make it anew with htpasswd -B"
        ));
    }
    let parts = bcrypt::HashParts::from_str(hash)
        .map_err(|error| format!("the hash of {name} is no bcrypt hash: {error}"))?;
    let cost = parts.get_cost();
    if !(4..=LARGEST_COST).contains(&cost) {
        return Err(format!(
            "the hash of {name} has the cost {cost}: 4 to {LARGEST_COST} are taken, 10 to 12 are usual"
        ));
    }
    let entry = Entry {
        hash: hash.to_owned(),
        cost,
        version: version(line),
    };
    Ok((name, entry))
}

/// Rows are numbered from 1; this begins at 2^62.
fn version(line: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(line).into();
    let number = digest
        .iter()
        .take(8)
        .fold(0_i64, |number, byte| (number << 8) | i64::from(*byte));
    (number & (i64::MAX >> 1)) | (1 << 62)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(cost: u32, version: bcrypt::Version) -> String {
        bcrypt::hash_with_salt("x", cost, [7; 16])
            .unwrap()
            .format_for_version(version)
    }

    #[test]
    fn bcrypt_lines_are_read_and_comments_passed_over() {
        let (bob, ann) = (hash(4, bcrypt::Version::TwoY), hash(5, bcrypt::Version::TwoB));
        let text = format!("# ours\n\nbob:{bob}\r\nann:{ann}\n");
        let entries = parse(Path::new("file"), text.as_bytes()).unwrap();
        assert_eq!((entries.by_name.len(), entries.costliest), (2, 5));
        let (one, two) = (entries.get("bob").unwrap(), entries.get("ann").unwrap());
        assert_eq!((&one.hash, one.cost), (&bob, 4));
        assert!(one.version != two.version && one.version >= 1 << 62);
    }

    #[test]
    fn what_is_not_taken_is_named_by_its_line() {
        let good = hash(4, bcrypt::Version::TwoY);
        for (line, why) in [
            ("bob", "NAME:HASH"),
            ("Bob:x", "a-z"),
            ("anonymous:x", "a meaning of its own"),
            ("bob:$apr1$abc$def", "another kind"),
            ("bob:{SHA}abc", "another kind"),
            ("bob:plain", "another kind"),
            (&format!("bob:{}", good.replace("$2y", "$2x")), "another kind"),
            ("bob:$2y$05$short", "no bcrypt hash"),
            (&format!("bob:{}", good.replace("$04", "$31")), "the cost 31"),
            (&format!("ann:{good}"), "a second time"),
        ] {
            let text = format!("ann:{good}\n{line}\n");
            let refusal = parse(Path::new("file"), text.as_bytes()).unwrap_err().to_string();
            assert!(
                refusal.contains("file line 2: ") && refusal.contains(why),
                "{line}: {refusal}"
            );
            assert!(
                !refusal.contains(good.trim_start_matches("$2y$04$")),
                "a hash is shown: {refusal}"
            );
        }
        assert!(parse(Path::new("file"), b"\xff:x").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_users_or_a_line_that_is_wrong(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            match parse(Path::new("file"), &bytes) {
                Ok(entries) => prop_assert!(entries.by_name.len() <= lines),
                Err(HtpasswdError::Line { line, .. }) => prop_assert!((1..=lines).contains(&line)),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
