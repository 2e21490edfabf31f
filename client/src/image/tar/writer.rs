//! Entries into a stream: ustar, with a PAX header where ustar has no room.

use std::io::{self, Read, Write};

use super::reader::padding;
use super::{BLOCK, Entry, Kind};

/// Writes a tar stream. The bytes depend on the entries alone, so the same entries give the same digest.
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Writes to `inner`, which should be buffered.
    pub fn new(inner: W) -> Self {
        Writer { inner }
    }

    /// Writes an entry and, of a file, [`Entry::size`] bytes of `data`. A sparse file is written with its
    /// holes filled: `data` gives all its bytes.
    ///
    /// # Errors
    /// When the stream fails, or `data` ends before the size that the entry has.
    pub fn append(&mut self, entry: &Entry, mut data: impl Read) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let mut extended = Entry::new(b"PaxHeaders/entry".as_slice(), Kind::File);
            extended.size = records.len() as u64;
            self.inner.write_all(&header(&extended, b'x'))?;
            self.inner.write_all(&records)?;
            self.pad(extended.size)?;
        }
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        self.inner.write_all(&header(entry, type_flag(entry.kind)))?;
        let copied = io::copy(&mut (&mut data).take(size), &mut self.inner)?;
        if copied != size {
            let problem = format!("file ended after {copied} of {size} bytes while it was archived");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        self.pad(size)
    }

    /// Writes the two blocks that end a stream and gives the writer back.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(padding(size)), &mut self.inner).map(|_| ())
    }
}

fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// The largest number that `digits` octal digits hold.
fn octal_max(digits: u32) -> u64 {
    (1 << (3 * digits)) - 1
}

fn header(entry: &Entry, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    put(&mut block, 0, entry.path.get(..100).unwrap_or(&entry.path));
    octal(&mut block, 100, 7, entry.mode.into());
    octal(&mut block, 108, 7, entry.uid.into());
    octal(&mut block, 116, 7, entry.gid.into());
    octal(&mut block, 124, 11, size);
    octal(&mut block, 136, 11, u64::try_from(entry.mtime.0).unwrap_or(0));
    put(&mut block, 148, b"        ");
    put(&mut block, 156, &[flag]);
    put(&mut block, 157, entry.link.get(..100).unwrap_or(&entry.link));
    put(&mut block, 257, b"ustar\x0000");
    octal(&mut block, 329, 7, entry.device.0.into());
    octal(&mut block, 337, 7, entry.device.1.into());
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block, 148, 6, sum);
    put(&mut block, 154, b"\0 ");
    block
}

fn put(block: &mut [u8; BLOCK], offset: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
}

/// A number that does not fit stands in the PAX records, and 0 here.
fn octal(block: &mut [u8; BLOCK], offset: usize, digits: u32, value: u64) {
    let value = if value > octal_max(digits) { 0 } else { value };
    put(
        block,
        offset,
        format!("{value:0width$o}\0", width = digits as usize).as_bytes(),
    );
}

/// The PAX records of all that the header has no room for.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > 100 {
        record(&mut records, b"path", &entry.path);
    }
    if entry.link.len() > 100 {
        record(&mut records, b"linkpath", &entry.link);
    }
    let numbers: [(&[u8], u64, u32); 3] = [
        (b"size", entry.size, 11),
        (b"uid", entry.uid.into(), 7),
        (b"gid", entry.gid.into(), 7),
    ];
    for (key, value, digits) in numbers {
        if value > octal_max(digits) {
            record(&mut records, key, value.to_string().as_bytes());
        }
    }
    let (seconds, nanos) = entry.mtime;
    if nanos != 0 || seconds < 0 || seconds.unsigned_abs() > octal_max(11) {
        record(&mut records, b"mtime", time(seconds, nanos).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

fn time(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (_, 0) => seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanos:09}"),
        (_, _) => format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
    }
}

/// A record's length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}
