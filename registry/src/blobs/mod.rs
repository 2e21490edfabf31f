//! Objects: the bytes of blobs, and of uploads on their way to become blobs.
//!
//! An object has a [`Key`] that is used once, ever, and that says nothing of its content; rows (the metadata) map a
//! digest to a key. A store therefore never decides whether something exists: an object without a row is invisible,
//! and listing is never needed. Two kinds of store implement [`Blobs`]: a folder on a disk, and a bucket in a cloud.
//!
//! An upload is a value, the [`Session`], that its owner keeps in a row and hands in with each call; a store
//! remembers nothing about it. So any replica, and any later process, continues any upload:
//!
//! ```text
//! Session::new ─► append ─► Session' ─► append ─► Session'' ─► finish ─► Stored ─► the blob's row
//!    (row)                   (row)                 (row)
//! ```
//!
//! Invariant: what an `append` was not able to store in a row did not happen. The next one starts from the row's
//! state and overwrites what lies behind its offset.
//!
//! What this module must not know: repositories, users, HTTP, SQL.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use wharf_protocol::digest::Digest;

pub mod cloud;
mod counted;
pub mod disk;
mod error;
mod hash;
mod journal;
mod key;
mod session;

pub use counted::Counted;
pub use error::BlobError;
pub use hash::HashState;
pub use journal::{Journal, NoJournal};
pub use key::{Key, KeyError};
pub use session::{Multipart, Part, Session, Staged, Tail};

/// A boxed future, so that [`Blobs`] can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a body ended before its end. The store hands it back as it came.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes on their way in or out, in order. After an error there is nothing more.
pub type ByteStream<'a> = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send + 'a>>;

/// What [`Blobs::append`] did.
#[derive(Debug)]
pub struct Appended {
    /// The session's new state. All of its `offset` bytes are durable: the row that holds it may be written.
    pub session: Session,
    /// How many bytes were taken from the stream by this call.
    pub taken: u64,
    /// Why the stream ended early, if it did. What came before is in `session` and as durable as the rest.
    pub cut: Option<BodyError>,
}

/// A whole, verified, durable object: what a blob's row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where the bytes are.
    pub key: Key,
    /// The digest that was asked for, verified over every byte.
    pub digest: Digest,
    /// How many bytes there are.
    pub size: u64,
}

/// The bytes of an opened object.
pub enum Content {
    /// A part of a local file, which the kernel can send by itself. It is at least `range.end` bytes long.
    File {
        /// The open file; its position is of no meaning.
        file: Arc<File>,
        /// Which of its bytes.
        range: Range<u64>,
    },
    /// Bytes that come from elsewhere. Exactly as many as were asked for, or an error.
    Stream(ByteStream<'static>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { range, .. } => f
                .debug_struct("File")
                .field("range", range)
                .finish_non_exhaustive(),
            Self::Stream(_) => f.write_str("Stream(..)"),
        }
    }
}

