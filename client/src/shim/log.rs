//! The container's log: docker's `json-file`, one entry a line, bounded by rotation.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A file that would grow over this is put aside first.
const FILE_BYTES_MAX: u64 = 10_000_000;
/// The newest and the ones put aside.
pub const FILES: usize = 3;
/// A longer line becomes several entries, of which only the last ends in a newline.
const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// Which stream bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was written, with its newline if it had one.
    pub log: String,
    /// Where.
    pub stream: Stream,
    /// When.
    pub time: Timestamp,
}

/// The path of the file that was put aside so many times; zero is the newest.
pub fn aside(path: &Path, times: usize) -> PathBuf {
    if times == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{times}"));
    PathBuf::from(name)
}

/// Writes a log. What was written before it was opened stays.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    size_bytes_max: u64,
    unfinished: [Vec<u8>; 2],
}

impl Log {
    /// Opens the log at this path.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = append_to(path)?;
        let size_bytes = file.metadata()?.len();
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            size_bytes,
            size_bytes_max: FILE_BYTES_MAX,
            unfinished: [Vec::new(), Vec::new()],
        })
    }

    /// Keeps the lines that end in these bytes; what is left over is kept back until its line ends.
    ///
    /// # Errors
    /// A full disk, for instance: the bytes are lost to the log then.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let [stdout, stderr] = &mut self.unfinished;
        let pending = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        let mut entries = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut piece = piece;
            while let Some((fits, rest)) = piece.split_at_checked(ENTRY_BYTES_MAX - pending.len()) {
                pending.extend_from_slice(fits);
                piece = rest;
                entries.push(std::mem::take(pending));
            }
            pending.extend_from_slice(piece);
            if pending.last() == Some(&b'\n') {
                entries.push(std::mem::take(pending));
            }
        }
        self.append(stream, &entries, now)
    }

    /// Keeps what never got its newline.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        let [stdout, stderr] = std::mem::take(&mut self.unfinished);
        for (stream, rest) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if !rest.is_empty() {
                self.append(stream, &[rest], now)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, stream: Stream, entries: &[Vec<u8>], time: Timestamp) -> io::Result<()> {
        let mut lines = Vec::new();
        for bytes in entries {
            let log = String::from_utf8_lossy(bytes).into_owned();
            serde_json::to_writer(&mut lines, &Entry { log, stream, time })?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.size_bytes > 0 && self.size_bytes.saturating_add(length) > self.size_bytes_max {
            self.put_aside()?;
        }
        self.file.write_all(&lines)?;
        self.size_bytes = self.size_bytes.saturating_add(length);
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for times in (1..FILES).rev() {
            match std::fs::rename(aside(&self.path, times - 1), aside(&self.path, times)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = append_to(&self.path)?;
        self.size_bytes = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_are_entries_and_streams_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(&path).unwrap();
        log.write(Stream::Stdout, b"one\ntw", Timestamp::UNIX_EPOCH)
            .unwrap();
        log.write(Stream::Stderr, b"bad\n", Timestamp::UNIX_EPOCH)
            .unwrap();
        log.write(Stream::Stdout, b"o\nrest\xff", Timestamp::UNIX_EPOCH)
            .unwrap();
        log.finish(Timestamp::UNIX_EPOCH).unwrap();
        let texts: Vec<_> = lines(&path)
            .into_iter()
            .map(|entry| (entry.log, entry.stream))
            .collect();
        let expected = [
            ("one\n", Stream::Stdout),
            ("bad\n", Stream::Stderr),
            ("two\n", Stream::Stdout),
            ("rest\u{fffd}", Stream::Stdout),
        ];
        assert_eq!(texts, expected.map(|(text, stream)| (text.to_owned(), stream)));
    }

    #[test]
    fn an_endless_line_becomes_entries_and_an_endless_log_three_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(&path).unwrap();
        log.size_bytes_max = 100_000;
        for _ in 0..40 {
            log.write(
                Stream::Stdout,
                &vec![b'x'; ENTRY_BYTES_MAX - 7],
                Timestamp::UNIX_EPOCH,
            )
            .unwrap();
        }
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), FILES);
        for times in 0..FILES {
            let path = aside(&path, times);
            assert!(std::fs::metadata(&path).unwrap().len() <= 100_000);
            assert!(
                lines(&path)
                    .iter()
                    .all(|entry| entry.log.len() == ENTRY_BYTES_MAX)
            );
        }
    }
}
