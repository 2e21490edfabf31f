//! Objects in a bucket of S3, of what speaks it, of Google's or of Azure's cloud.
//!
//! ```text
//! PREFIX/blobs/<ulid>           an object; until it is completed, a multipart upload to this name
//! PREFIX/uploads/<ulid>/<uuid>  an upload's tail: bytes that are too few for a part
//! ```
//!
//! An upload goes straight to the name it will have, so that completing it moves no bytes. Parts are as large as
//! [`plan`] says; what is left after a call is kept as an object of its own under a fresh name, so that a call whose
//! row was not written leaves the earlier tail whole. Nothing is ever listed.
//!
//! Invariant: an object under `blobs/` is written by one session or one `put`, whose key no other ever had.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::sync::Semaphore;
use uuid::Uuid;
use wharf_protocol::digest::{Digest, Hasher};

use super::{
    Appended, BlobError, Blobs, BodyError, BoxFuture, ByteStream, Content, HashState, Journal, Key,
    NoJournal, Session, Staged, Stored, Tail,
};

mod address;
mod assembly;
mod plan;

pub use address::AddressError;

use assembly::Assembly;

/// In what units the memory for parts is counted.
const MEMORY_UNIT_BYTES: u64 = 1 << 20;

/// How much memory parts on their way may take, in units: all uploads together.
const MEMORY_UNITS: u32 = 512;

/// What is needed of a client: whole objects, multipart uploads, and URLs for those who have no credentials.
pub trait Bucket: ObjectStore + MultipartStore + Signer {}

impl<T: ObjectStore + MultipartStore + Signer> Bucket for T {}

/// A store in a bucket.
#[derive(Debug)]
pub struct Cloud {
    bucket: Arc<dyn Bucket>,
    prefix: Path,
    memory: Arc<Semaphore>,
}

impl Cloud {
    /// Makes a store of the objects under `prefix` of a bucket.
    pub fn new(bucket: Arc<dyn Bucket>, prefix: Path) -> Self {
        let units = usize::try_from(MEMORY_UNITS).unwrap_or(usize::MAX);
        Self {
            bucket,
            prefix,
            memory: Arc::new(Semaphore::new(units)),
        }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn object(&self, key: &Key) -> Path {
        self.path(&key.to_string())
    }

    /// Takes an upload up where its session stands.
    async fn resume<'a>(
        &'a self,
        session: &Session,
        journal: &'a dyn Journal,
    ) -> Result<Assembly<'a>, BlobError> {
        let tail = match &session.staged {
            Staged::Nothing => None,
            Staged::Multipart { tail, .. } => tail.clone(),
            Staged::File => return Err(BlobError::SessionLost),
        };
        let (hasher, row) = (session.hash.resume()?, session.staged.clone());
        let mut assembly = Assembly::new(self, self.object(&session.key), journal, row, hasher);
        if let Some(tail) = tail {
            let bytes = self.read_tail(&tail).await?;
            assembly.restore(bytes).await?;
        }
        Ok(assembly)
    }

    async fn read_tail(&self, tail: &Tail) -> Result<Bytes, BlobError> {
        let path = self.path(&tail.object);
        let got = match self.bucket.get_opts(&path, GetOptions::default()).await {
            Err(object_store::Error::NotFound { .. }) => return Err(BlobError::SessionLost),
            got => got.map_err(|error| failed("reading", &path, error))?,
        };
        let bytes = got
            .bytes()
            .await
            .map_err(|error| failed("reading", &path, error))?;
        if length(&bytes) == tail.size {
            Ok(bytes)
        } else {
            Err(BlobError::SessionLost)
        }
    }

    /// Deletes an upload's objects that are not needed any more; what cannot be deleted is only space.
    async fn discard(&self, names: &[String]) {
        for name in names {
            let path = self.path(name);
            match self.bucket.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, %path, "an upload's old bytes could not be deleted"),
            }
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
    async fn reread(&self, path: &Path, expected: &Digest) -> Result<(), BlobError> {
        let got = self.bucket.get_opts(path, GetOptions::default()).await;
        let mut pieces = got.map_err(|error| failed("reading", path, error))?.into_stream();
        let mut hasher = Hasher::new(expected.algorithm());
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece.map_err(|error| failed("reading", path, error))?);
        }
        agree(hasher.finish(), expected)
    }

    /// Makes the session's object complete, unless an earlier call has.
    async fn complete(&self, session: &Session) -> Result<(), BlobError> {
        let completed = match self.resume(session, &NoJournal).await {
            Ok(mut assembly) => assembly.complete().await,
            Err(error) => Err(error),
        };
        let Err(error) = completed else { return Ok(()) };
        // A store forgets an upload that it has completed, and says so in many ways.
        match self.size(&self.object(&session.key)).await? {
            Some(size) if size == session.offset => Ok(()),
            _ => Err(error),
        }
    }
}