/// A store of objects. Every clause below is a test in `storage-tests`, run over each implementation.
///
/// - *Durable* means: it survives a power cut that comes right after the call has returned (on disk: file and folder
///   are fsynced; in the cloud: the store has acknowledged it).
/// - Dropping a future leaves the session's row as true as it was: the store may have more bytes than the row says,
///   never fewer.
/// - Two calls on one session must not overlap. Where the store can tell, the second is [`BlobError::Busy`]; where
///   it cannot, the caller's row (compared and swapped) decides whose state counts, and the loser's bytes are never read.
/// - Memory: bytes on the way are bounded for the whole store; a session between two calls holds nothing.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Takes the stream's bytes, `at_most` so many, to the end of the session, and hashes them.
    ///
    /// First cuts the staged bytes back to `session.offset`: what a crashed or failed call left behind is gone.
    /// Returns once what was taken is durable. Store the new state in the row *before* telling the client; if the row
    /// is not written, the call did not happen. A stream that breaks off is not an error: see [`Appended::cut`].
    /// What the call makes outside the session's own name is in `journal` before.
    ///
    /// # Errors
    /// - [`BlobError::TooLarge`]: the stream holds more than `at_most` bytes; the session is where it was.
    /// - [`BlobError::SessionLost`]: the staged bytes are not there any more, or fewer than the row says. A store that
    ///   need not look at them tells only at `finish`.
    /// - [`BlobError::Full`]: no space; the session is where it was and goes on once there is some.
    /// - [`BlobError::Busy`]: another call on this session is under way.
    /// - [`BlobError::WritesStopped`], [`BlobError::Unavailable`]: see there.
    fn append<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>>;

    /// As [`append`](Self::append), for the last bytes, which a [`finish`](Self::finish) follows at once.
    ///
    /// They need be durable only when that returns, so a store may spare the disk a turn; the new state is not for a
    /// row, unless the stream broke off: then it is what `append` gives.
    fn append_last<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        self.append(session, bytes, at_most, journal)
    }

    /// Makes the session's bytes an object, if they have the digest `expected`.
    ///
    /// Its key is the session's, or another that no other session has had. Durable when it returns. May be repeated, by any replica, until the blob's row is committed: a crash between
    /// this call and the row costs nothing but the repetition. Reads the bytes again if `expected` is of another
    /// algorithm than the session's. Never overwrites an object that a row can name: keys are never reused.
    ///
    /// # Errors
    /// - [`BlobError::DigestMismatch`]: the session is unchanged; the caller decides (and aborts it).
    /// - [`BlobError::SessionLost`], [`BlobError::Full`], [`BlobError::Busy`], [`BlobError::WritesStopped`],
    ///   [`BlobError::Unavailable`]: as for `append`.
    fn finish<'a>(
        &'a self,
        session: &'a Session,
        expected: &'a Digest,
    ) -> BoxFuture<'a, Result<Stored, BlobError>>;

    /// Takes a whole blob in one go, without a session. All or nothing, durable when it returns.
    ///
    /// A crash before the blob's row is committed leaves an object, or parts of one: who wants them removed keeps a row
    /// of [`Session::new`] of this key from before, puts there what `journal` is told, and aborts it.
    ///
    /// # Errors
    /// As `append` and `finish`, and [`BlobError::Cut`] if the stream broke off: nothing is left behind.
    fn put<'a>(
        &'a self,
        key: Key,
        bytes: ByteStream<'a>,
        at_most: u64,
        expected: &'a Digest,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Stored, BlobError>>;

    /// Throws the session's bytes away: staged ones, and the object of a `finish` that no blob's row followed.
    ///
    /// The session's row has been deleted before, in a transaction that a commit of the blob would have lost or
    /// awaited; else a live object would be deleted. What is missing counts as removed. May be repeated.
    fn abort<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), BlobError>>;

    /// Opens bytes `range` of the object `key`. `range.end` is at most the size in the blob's row; it may be empty.
    ///
    /// # Errors
    /// - [`BlobError::Missing`]: there is no such object, or it is shorter than `range.end`. The row says otherwise, so
    ///   this is damage (or a delete that ran ahead of this read), never an answer to a client's wrong request.
    fn open<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Content, BlobError>>;

    /// Returns a URL at which anybody who has it can GET the object `key`, or a range of it, for `lifetime` from now:
    /// straight from where the bytes are, without credentials. `None` if the store has no such URLs.
    ///
    /// Reaches for nothing, so it does not tell whether there is such an object. The store refuses a `lifetime` of
    /// more than 7 days. The URL is a secret while it lives, and good for GET alone: S3 signs the method.
    ///
    /// # Errors
    /// [`BlobError::Io`] if the credentials at hand cannot sign.
    fn presign<'a>(
        &'a self,
        _key: &'a Key,
        _lifetime: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, BlobError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Deletes the object `key`, which no row names any more. What is missing counts as removed.
    ///
    /// A read that has begun may end early on a cloud, and goes on to its end on a disk.
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), BlobError>>;

    /// Deletes several objects as [`delete`](Self::delete) does, in as few requests as the store can. After an error some
    /// of them are gone; it may be repeated.
    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            for key in keys {
                self.delete(key).await?;
            }
            Ok(())
        })
    }

    /// Tells whether a push could be stored now, without trying one: for readiness, not for decisions.
    ///
    /// # Errors
    /// [`BlobError::WritesStopped`], [`BlobError::Unavailable`] or [`BlobError::Io`].
    fn ready(&self) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Returns how large pieces of an upload should be at least, where that matters (`OCI-Chunk-Min-Length`).
    /// Smaller ones are taken all the same.
    fn chunk_min_bytes(&self) -> Option<u64> {
        None
    }
}

/// Compares the digest of the bytes with the one that was asked for.
fn agree(computed: Digest, expected: &Digest) -> Result<(), BlobError> {
    if computed == *expected {
        Ok(())
    } else {
        Err(BlobError::DigestMismatch {
            expected: expected.clone(),
            computed,
        })
    }
}
