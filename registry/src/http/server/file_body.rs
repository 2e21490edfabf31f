//! A part of a file as an answer's body.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::transport::{WIRE, ZEROS};

/// How much is read at once where the kernel cannot send the file by itself.
const READ_BYTES: u64 = 512 * 1024;

/// How many such pieces are in memory at once, over all connections.
const LARGE_PIECES: usize = 128;

/// How much is read at once while there is no room for a larger piece: clients that ask for much on many streams and
/// take little of it then cost little, and only make others slower.
const SMALL_BYTES: u64 = 16 * 1024;

/// The right to hold a large piece.
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LARGE_PIECES)));

/// Bytes that were read, with the right to hold them.
struct Piece {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes `range` of an open file.
///
/// On a plain HTTP/1.1 connection of this server the kernel sends them straight from the file, and the frames that
/// this body gives are placeholders. Elsewhere (TLS, HTTP/2, outside of a server) they hold the bytes, read in large
/// pieces on a thread that may block. A file that turns out to be shorter ends the connection, so that the client
/// never takes the part for the whole.
///
/// Nothing between the handler and the connection may look into the frames (compress them, say).
#[derive(Debug)]
pub struct FileBody {
    file: Arc<File>,
    next: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// Makes a body of the file's bytes `range`.
    pub fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self {
            file,
            next: range.start,
            end: range.end.max(range.start),
            reading: None,
        }
    }

    fn left(&self) -> u64 {
        self.end - self.next
    }

    /// Begins to read the next piece.
    fn read_ahead(&mut self) -> Option<JoinHandle<io::Result<Bytes>>> {
        if self.left() == 0 {
            return None;
        }
        let room = match self.left() {
            ..=SMALL_BYTES => None,
            _ => Arc::clone(&ROOM).try_acquire_owned().ok(),
        };
        let most = if room.is_some() { READ_BYTES } else { SMALL_BYTES };
        let bytes = self.left().min(most);
        let (file, offset) = (Arc::clone(&self.file), self.next);
        self.next += bytes;
        Some(tokio::task::spawn_blocking(move || {
            let bytes = read(&file, offset, bytes)?;
            Ok(Bytes::from_owner(Piece { bytes, _room: room }))
        }))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.reading.is_none() {
            if self.left() == 0 {
                return Poll::Ready(None);
            }
            if let Ok(wire) = WIRE.try_with(Clone::clone) {
                let bytes = usize::try_from(self.left())
                    .unwrap_or(usize::MAX)
                    .min(ZEROS.len());
                wire.push(Arc::clone(&self.file), self.next, bytes);
                self.next += u64::try_from(bytes).unwrap_or(u64::MAX);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS).slice(..bytes)))));
            }
            self.reading = self.read_ahead();
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let piece = ready!(Pin::new(reading).poll(cx))
            .map_err(io::Error::other)
            .flatten();
        self.reading = if piece.is_ok() { self.read_ahead() } else { None };
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0 && self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Read before the first frame only, while nothing is being read.
        SizeHint::with_exact(self.left())
    }
}

/// Reads exactly `bytes` at `offset`.
fn read(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut piece = Vec::with_capacity(bytes);
    while piece.len() < bytes {
        let at = offset + u64::try_from(piece.len()).map_err(io::Error::other)?;
        if rustix::io::pread(file, rustix::buffer::spare_capacity(&mut piece), at)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than its row says",
            ));
        }
    }
    // The capacity may have been rounded up, and the file may be longer.
    piece.truncate(bytes);
    Ok(piece)
}