impl Blobs for Cloud {
    fn append<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(async move {
            let mut assembly = self.resume(&session, journal).await?;
            if let Staged::Multipart { stale, .. } = &session.staged {
                self.discard(stale).await;
            }
            let (taken, cut) = take_all(&mut assembly, bytes, at_most).await?;
            let old_tail = match &session.staged {
                Staged::Multipart { tail, .. } => tail.clone(),
                Staged::Nothing | Staged::File => None,
            };
            if taken == 0 {
                return Ok(Appended { session, taken, cut });
            }
            let mut tail = None;
            if assembly.waiting_bytes > 0 {
                let object = format!("uploads/{}/{}", session.key.ulid(), Uuid::new_v4());
                assembly.note(Some(&object)).await?;
                let path = self.path(&object);
                let payload: PutPayload = assembly.waiting.iter().cloned().collect();
                let put = self.bucket.put_opts(&path, payload, Default::default()).await;
                put.map_err(|error| failed("writing", &path, error))?;
                tail = Some(Tail {
                    object,
                    size: assembly.waiting_bytes,
                });
            }
            let stale = old_tail.into_iter().map(|tail| tail.object).collect();
            let hash = HashState::of(&assembly.hasher);
            let staged = Staged::Multipart {
                id: assembly.id,
                parts: assembly.parts,
                tail,
                stale,
            };
            let session = Session {
                offset: session.offset + taken,
                staged,
                hash,
                ..session
            };
            Ok(Appended { session, taken, cut })
        })
    }

    fn finish<'a>(
        &'a self,
        session: &'a Session,
        expected: &'a Digest,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        Box::pin(async move {
            let known = session.hash.algorithm == expected.algorithm();
            if known {
                agree(session.hash.resume()?.finish(), expected)?;
            }
            self.complete(session).await?;
            if !known {
                self.reread(&self.object(&session.key), expected).await?;
            }
            if let Staged::Multipart { tail, stale, .. } = &session.staged {
                self.discard(stale).await;
                if let Some(tail) = tail {
                    self.discard(std::slice::from_ref(&tail.object)).await;
                }
            }
            Ok(Stored {
                key: session.key,
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
            let mut assembly = Assembly::new(self, self.object(&key), journal, Staged::Nothing, hasher);
            let stored = async {
                let (size, cut) = take_all(&mut assembly, bytes, at_most).await?;
                if let Some(cut) = cut {
                    return Err(BlobError::Cut(cut));
                }
                agree(assembly.hasher.clone().finish(), expected)?;
                assembly.complete().await?;
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
            if let Staged::Multipart { id, tail, stale, .. } = &session.staged {
                if let Some(id) = id {
                    match self.bucket.abort_multipart(&self.object(&session.key), id).await {
                        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                        // Some stores say this of an upload that they have forgotten.
                        Err(error @ object_store::Error::PermissionDenied { .. }) => {
                            tracing::warn!(%error, key = %session.key, "an upload could not be aborted");
                        }
                        Err(error) => return Err(failed("aborting", session.key, error)),
                    }
                }
                self.discard(stale).await;
                if let Some(tail) = tail {
                    self.discard(std::slice::from_ref(&tail.object)).await;
                }
            }
            self.delete(&session.key).await
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
            let bytes = range.end - range.start;
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                ..GetOptions::default()
            };
            let got = match self.bucket.get_opts(&path, options).await {
                Ok(got) if got.range == range => got,
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                    return Err(BlobError::Missing { key: *key });
                }
                // A range that begins behind the end is refused; that it does is damage.
                Err(error) => match self.size(&path).await? {
                    Some(size) if size >= range.end => return Err(failed("reading", &path, error)),
                    _ => return Err(BlobError::Missing { key: *key }),
                },
            };
            Ok(Content::Stream(whole(
                got.into_stream().map_err(BodyError::from).boxed(),
                bytes,
            )))
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

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<(), BlobError>> {
        let paths: Vec<_> = keys.iter().map(|key| Ok(self.object(key))).collect();
        Box::pin(async move {
            let mut deleted = self
                .bucket
                .delete_stream(futures_util::stream::iter(paths).boxed());
            while let Some(deleted) = deleted.next().await {
                match deleted {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(failed("deleting", "objects", error)),
                }
            }
            Ok(())
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            let path = self.object(key);
            match self.bucket.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failed("deleting", &path, error)),
            }
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move { self.size(&self.path("ready")).await.map(drop) })
    }

    fn chunk_min_bytes(&self) -> Option<u64> {
        Some(plan::part_bytes(0))
    }
}

/// Takes a stream in; returns how many bytes came, and why it broke off if it did.
async fn take_all(
    assembly: &mut Assembly<'_>,
    mut bytes: ByteStream<'_>,
    at_most: u64,
) -> Result<(u64, Option<BodyError>), BlobError> {
    let mut taken = 0;
    while let Some(piece) = bytes.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(cut) => return Ok((taken, Some(cut))),
        };
        taken += length(&piece);
        if taken > at_most {
            return Err(BlobError::TooLarge { limit_bytes: at_most });
        }
        assembly.take(piece).await?;
    }
    Ok((taken, None))
}

/// Passes a stream on that must have `bytes` bytes, and turns an early end into an error.
fn whole(stream: ByteStream<'static>, bytes: u64) -> ByteStream<'static> {
    Box::pin(futures_util::stream::try_unfold(
        (stream, bytes),
        |(mut stream, left)| async move {
            match stream.next().await.transpose()? {
                Some(piece) => {
                    let left = left
                        .checked_sub(length(&piece))
                        .ok_or("the store sent more than was asked for")?;
                    Ok(Some((piece, (stream, left))))
                }
                None if left > 0 => Err("the store's answer broke off".into()),
                None => Ok(None),
            }
        },
    ))
}

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

fn length(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

fn failed(doing: &'static str, what: impl std::fmt::Display, source: object_store::Error) -> BlobError {
    BlobError::Io {
        doing,
        what: what.to_string(),
        source: Box::new(source),
    }
}
