//! Objects in a bucket of S3, of what speaks it, of Google's or of Azure's cloud.
//!
//! ```text
//! PREFIX/blobs/<ulid>           an object, a multipart upload to this name, or the first bytes of an upload
//! PREFIX/uploads/<ulid>/<uuid>  a tail: later bytes of an upload, too few for a part
//! ```
//!
//! An upload goes straight to the name it will have, so that completing it moves no bytes. Parts are as large as
//! [`Plan`] says and go side by side; what is left after a call is kept as an object of its own under a fresh name, so
//! that a call whose row was not written leaves the earlier ones whole. If that object is the whole upload, it becomes
//! the blob as it is. What a call makes is in the row's journal before, and nothing is ever listed.
//!
//! A client that dies between asking for a multipart upload and writing its id down leaves an empty one that nobody
//! knows: a bucket's lifecycle rule for incomplete uploads is for that.
//!
//! Invariant: an object under `blobs/` is written by one call of one session, or by one `put`, whose key no other ever
//! had.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{ObjectStore, ObjectStoreExt as _};
use wharf_protocol::digest::{Digest, Hasher};

use super::{
    Appended, BlobError, Blobs, BodyError, BoxFuture, ByteStream, Content, HashState, Journal, Key,
    Multipart, NoJournal, Session, Staged, Stored, Tail, agree,
};

mod address;
mod assembly;
mod memory;
mod plan;
mod reading;
mod transport;

pub use address::AddressError;
pub use plan::Plan;
pub use transport::{Patience, PatientConnector};

use assembly::Assembly;
use memory::Memory;
use transport::Trouble;

/// How much memory bytes on their way in may take: all uploads together. As much as the largest part.
const MEMORY_BYTES: u64 = 640 << 20;

/// What is needed of a client: whole objects, multipart uploads, and URLs for those who have no credentials.
pub trait Bucket: ObjectStore + MultipartStore + Signer {}

impl<T: ObjectStore + MultipartStore + Signer> Bucket for T {}

/// A store in a bucket.
#[derive(Debug)]
pub struct Cloud {
    bucket: Arc<dyn Bucket>,
    prefix: Path,
    plan: Plan,
    memory: Memory,
}

impl Cloud {
    /// Makes a store of the objects under `prefix` of a bucket.
    pub fn new(bucket: Arc<dyn Bucket>, prefix: Path) -> Self {
        Self::sized(bucket, prefix, Plan::default(), MEMORY_BYTES)
    }

