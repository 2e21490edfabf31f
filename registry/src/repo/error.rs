//! Why a rule refuses something, or what failed underneath.

use wharf_protocol::digest::Digest;
use wharf_protocol::manifest::ManifestError;
use wharf_protocol::media_type::MediaType;
use wharf_protocol::name::RepositoryName;
use wharf_protocol::reference::Reference;

use crate::blobs::{BlobError, BodyError};
use crate::metadata;

/// Any error, kept for the log.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something was not done. Each variant is answered in its own way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository has never held anything.
    #[error("there is no repository {name}")]
    NameUnknown {
        /// Its name.
        name: RepositoryName,
    },
    /// The repository holds no such manifest.
    #[error("there is no manifest {reference} in {name}")]
    ManifestUnknown {
        /// The repository.
        name: RepositoryName,
        /// What was asked for.
        reference: Reference,
    },
    /// The repository holds no such blob.
    #[error("there is no blob {digest} in {name}")]
    BlobUnknown {
        /// The repository.
        name: RepositoryName,
        /// What was asked for.
        digest: Digest,
    },
    /// There is no such upload in the repository, or it has ended.
    #[error("there is no such upload, or it has ended: begin a new one")]
    UploadUnknown,
    /// Another request writes to the upload.
    #[error("another request is writing to this upload: wait for its answer")]
    UploadBusy,
    /// A chunk does not begin where the upload stands.
    #[error("the chunk begins at byte {first}, the upload stands at {offset}")]
    ChunkOutOfOrder {
        /// The repository.
        name: RepositoryName,
        /// The upload.
        id: String,
        /// Where the chunk begins.
        first: u64,
        /// Where the upload stands.
        offset: u64,
    },
    /// A body is longer or shorter than was announced.
    #[error("{announced} bytes were announced, and {received} came")]
    LengthMismatch {
        /// What was announced.
        announced: u64,
        /// What came, or that it was more.
        received: String,
    },
    /// A request's body broke off.
    #[error("the request's body broke off: {0}")]
    BodyCut(BodyError),
    /// Too many uploads are open.
    #[error("{limit} uploads are open, as many as limits.uploads_per_user allows: finish or cancel some")]
    TooManyUploads {
        /// The limit.
        limit: u32,
    },
    /// The bytes have another digest than was said.
    #[error("the content's digest is {computed}, not {expected}")]
    DigestMismatch {
        /// What was said.
        expected: Digest,
        /// What they have.
        computed: Digest,
    },
    /// The manifest's bytes are more than allowed.
    #[error("the manifest is larger than the {limit} bytes of limits.manifest_bytes")]
    ManifestTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The bytes are not a manifest that is taken.
    #[error(transparent)]
    ManifestInvalid(ManifestError),
    /// A manifest of a media type that no setting allows.
    #[error(
        "manifests of the type {media_type} are not taken: add it to the setting media_types to allow it"
    )]
    MediaTypeRefused {
        /// The type.
        media_type: MediaType,
    },
    /// The manifest names content that is not in the repository.
    #[error("the manifest names {} blobs or manifests that are not in this repository", .0.len())]
    ReferencesMissing(Vec<Digest>),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the tag is not where the request says it is")]
    PreconditionFailed {
        /// What is there.
        current: Option<Digest>,
    },
    /// A manifest still names the blob.
    #[error("the manifest {manifest} names this blob: delete that first")]
    BlobInUse {
        /// One that does.
        manifest: Digest,
    },
    /// Deleting is switched off.
    #[error("deleting is switched off on this registry (the setting deletes)")]
    DeletesOff,
    /// There is no space. Nothing is lost.
    #[error("the registry's storage is full")]
    Full(#[source] Cause),
    /// The disk failed; nothing is written until a restart.
    #[error("the registry does not take writes at present")]
    WritesStopped(#[source] Cause),
    /// The database or the storage does not answer; later it may.
    #[error("the registry's database or storage does not answer")]
    Unavailable(#[source] Cause),
    /// Anything else that nobody decides by.
    #[error("an internal error: {doing}")]
    Fault {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: Cause,
    },
}

impl Error {
    /// Wraps what nobody decides by.
    pub(crate) fn fault(doing: &'static str, source: impl Into<Cause>) -> Self {
        Self::Fault {
            doing,
            source: source.into(),
        }
    }
}

impl From<metadata::Error> for Error {
    fn from(error: metadata::Error) -> Self {
        use metadata::Error as M;
        match error {
            M::ReferencesMissing(digests) => Self::ReferencesMissing(digests),
            M::PreconditionFailed { current } => Self::PreconditionFailed { current },
            M::BlobInUse { manifest } => Self::BlobInUse { manifest },
            M::UploadUnknown => Self::UploadUnknown,
            M::UploadBusy => Self::UploadBusy,
            M::TooManyUploads { limit } => Self::TooManyUploads { limit },
            error @ M::Unavailable(_) => Self::Unavailable(error.into()),
            error @ M::Full(_) => Self::Full(error.into()),
            error @ M::WritesStopped(_) => Self::WritesStopped(error.into()),
            // The callers that can meet these look for them first.
            error @ (M::RepositoryUnknown
            | M::UploadMoved { .. }
            | M::UserExists(_)
            | M::UserUnknown(_)
            | M::Newer { .. }
            | M::Corrupt { .. }
            | M::Open { .. }
            | M::Io { .. }) => Self::fault("the database", error),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::DigestMismatch { expected, computed } => Self::DigestMismatch { expected, computed },
            BlobError::TooLarge { limit_bytes } => Self::LengthMismatch {
                announced: limit_bytes,
                received: "more".to_owned(),
            },
            BlobError::Cut(cause) => Self::BodyCut(cause),
            BlobError::SessionLost => Self::UploadUnknown,
            BlobError::Busy => Self::UploadBusy,
            error @ BlobError::Full => Self::Full(error.into()),
            error @ BlobError::Unavailable { .. } => Self::Unavailable(error.into()),
            error @ BlobError::WritesStopped => Self::WritesStopped(error.into()),
            error @ (BlobError::Missing { .. } | BlobError::Io { .. }) => Self::fault("the storage", error),
        }
    }
}
