//! One layer's way from compressed bytes to files, in one pass: a thread inflates, a second one hashes
//! what comes out and unpacks it.

use std::io::{self, Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc;
use wharf_protocol::digest::{Algorithm, Digest, Hasher};

use super::unpack;
use crate::error::{Error, Kind, Result};

/// Pieces of compressed bytes that wait for the inflating thread.
const WAITING_PIECES: usize = 8;
/// Buffers of inflated bytes that go around between the two threads.
const BUFFERS: usize = 4;
/// The size of each of them.
const BUFFER_BYTES: usize = 256 << 10;
/// The largest window that a zstd frame may ask for: 128 MiB, as a power of two.
const ZSTD_WINDOW_LOG: u32 = 27;

/// What a layer may inflate to: this many times its compressed size, …
const MAX_RATIO: u64 = 200;
/// … or this much, whichever is more.
const ALWAYS_ALLOWED_BYTES: u64 = 2 << 30;

/// What came out of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of all its files.
    pub size_bytes: u64,
}

/// The two threads of one layer. Dropped, it stops them and waits for them.
#[derive(Debug)]
pub struct Pipeline {
    feed: Option<mpsc::Sender<Bytes>>,
    inflate: Option<JoinHandle<Result<()>>>,
    unpack: Option<JoinHandle<Result<Unpacked>>>,
}

impl Pipeline {
    /// Starts the threads; what is fed is unpacked into the folder `files`. `compressed_bytes` is the size
    /// of what will be fed.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn start(files: OwnedFd, compressed_bytes: u64) -> Result<Self> {
        let limit = compressed_bytes
            .saturating_mul(MAX_RATIO)
            .max(ALWAYS_ALLOWED_BYTES);
        let (feed, fed) = mpsc::channel(WAITING_PIECES);
        let (full, filled) = blocking::sync_channel::<Vec<u8>>(BUFFERS);
        let (empty, emptied) = blocking::sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for all of them.
            drop(empty.try_send(Vec::with_capacity(BUFFER_BYTES)));
        }
        let failed = |error: io::Error| Error::io("start a thread", error);
        let inflate = std::thread::Builder::new()
            .name("inflate".to_owned())
            .spawn(move || {
                inflate(
                    Fed {
                        source: fed,
                        piece: Bytes::new(),
                    },
                    &emptied,
                    &full,
                    limit,
                )
            })
            .map_err(failed)?;
        let unpack = std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn(move || {
                let stream = Filled {
                    source: filled,
                    back: empty,
                    buffer: Vec::new(),
                    at: 0,
                    hasher: Hasher::new(Algorithm::Sha256),
                };
                unpack_stream(stream, &files)
            })
            .map_err(failed)?;
        Ok(Self {
            feed: Some(feed),
            inflate: Some(inflate),
            unpack: Some(unpack),
        })
    }

    /// Feeds the next compressed bytes; `false` when the threads have stopped, which
    /// [`Pipeline::finish`] explains.
    pub async fn feed(&self, bytes: Bytes) -> bool {
        match &self.feed {
            Some(feed) => feed.send(bytes).await.is_ok(),
            None => false,
        }
    }

    /// The same for a caller that may block.
    pub fn feed_blocking(&self, bytes: Bytes) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.blocking_send(bytes).is_ok())
    }

    /// Says that all has been fed and waits for the files. Blocks.
    ///
    /// # Errors
    /// [`Kind::Damaged`] for a layer that is refused, else what the file system says.
    pub fn finish(mut self) -> Result<Unpacked> {
        drop(self.feed.take());
        let died = || Error::new(Kind::System, "a thread that unpacks a layer died");
        let unpacked = self
            .unpack
            .take()
            .ok_or_else(died)?
            .join()
            .map_err(|_panic| died())?;
        let inflated = self
            .inflate
            .take()
            .ok_or_else(died)?
            .join()
            .map_err(|_panic| died())?;
        match (inflated, unpacked) {
            // Whatever stopped the first thread, the second saw as an archive that ends too early, unless
            // it was itself what stopped the first.
            (Err(error), _) if error.kind() != Kind::ClosedPipe => Err(error),
            (_, unpacked) => unpacked,
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        drop(self.feed.take());
        // Their results belong to a layer that nobody wants any more.
        drop(self.inflate.take().map(JoinHandle::join));
        drop(self.unpack.take().map(JoinHandle::join));
    }
}

/// The compressed bytes, as a stream.
struct Fed {
    source: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.source.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        let head = self.piece.split_to(count);
        buffer.get_mut(..count).unwrap_or_default().copy_from_slice(&head);
        Ok(count)
    }
}

