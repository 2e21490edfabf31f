//! Small files read in one go: of the kernel and of a bundle.

use std::path::Path;

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

/// Nearly every file of the kernel that is read here is shorter.
const FIRST: usize = 8192;

/// Reads a file of at most `limit` bytes; a longer one is `EFBIG`.
pub(crate) fn read(path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>, Errno> {
    let file = openat(
        CWD,
        path.as_ref(),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut bytes = Vec::with_capacity(FIRST.min(limit.saturating_add(1)));
    loop {
        if bytes.capacity() == bytes.len() {
            bytes.reserve(bytes.len());
        }
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if bytes.len() > limit {
            return Err(Errno::FBIG);
        }
    }
}

/// Reads a text file of the kernel, or one of the runtime's own.
pub(crate) fn read_text(path: impl AsRef<Path>) -> Result<String, Errno> {
    const LIMIT: usize = 64 << 20;
    String::from_utf8(read(path, LIMIT)?).map_err(|_not_text| Errno::ILSEQ)
}
