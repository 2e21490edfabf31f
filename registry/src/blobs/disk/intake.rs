//! From a stream into a file, hashed on the way.
//!
//! While one batch of pieces is hashed and written on a thread that may wait for the disk, the next is collected. How
//! many batches there are at once, over all uploads, is bounded; an upload whose client sends nothing holds none.
//!
//! A full batch is one write that ends at a multiple of its size in the file: past the kernel's cache where the file
//! system can (see [`direct`]). Where it cannot, the cache then keeps the file in large folios, which cost less to
//! fill, and less to send when the blob is read.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use wharf_protocol::digest::Hasher;

use super::super::{BlobError, BodyError, ByteStream};
use super::direct::{self, Buffers};
use super::folders::Folders;

/// How much is collected while the batch before is written.
const BATCH_BYTES: u64 = 1024 * 1024;

/// How many pieces one call writes at most (Linux's `UIO_MAXIOV`).
const PIECES_A_WRITE: usize = 1024;

/// How many batches are in memory at once, for all uploads together.
const BATCHES: usize = 64;

/// After how many bytes the disk is set to work, so that it does not begin only when the last byte has come.
const EARLY_SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// Takes streams in, within the bounds of memory.
#[derive(Debug)]
pub(super) struct Intake {
    folders: Arc<Folders>,
    batches: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

/// What was taken from a stream.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) bytes: u64,
    pub(super) hasher: Hasher,
    /// Why the stream ended early, if it did.
    pub(super) cut: Option<BodyError>,
}

/// Pieces in hand, with the right to hold them.
#[derive(Debug)]
struct Batch {
    pieces: Vec<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Batch {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// A file with its hash, as far as they have come; lent to the thread that writes.
#[derive(Debug)]
struct Target {
    file: Arc<File>,
    at: u64,
    hasher: Hasher,
    buffers: Arc<Buffers>,
    /// Whether the file system takes direct writes, as far as is known.
    direct: bool,
    /// How many bytes went through the cache.
    cached: u64,
}

impl Target {
    fn write(&mut self, batch: &Batch) -> Result<(), BlobError> {
        let bytes = batch.bytes();
        let directly = match self.direct {
            true => direct::writable_directly(self.at, bytes),
            false => 0,
        };
        let written = if directly == 0 {
            for piece in &batch.pieces {
                self.hasher.update(piece);
            }
            self.write_cached(&batch.pieces)
        } else {
            self.write_directly(batch, bytes, directly)
        };
        written.map_err(|error| BlobError::io("writing", "an upload", error))
    }

    /// Writes the batch's first `directly` bytes past the cache and the rest through it.
    fn write_directly(&mut self, batch: &Batch, bytes: usize, directly: usize) -> io::Result<()> {
        let mut buffer = self.buffers.lend(bytes);
        for piece in &batch.pieces {
            self.hasher.update(piece);
            buffer.push(piece)?;
        }
        let (blocks, rest) = buffer.bytes().split_at_checked(directly).unwrap_or_default();
        match direct::write_all_at(&self.file, blocks, self.at) {
            Ok(()) => {
                self.at = self.at.saturating_add(length(blocks));
                self.write_cached(&[rest])
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.direct = false;
                self.write_cached(&batch.pieces)
            }
            Err(error) => Err(error),
        }
    }

    fn write_cached(&mut self, pieces: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let start = self.at;
        self.at = write_all_at(&self.file, pieces, start)?;
        self.cached = self.cached.saturating_add(self.at - start);
        Ok(())
    }
}

/// Writes the pieces one after the other from `at` on, in as few calls as can be; returns where they end.
fn write_all_at(file: &File, pieces: &[impl AsRef<[u8]>], mut at: u64) -> io::Result<u64> {
    let filled = pieces.iter().map(AsRef::as_ref).filter(|piece| !piece.is_empty());
    let mut slices: Vec<IoSlice<'_>> = filled.map(IoSlice::new).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let now = left.get(..PIECES_A_WRITE).unwrap_or(left);
        match rustix::io::pwritev(file, now, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut left, written);
                at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at)
}

fn length(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

impl Intake {
    pub(super) fn new(folders: Arc<Folders>) -> Self {
        Self {
            folders,
            batches: Arc::new(Semaphore::new(BATCHES)),
            buffers: Arc::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn free_batches(&self) -> usize {
        self.batches.available_permits()
    }

    /// Writes the stream's bytes, at most `at_most`, to the file from `start` on. The last of them are not synced.
    pub(super) async fn take(
        &self,
        file: &Arc<File>,
        start: u64,
        hasher: Hasher,
        stream: ByteStream<'_>,
        at_most: u64,
    ) -> Result<Taken, BlobError> {
        let mut source = Source {
            stream,
            at: start,
            kept: Bytes::new(),
            left: at_most,
            at_most,
            ended: false,
            cut: None,
        };
        let mut target = Target {
            file: Arc::clone(file),
            at: start,
            hasher,
            buffers: Arc::clone(&self.buffers),
            direct: true,
            cached: 0,
        };
        let mut early = EarlySync {
            folders: &self.folders,
            synced: 0,
            running: None,
        };
        let mut next = self.collect(&mut source, None).await?;
        while let Some(batch) = next {
            self.folders.writable()?;
            let mut writing = Writing::begin(target, batch);
            next = self.collect(&mut source, Some(&mut writing)).await?;
            target = writing.target().await?;
            early.written(file, target.cached).await?;
        }
        early.end().await?;
        Ok(Taken {
            bytes: target.at - start,
            hasher: target.hasher,
            cut: source.cut,
        })
    }

    /// Collects pieces: the first one whenever it comes, then until the batch is full or, once nothing is being
    /// written any more, until the client pauses. `None` at the stream's end.
    async fn collect(
        &self,
        source: &mut Source<'_>,
        mut writing: Option<&mut Writing>,
    ) -> Result<Option<Batch>, BlobError> {
        let Some(first) = source.next().await? else {
            return Ok(None);
        };
        let permit = Arc::clone(&self.batches)
            .acquire_owned()
            .await
            .map_err(|closed| failed(Box::new(closed)))?;
        let mut batch = Batch {
            pieces: vec![first],
            _permit: permit,
        };
        while !source.is_at_boundary() {
            let piece = match writing.as_mut().filter(|writing| writing.outcome.is_none()) {
                Some(writing) => tokio::select! {
                    biased;
                    piece = source.next() => piece?,
                    () = writing.settle() => continue,
                },
                None => match source.next().now_or_never() {
                    Some(piece) => piece?,
                    None => break,
                },
            };
            let Some(piece) = piece else { break };
            batch.pieces.push(piece);
        }
        Ok(Some(batch))
    }
}

/// The stream, with what may still be taken from it.
struct Source<'a> {
    stream: ByteStream<'a>,
    /// Where in the file the next byte belongs.
    at: u64,
    /// What came with the last piece and lies behind the end of its batch.
    kept: Bytes,
    left: u64,
    at_most: u64,
    ended: bool,
    cut: Option<BodyError>,
}

impl Source<'_> {
    /// Whether a full batch ends here.
    fn is_at_boundary(&self) -> bool {
        self.at.is_multiple_of(BATCH_BYTES)
    }

    /// Returns the next piece that has bytes, which belongs to one batch; `None` at the end and where the stream broke
    /// off. May be dropped while it waits.
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        while self.kept.is_empty() && !self.ended {
            match self.stream.next().await {
                Some(Ok(piece)) => {
                    self.left = self.left.checked_sub(length(&piece)).ok_or(BlobError::TooLarge {
                        limit_bytes: self.at_most,
                    })?;
                    self.kept = piece;
                }
                Some(Err(cut)) => {
                    self.cut = Some(cut);
                    self.ended = true;
                }
                None => self.ended = true,
            }
        }
        let room = usize::try_from(BATCH_BYTES - self.at % BATCH_BYTES).unwrap_or(usize::MAX);
        let piece = self.kept.split_to(room.min(self.kept.len()));
        self.at = self.at.saturating_add(length(&piece));
        Ok((!piece.is_empty()).then_some(piece))
    }
}

/// Syncs of what is written through the cache while more comes, one at a time.
struct EarlySync<'a> {
    folders: &'a Arc<Folders>,
    synced: u64,
    running: Option<JoinHandle<Result<(), BlobError>>>,
}