    /// As [`new`](Self::new), with parts of other sizes and another amount of memory for bytes on their way: at least
    /// as much as the largest part.
    pub fn sized(bucket: Arc<dyn Bucket>, prefix: Path, plan: Plan, memory_bytes: u64) -> Self {
        Self {
            bucket,
            prefix,
            plan,
            memory: Memory::new(memory_bytes.max(plan.most_bytes)),
        }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn object(&self, key: &Key) -> Path {
        self.path(&key.to_string())
    }

    async fn take(
        &self,
        session: Session,
        bytes: ByteStream<'_>,
        at_most: u64,
        journal: &dyn Journal,
        then: Then,
    ) -> Result<Appended, BlobError> {
        let mut row = multipart(&session)?;
        row.stale = self.discard(&row.stale).await;
        let mut assembly = Assembly::new(self, session.key, journal, row, session.hash.resume()?);
        let (taken, cut) = assembly.take_all(bytes, at_most).await?;
        if taken == 0 && then == Then::Row {
            return Ok(Appended { session, taken, cut });
        }
        let (staged, hasher) = match then {
            Then::Finish if cut.is_none() => assembly.set_down_last().await?,
            Then::Finish | Then::Row => assembly.set_down().await?,
        };
        let session = Session {
            offset: session.offset + taken,
            staged,
            hash: HashState::of(&hasher),
            ..session
        };
        Ok(Appended { session, taken, cut })
    }

    async fn read_tail(&self, tail: &Tail) -> Result<Bytes, BlobError> {
        let (path, range) = (self.path(&tail.object), 0..tail.size);
        let got = match reading::get(&*self.bucket, &path, range.clone()).await {
            Ok(got) if got.meta.size == tail.size => got,
            Ok(_) | Err(object_store::Error::NotFound { .. }) => return Err(BlobError::SessionLost),
            Err(error) => return Err(failed("reading", &path, error)),
        };
        let mut pieces = reading::stream(Arc::clone(&self.bucket), path.clone(), range, got);
        let mut bytes = BytesMut::with_capacity(usize::try_from(tail.size).unwrap_or_default());
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| broken(&path, error))?);
        }
        Ok(bytes.freeze())
    }

    /// Deletes objects; what is missing counts as deleted.
    async fn delete_all(&self, paths: Vec<Path>) -> Result<(), BlobError> {
        let paths = futures_util::stream::iter(paths.into_iter().map(Ok));
        let mut deleted = self.bucket.delete_stream(paths.boxed());
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed("deleting", "objects", error)),
            }
        }
        Ok(())
    }

    /// Deletes an upload's objects that are not needed any more; returns those that may be there still.
    async fn discard(&self, names: &[String]) -> Vec<String> {
        let paths = names.iter().map(|name| self.path(name)).collect();
        match self.delete_all(paths).await {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "an upload's old bytes could not be deleted");
                names.to_vec()
            }
        }
    }

    async fn abort_multipart(&self, key: Key, id: &String) -> Result<(), BlobError> {
        match self.bucket.abort_multipart(&self.object(&key), id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            // Some stores say this of an upload that they have forgotten.
            Err(error @ object_store::Error::PermissionDenied { .. }) => {
                tracing::warn!(%error, %key, "an upload could not be aborted");
                Ok(())
            }
            Err(error) => Err(failed("aborting", key, error)),
        }
    }

    /// Returns the size of an object, `None` if there is none.
    async fn size(&self, path: &Path) -> Result<Option<u64>, BlobError> {
        match self.bucket.head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("reading", path, error)),
        }
    }

    /// Reads a completed object again, to verify a digest that was not computed as it came.
    async fn reread(&self, key: Key, size: u64, expected: &Digest) -> Result<(), BlobError> {
        let mut hasher = Hasher::new(expected.algorithm());
        let Content::Stream(mut pieces) = self.open(&key, 0..size).await? else {
            return Err(BlobError::Missing { key });
        };
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece.map_err(|error| broken(&self.object(&key), error))?);
        }
        agree(hasher.finish(), expected)
    }

    /// Makes a session's bytes one object, unless an earlier call has; returns its key.
    async fn complete(&self, session: &Session, row: &Multipart) -> Result<Key, BlobError> {
        if let Some(key) = whole_tail(row) {
            // The first bytes were all.
            return match self.size(&self.object(&key)).await? {
                Some(size) if size == session.offset => Ok(key),
                _ => Err(BlobError::SessionLost),
            };
        }
        let mut assembly = Assembly::new(self, session.key, &NoJournal, row.clone(), session.hash.resume()?);
        let completed = assembly.complete().await;
        self.or_was_complete(session.key, session.offset, completed)
            .await?;
        Ok(session.key)
    }

    /// A store forgets an upload that it has completed, and says so in many ways when that is asked again.
    async fn or_was_complete(
        &self,
        key: Key,
        bytes: u64,
        completed: Result<(), BlobError>,
    ) -> Result<(), BlobError> {
        let error = match completed {
            Ok(()) => return Ok(()),
            Err(full @ BlobError::Full) => return Err(full),
            Err(error) => error,
        };
        match self.size(&self.object(&key)).await? {
            Some(size) if size == bytes => Ok(()),
            _ => Err(error),
        }
    }

    /// Removes what a finished upload needed on the way: its row still names it, and soon nothing will.
    async fn tidy(&self, session: &Session, row: Multipart, object: Key) -> Result<(), BlobError> {
        if object != session.key
            && let Some(id) = &row.id
        {
            self.abort_multipart(session.key, id).await?;
        }
        let kept = object.to_string();
        let tails = row.tails.into_iter().map(|tail| tail.object);
        let unneeded = tails.chain(row.stale).filter(|name| *name != kept);
        self.delete_all(unneeded.map(|name| self.path(&name)).collect())
            .await
    }
}

/// What follows an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Its state goes to a row.
    Row,
    /// The session is finished.
    Finish,
}

