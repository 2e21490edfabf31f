//! Tar streams: ustar, PAX and GNU, read from and written to layers.
//!
//! The reader is for hostile bytes. It gives one reading of a stream or none: a number that two readers could
//! take differently (a ustar size beside another PAX size, CVE-2025-62518) is refused, and so are names,
//! records and counts beyond the limits. It never touches a file system; [`super::unpack`] does.
//!
//! Sources: POSIX.1-2001 `pax`, GNU tar's manual ("Basic Tar Format", "Storing Sparse Files").

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use std::io;

/// Bytes of a header, and what data is padded to.
pub const BLOCK: usize = 512;
/// The longest path or link target, in bytes.
pub const MAX_PATH: usize = 4096;
/// The most bytes of one extended header.
pub const MAX_EXTENDED: u64 = 1 << 20;
/// The most parts of one sparse file.
pub const MAX_SPARSE_PARTS: usize = 1 << 16;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with data.
    File,
    /// Another name of a file that stands earlier in the stream: [`Entry::link`].
    HardLink,
    /// A symbolic link to [`Entry::link`].
    Symlink,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// The parts of a sparse file that have data: offset and length of each.
pub type Parts = Vec<(u64, u64)>;

/// One entry's header. Paths are bytes, as Linux has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the stream has it: not yet checked for `..` or a leading slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The target of a hard or symbolic link, else empty.
    pub link: Vec<u8>,
    /// Permission bits with set-id and sticky, no file type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since the epoch, and nanoseconds below a second.
    pub mtime: (i64, u32),
    /// Bytes of the file, holes included; 0 for all that has no data.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, in the order of the stream.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a sparse file, the parts that have data, in order, within [`Entry::size`].
    pub sparse: Option<Parts>,
}

impl Entry {
    /// An entry of `kind` called `path`, owned by root, of the epoch, empty.
    #[must_use]
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Self {
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        Entry {
            path: path.into(),
            kind,
            link: Vec::new(),
            mode,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    /// How many bytes of data follow in the stream: the size, or the sum of a sparse file's parts.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.sparse
            .as_ref()
            .map_or(self.size, |parts| parts.iter().map(|(_, length)| length).sum())
    }
}

/// Why a stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream itself failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It ends within a header or within a file's data.
    #[error("tar stream ends in the middle of an entry")]
    Truncated,
    /// A header's checksum is wrong: not a tar stream, or a damaged one.
    #[error("tar header has a wrong checksum")]
    Checksum,
    /// A field of a header or of an extended header can't be read.
    #[error("tar header's {field} {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two fields say different things of one entry.
    #[error("tar header and its extended header disagree on the {field}")]
    Conflict {
        /// The field.
        field: &'static str,
    },
    /// A limit of this module.
    #[error("tar entry's {field} is beyond the limit of {limit}")]
    Limit {
        /// What is too large.
        field: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An entry that no layer has: a volume's label, a continued file, an unknown type.
    #[error("tar entry of type {0:?} is not supported")]
    Unsupported(char),
}

#[cfg(test)]
mod tests;