impl EarlySync<'_> {
    /// Begins another one if enough was written since the last.
    async fn written(&mut self, file: &Arc<File>, cached: u64) -> Result<(), BlobError> {
        if cached - self.synced < EARLY_SYNC_BYTES
            || self.running.as_ref().is_some_and(|one| !one.is_finished())
        {
            return Ok(());
        }
        self.end().await?;
        self.synced = cached;
        let (folders, file) = (Arc::clone(self.folders), Arc::clone(file));
        self.running = Some(tokio::task::spawn_blocking(move || folders.sync_early(&file)));
        Ok(())
    }

    async fn end(&mut self) -> Result<(), BlobError> {
        match self.running.take() {
            Some(running) => running.await.unwrap_or_else(|died| Err(failed(Box::new(died)))),
            None => Ok(()),
        }
    }
}

/// A batch being written.
struct Writing {
    thread: JoinHandle<Result<Target, BlobError>>,
    outcome: Option<Result<Target, BlobError>>,
}

impl Writing {
    fn begin(mut target: Target, batch: Batch) -> Self {
        let thread = tokio::task::spawn_blocking(move || target.write(&batch).map(|()| target));
        Self {
            thread,
            outcome: None,
        }
    }

    /// Waits until it is written. May be dropped while it waits.
    async fn settle(&mut self) {
        if self.outcome.is_none() {
            let outcome = (&mut self.thread).await;
            self.outcome = Some(outcome.unwrap_or_else(|died| Err(failed(Box::new(died)))));
        }
    }

    /// Takes the target back once it is written.
    async fn target(mut self) -> Result<Target, BlobError> {
        if let Some(outcome) = self.outcome {
            return outcome;
        }
        (&mut self.thread)
            .await
            .unwrap_or_else(|died| Err(failed(Box::new(died))))
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> BlobError {
    BlobError::Io {
        doing: "writing",
        what: "an upload".to_owned(),
        source,
    }
}
