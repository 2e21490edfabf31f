//! Reading a container's log, also while it grows.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek},
    os::unix::fs::MetadataExt,
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::inotify;

use super::{Containers, Entry, Id};
use crate::{
    error::{Error, Kind, Result},
    shim::log::{self, FILES},
};

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The last so many.
    pub tail: Option<usize>,
    /// Not older.
    pub since: Option<Timestamp>,
    /// Not younger.
    pub until: Option<Timestamp>,
    /// Those that are still to come, too, until the container ends.
    pub follow: bool,
}

impl Wanted {
    fn takes(&self, entry: &log::Entry) -> bool {
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
    }
}

/// Reads `2013-01-02T13:23:37Z`, seconds since 1970, or how long ago (`42m`).
///
/// # Errors
/// A text that is none of these.
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp> {
    let invalid = || {
        Error::engine(
            Kind::BadArguments,
            format!("invalid value for \"since\": failed to parse value as time or duration: \"{text}\""),
        )
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some(ago) = go_duration(text) {
        return now.checked_sub(ago).map_err(|_out_of_range| invalid());
    }
    if let Some(time) = zoneless(text) {
        return Ok(time);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = seconds
        .parse()
        .map_err(|_bad: std::num::ParseIntError| invalid())?;
    let nanoseconds = format!("{fraction:0<9}")
        .get(..9)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(invalid)?;
    Timestamp::new(seconds, nanoseconds).map_err(|_out_of_range| invalid())
}

/// A date, or a date and a time, without a zone: this machine's.
fn zoneless(text: &str) -> Option<Timestamp> {
    let civil = text
        .parse::<jiff::civil::DateTime>()
        .ok()
        .filter(|_| text.contains('-'))?;
    jiff::tz::TimeZone::system().to_timestamp(civil).ok()
}

/// Go's way to write a length of time: `1h30m`, `1.5h`, `10s`.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut left = text;
    let mut total = SignedDuration::ZERO;
    while !left.is_empty() {
        let digits = left.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = left.split_at_checked(digits)?;
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at_checked(end)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let length = SignedDuration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(length)?;
        left = rest;
    }
    (!text.is_empty()).then_some(total)
}

/// Hands the wanted entries to `each`, the oldest first. Following ends with the container.
///
/// # Errors
/// A log that cannot be read, and what `each` says.
pub fn read(
    containers: &Containers<'_>,
    id: &Id,
    wanted: &Wanted,
    each: &mut dyn FnMut(&log::Entry) -> Result<()>,
) -> Result<()> {
    let path = containers.log_file(id);
    let unreadable = |error: io::Error| Error::io(format!("read {}", path.display()), error);
    // Watched before it is read, so that nothing falls between.
    let watch = wanted
        .follow
        .then(|| watch(&containers.folder(id)))
        .transpose()
        .map_err(unreadable)?;
    let mut newest = Follower::open(&path).map_err(unreadable)?;
    let mut entries = Vec::new();
    for times in (1..FILES).rev() {
        if let Some(mut old) = Follower::open(&log::aside(&path, times)).map_err(unreadable)? {
            old.read(&mut |entry| entries.push(entry)).map_err(unreadable)?;
        }
    }
    if let Some(newest) = &mut newest {
        newest
            .read(&mut |entry| entries.push(entry))
            .map_err(unreadable)?;
    }
    entries.retain(|entry| wanted.takes(entry));
    let first = entries.len().saturating_sub(wanted.tail.unwrap_or(usize::MAX));
    entries.iter().skip(first).try_for_each(&mut *each)?;
    let Some(watch) = watch else {
        return Ok(());
    };
    loop {
        // Whether it runs is asked before the log is read: what it wrote last is there then.
        let runs = matches!(containers.read(id), Some(Entry::Whole(state)) if state.is_running())
            && containers.is_locked(id);
        let mut fresh = Vec::new();
        follow(&mut newest, &path, &mut |entry| fresh.push(entry)).map_err(unreadable)?;
        fresh
            .iter()
            .filter(|entry| wanted.takes(entry))
            .try_for_each(&mut *each)?;
        if !runs {
            return Ok(());
        }
        wait(&watch).map_err(unreadable)?;
    }
}

/// Reads what is new, and goes on to the next file when this one was put aside.
fn follow(newest: &mut Option<Follower>, path: &Path, each: &mut dyn FnMut(log::Entry)) -> io::Result<()> {
    if let Some(file) = newest {
        file.read(each)?;
        if file.is_at(path) {
            return Ok(());
        }
        // It does not grow any more; this is what came between the two looks.
        file.read(each)?;
    }
    *newest = Follower::open(path)?;
    newest.as_mut().map_or(Ok(()), |file| file.read(each))
}

fn watch(folder: &Path) -> io::Result<rustix::fd::OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let events = inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MOVE_SELF
        | inotify::WatchFlags::DELETE_SELF;
    inotify::add_watch(&watch, folder, events)?;
    Ok(watch)
}

/// Waits until something happens in the watched folder.
fn wait(watch: &rustix::fd::OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match rustix::io::read(watch, &mut buffer) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One file of a log, and how far it is read.
struct Follower {
    file: BufReader<File>,
    inode: u64,
}

impl Follower {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Self {
                    file: BufReader::new(file),
                    inode,
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the path still leads to this file.
    fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// Reads the entries that are there whole; a damaged one is left out.
    fn read(&mut self, each: &mut dyn FnMut(log::Entry)) -> io::Result<()> {
        loop {
            let before = self.file.stream_position()?;
            let mut line = Vec::new();
            self.file.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                self.file.seek(io::SeekFrom::Start(before))?;
                return Ok(());
            }
            if let Ok(entry) = serde_json::from_slice(&line) {
                each(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2013-01-02T13:23:37Z", "2013-01-02T13:23:37Z"),
            ("42m", "2025-12-31T23:18:00Z"),
            ("1h30m", "2025-12-31T22:30:00Z"),
            ("1.5h", "2025-12-31T22:30:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("1.5", "1970-01-01T00:00:01.5Z"),
        ] {
            assert_eq!(time(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        assert!(time("yesterday", now).is_err() && time("", now).is_err());
    }
}
