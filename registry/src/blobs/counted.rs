//! A store whose failures are counted, those in the middle of an answer too.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use wharf_protocol::digest::Digest;

use super::{Appended, BlobError, Blobs, BoxFuture, ByteStream, Content, Journal, Key, Session, Stored};
use crate::metrics::{Counters, Fault, StorageError, Store};

/// Counts what fails in the store below.
#[derive(Debug)]
pub struct Counted {
    store: Arc<dyn Blobs>,
    errors: Counters<StorageError>,
}

impl Counted {
    /// Counts the failures of `store` in `errors`.
    pub fn new(store: Arc<dyn Blobs>, errors: Counters<StorageError>) -> Self {
        Self { store, errors }
    }

    async fn noted<T>(&self, outcome: BoxFuture<'_, Result<T, BlobError>>) -> Result<T, BlobError> {
        outcome.await.inspect_err(|error| {
            if let Some(fault) = Fault::of_blobs(error) {
                count(&self.errors, fault);
            }
        })
    }
}

fn count(errors: &Counters<StorageError>, fault: Fault) {
    errors.inc(StorageError {
        store: Store::Blobs,
        fault,
    });
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a default would pass the store below by"
)]
impl Blobs for Counted {
    fn append<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(self.noted(self.store.append(session, bytes, at_most, journal)))
    }

    fn append_last<'a>(
        &'a self,
        session: Session,
        bytes: ByteStream<'a>,
        at_most: u64,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Appended, BlobError>> {
        Box::pin(self.noted(self.store.append_last(session, bytes, at_most, journal)))
    }

    fn finish<'a>(
        &'a self,
        session: &'a Session,
        expected: &'a Digest,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        Box::pin(self.noted(self.store.finish(session, expected)))
    }

    fn put<'a>(
        &'a self,
        key: Key,
        bytes: ByteStream<'a>,
        at_most: u64,
        expected: &'a Digest,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Stored, BlobError>> {
        Box::pin(self.noted(self.store.put(key, bytes, at_most, expected, journal)))
    }

    fn abort<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(self.noted(self.store.abort(session)))
    }

    fn open<'a>(&'a self, key: &'a Key, range: Range<u64>) -> BoxFuture<'a, Result<Content, BlobError>> {
        Box::pin(async move {
            match self.noted(self.store.open(key, range)).await? {
                Content::Stream(stream) => {
                    let errors = self.errors.clone();
                    let noted = stream.inspect(move |piece| {
                        if piece.is_err() {
                            count(&errors, Fault::Other);
                        }
                    });
                    Ok(Content::Stream(Box::pin(noted)))
                }
                file @ Content::File { .. } => Ok(file),
            }
        })
    }

    fn presign<'a>(
        &'a self,
        key: &'a Key,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Option<String>, BlobError>> {
        Box::pin(self.noted(self.store.presign(key, lifetime)))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(self.noted(self.store.delete(key)))
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(self.noted(self.store.delete_many(keys)))
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(self.noted(self.store.ready()))
    }

    fn chunk_min_bytes(&self) -> Option<u64> {
        self.store.chunk_min_bytes()
    }
}
