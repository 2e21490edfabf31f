//! What can go wrong with objects.

use wharf_protocol::digest::Digest;

use super::{BodyError, Key};

/// Why a store did not do what it was asked. One variant a decision that a caller makes.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The bytes do not have the digest they were announced with.
    #[error("the content has the digest {computed}, not {expected}")]
    DigestMismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes.
        computed: Digest,
    },
    /// The stream holds more bytes than the caller allows.
    #[error("the content is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was given.
        limit_bytes: u64,
    },
    /// The stream of a [`super::Blobs::put`] broke off.
    #[error("the content broke off: {0}")]
    Cut(BodyError),
    /// The staged bytes of a session are gone, or fewer than its row says: the client must begin anew.
    #[error("the upload's staged bytes are gone")]
    SessionLost,
    /// Another call on the same session is under way.
    #[error("another request is writing to this upload")]
    Busy,
    /// The object is not there, or shorter than its row says.
    #[error("object {key} is missing or damaged")]
    Missing {
        /// The object's key.
        key: Key,
    },
    /// The storage has no space left. Nothing is lost, and it heals when there is space again.
    #[error("the storage is full")]
    Full,
    /// The disk failed to make written bytes durable. What the kernel has in memory can no longer be trusted to be on
    /// the disk, so nothing more is written until a restart; reads go on.
    #[error("writing is stopped since the disk failed to sync; see the log, repair the disk and restart")]
    WritesStopped,
    /// The storage, or what keeps a session's row, does not answer or asks for patience. It was asked several times; it
    /// may be later.
    #[error("{doing} {what}: no answer for now: {source}")]
    Unavailable {
        /// What was tried, as a gerund.
        doing: &'static str,
        /// On what.
        what: String,
        /// What was answered, or that nothing was.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else that the system or the cloud reported.
    #[error("{doing} {what}: {source}")]
    Io {
        /// What was tried, as a gerund: `opening`.
        doing: &'static str,
        /// On what: a path or an object's key.
        what: String,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BlobError {
    /// Wraps an error of the system with what was tried on what; no space becomes [`BlobError::Full`].
    pub fn io(doing: &'static str, what: impl std::fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(source.kind(), StorageFull | QuotaExceeded) {
            return Self::Full;
        }
        Self::Io {
            doing,
            what: what.to_string(),
            source: Box::new(source),
        }
    }
}