impl Blobs for Cloud {
    fn append<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(self.take(session, bytes, at_most, journal, Then::Row))
    }

    fn append_last<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(self.take(session, bytes, at_most, journal, Then::Finish))
    }

    fn finish<'a>(
        &'a self,
        session: &'a Session,
        expected: &'a Digest,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        Box::pin(async move {
            let row = multipart(session)?;
            let known = session.hash.algorithm == expected.algorithm();
            if known {
                agree(session.hash.resume()?.finish(), expected)?;
            }
            let key = self.complete(session, &row).await?;
            if !known {
                self.reread(key, session.offset, expected).await?;
            }
            self.tidy(session, row, key).await?;
            Ok(Stored {
                key,
                digest: expected.clone(),
                size: session.offset,
            })
        })
    }

    fn put<'a>(
        &'a self,
        key: Key,
        bytes: ByteStream<'a>,
        at_most: u64,
        expected: &'a Digest,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        Box::pin(async move {
            let hasher = Hasher::new(expected.algorithm());
            let mut assembly = Assembly::new(self, key, journal, Multipart::default(), hasher);
            let stored = async {
                let (size, cut) = assembly.take_all(bytes, at_most).await?;
                if let Some(cut) = cut {
                    return Err(BlobError::Cut(cut));
                }
                agree(assembly.hasher.clone().finish(), expected)?;
                let completed = assembly.complete().await;
                self.or_was_complete(key, size, completed).await?;
                let made = assembly.made().iter().map(|name| self.path(name));
                self.delete_all(made.collect()).await?;
                Ok(Stored {
                    key,
                    digest: expected.clone(),
                    size,
                })
            };
            let stored = stored.await;
            if stored.is_err() {
                assembly.give_up().await;
            }
            stored
        })
    }

    fn abort<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            let row = match &session.staged {
                Staged::Multipart(row) => row.clone(),
                Staged::Nothing | Staged::File => Multipart::default(),
            };
            if let Some(id) = &row.id {
                self.abort_multipart(session.key, id).await?;
            }
            let tails = row.tails.iter().map(|tail| &tail.object);
            let mut paths: Vec<Path> = tails.chain(&row.stale).map(|name| self.path(name)).collect();
            paths.push(self.object(&session.key));
            self.delete_all(paths).await
        })
    }

    fn open<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Content, BlobError>> {
        Box::pin(async move {
            let path = self.object(key);
            if range.is_empty() {
                return match self.size(&path).await? {
                    Some(size) if size >= range.end => {
                        Ok(Content::Stream(Box::pin(futures_util::stream::empty())))
                    }
                    _ => Err(BlobError::Missing { key: *key }),
                };
            }
            let got = match reading::get(&*self.bucket, &path, range.clone()).await {
                Ok(got) if got.range == range => got,
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                    return Err(BlobError::Missing { key: *key });
                }
                Err(error) => match failed("reading", &path, error) {
                    // A range that begins behind the end is refused; that it does is damage.
                    error @ BlobError::Io { .. } => match self.size(&path).await? {
                        Some(size) if size >= range.end => return Err(error),
                        _ => return Err(BlobError::Missing { key: *key }),
                    },
                    error => return Err(error),
                },
            };
            let bucket = Arc::clone(&self.bucket);
            Ok(Content::Stream(reading::stream(bucket, path, range, got)))
        })
    }

    fn presign<'a>(
        &'a self,
        key: &'a Key,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, BlobError>> {
        Box::pin(async move {
            let path = self.object(key);
            match self.bucket.signed_url(Method::GET, &path, lifetime).await {
                Ok(url) => Ok(Some(url.into())),
                Err(error) => Err(failed("signing a URL of", &path, error)),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(self.delete_all(vec![self.object(key)]))
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(self.delete_all(keys.iter().map(|key| self.object(key)).collect()))
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move { self.size(&self.path("ready")).await.map(drop) })
    }

    fn chunk_min_bytes(&self) -> Option<u64> {
        Some(self.plan.first_bytes)
    }
}

/// Returns what a session's row says of its parts and tails.
fn multipart(session: &Session) -> Result<Multipart, BlobError> {
    match &session.staged {
        Staged::Nothing => Ok(Multipart::default()),
        Staged::Multipart(row) => Ok(row.clone()),
        Staged::File => Err(BlobError::SessionLost),
    }
}

/// Returns the key of the one tail that holds the whole upload, if one does.
fn whole_tail(row: &Multipart) -> Option<Key> {
    match row.tails.as_slice() {
        [tail] if row.parts.is_empty() => tail.object.parse().ok(),
        _ => None,
    }
}

fn length(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

/// Says why an object's bytes broke off.
fn broken(path: &Path, error: BodyError) -> BlobError {
    match error.downcast::<object_store::Error>() {
        Ok(error) => failed("reading", path, *error),
        Err(source) => BlobError::Io {
            doing: "reading",
            what: path.to_string(),
            source,
        },
    }
}

fn failed(doing: &'static str, what: impl std::fmt::Display, source: object_store::Error) -> BlobError {
    let what = what.to_string();
    match Trouble::in_causes(&source) {
        Some(Trouble::Full(said)) => {
            tracing::warn!(doing, what, said, "the bucket is full");
            BlobError::Full
        }
        Some(Trouble::Unavailable { .. }) => BlobError::Unavailable {
            doing,
            what,
            source: Box::new(source),
        },
        None => BlobError::Io {
            doing,
            what,
            source: Box::new(source),
        },
    }
}
