//! Writing past the kernel's cache.
//!
//! A large upload fills memory with pages that somebody has to make room for, to write back, and to wait for: every
//! other commit on the file system waits with it. Written directly, its bytes go to the disk at once and the sync at
//! the end finds nothing to do. Whole blocks can be written so, from memory that is aligned; the odd bytes at an
//! upload's ends go through the cache.
//!
//! What was just pushed is what is pulled next. So a new object is read back into the cache, after the client has its
//! answer and only while no other is.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

/// To what file offsets, lengths and memory are aligned: no disk in use asks for more.
const BLOCK_BYTES: usize = 4096;

/// Below this the cache is the cheaper way.
const LEAST_BYTES: usize = 64 * 1024;

/// Returns how many of `bytes` bytes, the first of which belongs at `at`, can be written directly.
pub(super) fn writable_directly(at: u64, bytes: usize) -> usize {
    let whole = bytes - bytes % BLOCK_BYTES;
    let into_block = at % u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
    if into_block == 0 && whole >= LEAST_BYTES {
        whole
    } else {
        0
    }
}

/// Writes whole blocks to the file at `at`, past the cache.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] where the file system cannot: write all of them again, through the cache.
pub(super) fn write_all_at(file: &File, mut blocks: &[u8], mut at: u64) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    fcntl_setfl(file, flags | OFlags::DIRECT)?;
    let mut outcome = Ok(());
    while !blocks.is_empty() {
        match file.write_at(blocks, at) {
            Ok(0) => outcome = Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                blocks = blocks.get(written..).unwrap_or_default();
                at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => outcome = Err(error),
        }
        break;
    }
    // Whoever reads the file back, or writes its last bytes, does it through the cache.
    fcntl_setfl(file, flags)?;
    outcome
}

/// Memory to collect blocks in, used again and again: a fresh page costs as much as writing it.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Lends a buffer for `bytes` bytes.
    pub(super) fn lend(self: &Arc<Self>, bytes: usize) -> Buffer {
        let mut memory = self.free().pop().unwrap_or_default();
        memory.resize(memory.len().max(bytes + BLOCK_BYTES), 0);
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Buffer {
            memory,
            start,
            end: start,
            home: Arc::clone(self),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many buffers are kept for the next upload.
const KEPT: usize = 8;

/// Aligned memory on loan.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
    home: Arc<Buffers>,
}

impl Buffer {
    /// Adds a piece.
    ///
    /// # Errors
    /// There is no room left for it, by the caller's mistake.
    pub(super) fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        let end = self.end.saturating_add(piece.len());
        let room = self.memory.get_mut(self.end..end);
        room.ok_or(io::ErrorKind::OutOfMemory)?.copy_from_slice(piece);
        self.end = end;
        Ok(())
    }

    /// Returns what was added.
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.free();
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.memory));
        }
    }
}

/// How much of an object is read back: of a larger one, what a first pull begins with.
const READ_BACK_BYTES: u64 = 1 << 30;

/// Reads new objects back into the cache, one at a time.
#[derive(Debug, Default)]
pub(super) struct ReadBack(Mutex<()>);

impl ReadBack {
    /// Has the kernel read the file's first `bytes` in the background; does nothing while another file is.
    pub(super) fn begin(&self, file: &File, bytes: u64) {
        let _only = match self.0.try_lock() {
            Ok(only) => only,
            Err(TryLockError::Poisoned(only)) => only.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(bytes) = NonZeroU64::new(bytes.min(READ_BACK_BYTES)) {
            // Advice: where it cannot be taken, the first pull reads from the disk.
            let _ = fadvise(file, 0, Some(bytes), Advice::WillNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_at_a_blocks_begin_are_written_directly_if_they_are_many() {
        for (at, bytes, directly) in [
            (0, 1 << 20, 1 << 20),
            (4096, 65_536 + 4095, 65_536),
            (4096, 65_535, 0),
            (1, 1 << 20, 0),
            (u64::from(u32::MAX) + 1, 1 << 20, 1 << 20),
        ] {
            assert_eq!(writable_directly(at, bytes), directly, "{bytes} bytes at {at}");
        }
    }

    #[test]
    fn a_buffer_is_aligned_and_used_again() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.lend(10);
        buffer.push(b"01234").unwrap();
        buffer.push(b"56789").unwrap();
        assert_eq!(buffer.bytes(), b"0123456789");
        assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
        drop(buffer);
        let mut larger = buffers.lend(100_000);
        assert_eq!(buffers.free().len(), 0);
        larger.push(&[7; 100_000]).unwrap();
        assert_eq!(larger.bytes(), [7; 100_000]);
        assert_eq!(larger.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
    }
}