/// Inflates what is fed, whatever it is compressed with, into the buffers that go around.
fn inflate(
    mut fed: Fed,
    emptied: &blocking::Receiver<Vec<u8>>,
    full: &blocking::SyncSender<Vec<u8>>,
    limit_bytes: u64,
) -> Result<()> {
    let mut stream = inflating(&mut fed)?;
    let mut total = 0_u64;
    loop {
        let Ok(mut buffer) = emptied.recv() else {
            return Err(Error::new(Kind::ClosedPipe, "nobody unpacks any more"));
        };
        buffer.clear();
        let room = u64::try_from(BUFFER_BYTES).unwrap_or(u64::MAX);
        let count = (&mut stream)
            .take(room)
            .read_to_end(&mut buffer)
            .map_err(|cause| {
                Error::new(Kind::Damaged, "the layer is damaged: it cannot be inflated").because(cause)
            })?;
        if count == 0 {
            return Ok(());
        }
        total = total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if total > limit_bytes {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "the layer inflates to more than {limit_bytes} bytes, which is too much for its size"
                ),
            ));
        }
        if full.send(buffer).is_err() {
            return Err(Error::new(Kind::ClosedPipe, "nobody unpacks any more"));
        }
    }
}

/// A stream of what is compressed in another, by its first bytes, as docker tells it: media types of
/// layers in the wild are often wrong.
pub(crate) fn inflating<'a>(stream: &'a mut (dyn Read + 'a)) -> Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(4);
    stream
        .take(4)
        .read_to_end(&mut head)
        .map_err(|error| Error::io("read a layer", error))?;
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    let is_zstd = head == [0x28, 0xb5, 0x2f, 0xfd];
    let whole = Cursor::new(head).chain(stream);
    if is_gzip {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(
            io::BufReader::with_capacity(64 << 10, whole),
        )));
    }
    if is_zstd {
        let mut decoder = zstd::stream::read::Decoder::new(whole)
            .map_err(|error| Error::io("prepare to inflate", error))?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG)
            .map_err(|error| Error::io("prepare to inflate", error))?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(whole))
}

/// The inflated bytes, as a stream that hashes them.
struct Filled {
    source: blocking::Receiver<Vec<u8>>,
    back: blocking::SyncSender<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
    hasher: Hasher,
}

impl Read for Filled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.buffer.len() {
            let Ok(next) = self.source.recv() else {
                return Ok(0);
            };
            self.hasher.update(&next);
            let used = std::mem::replace(&mut self.buffer, next);
            self.at = 0;
            // There is room for every buffer; a thread that has ended needs none.
            drop(self.back.try_send(used));
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer
            .get_mut(..count)
            .unwrap_or_default()
            .copy_from_slice(rest.get(..count).unwrap_or_default());
        self.at += count;
        Ok(count)
    }
}

fn unpack_stream(mut stream: Filled, files: &OwnedFd) -> Result<Unpacked> {
    let summary = unpack::unpack(&mut stream, files.as_fd(), &unpack::Options::default()).map_err(refused)?;
    Ok(Unpacked {
        diff_id: stream.hasher.finish(),
        size_bytes: summary.bytes,
    })
}

/// An error of unpacking, as the client's own.
fn refused(error: unpack::Error) -> Error {
    match error {
        unpack::Error::Io { doing, path, source } => {
            let full = source.kind() == io::ErrorKind::StorageFull;
            let error = Error::io(format!("unpack a layer: {doing} {path:?}"), source);
            if full {
                error.hint("Free some space and try again: what has arrived is kept.")
            } else {
                error
            }
        }
        other => Error::new(Kind::Damaged, format!("the layer is refused: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = super::super::tar::Writer::new(Vec::new());
        let mut entry = super::super::tar::Entry::new("a", super::super::tar::Kind::File);
        entry.size = 5;
        writer.append(&entry, &b"hello"[..]).unwrap();
        writer.finish().unwrap()
    }

    fn through(bytes: &[u8]) -> (tempfile::TempDir, Result<Unpacked>) {
        let folder = tempfile::tempdir().unwrap();
        let files = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
        let pipeline = Pipeline::start(files, bytes.len() as u64).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for piece in bytes.chunks(100) {
            if !runtime.block_on(pipeline.feed(Bytes::copy_from_slice(piece))) {
                break;
            }
        }
        (folder, pipeline.finish())
    }

    #[test]
    fn gzip_zstd_and_plain_layers_give_the_same_diff_id_and_files() {
        let plain = archive();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 3).unwrap();
        for bytes in [plain.clone(), gzip.finish().unwrap(), zstd] {
            let (folder, unpacked) = through(&bytes);
            let unpacked = unpacked.unwrap();
            assert_eq!(unpacked.diff_id, Digest::of(Algorithm::Sha256, &plain));
            assert_eq!(unpacked.size_bytes, 5);
            assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"hello");
        }
    }

    #[test]
    fn damaged_bytes_are_said_to_be_damaged() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&archive()).unwrap();
        let mut bytes = gzip.finish().unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        assert_eq!(through(&bytes).1.unwrap_err().kind(), Kind::Damaged);
        assert_eq!(
            through(b"<html>not a layer</html>").1.unwrap_err().kind(),
            Kind::Damaged
        );
    }
}
