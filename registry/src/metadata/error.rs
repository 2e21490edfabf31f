//! What the metadata refuses, and what can go wrong with a database.

use std::sync::Arc;

use wharf_protocol::digest::Digest;

/// Why a method of [`Metadata`](super::Metadata) did nothing. Nothing of a refused or failed call is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A manifest names blobs or manifests that its repository does not hold. All of them, in the manifest's order.
    #[error("{} of the content it names is not in the repository", .0.len())]
    ReferencesMissing(Vec<Digest>),
    /// The caller's [`Precondition`](super::Precondition) does not hold.
    #[error("the precondition does not hold")]
    PreconditionFailed {
        /// What is there instead, or nothing.
        current: Option<Digest>,
    },
    /// The repository has never held anything.
    #[error("no such repository")]
    RepositoryUnknown,
    /// A manifest of the repository still names the blob.
    #[error("the manifest {manifest} names it")]
    BlobInUse {
        /// One of the manifests that name it.
        manifest: Digest,
    },
    /// There is no such upload session, or it has expired.
    #[error("no such upload session")]
    UploadUnknown,
    /// Another writer holds the session, or held it until its claim was taken over.
    #[error("another request writes to this upload session")]
    UploadBusy,
    /// The session stands at another offset than the caller says.
    #[error("the upload session stands at {offset} bytes")]
    UploadMoved {
        /// Where it stands.
        offset: u64,
    },
    /// The user has as many open sessions as allowed.
    #[error("{limit} upload sessions are open already")]
    TooManyUploads {
        /// How many are allowed.
        limit: u32,
    },
    /// A user of that name exists.
    #[error("the user {0} exists already")]
    UserExists(String),
    /// There is no such user.
    #[error("no such user: {0}")]
    UserUnknown(String),
    /// The database cannot be reached or is too busy. Trying again later may help. Whether a write that fails so has
    /// happened is unknown if the connection broke while it was committed: an object it named must not be deleted.
    #[error("the database does not answer: {0}")]
    Unavailable(Arc<str>),
    /// The database's disk is full. Reads go on; writes do once there is space.
    #[error("the database's disk is full: {0}")]
    Full(Arc<str>),
    /// The disk failed while something was written. Reads go on; writes are refused until the server is restarted,
    /// because what the disk holds is unknown after a failed flush.
    #[error("the database's disk failed, nothing is written until a restart: {0}")]
    WritesStopped(Arc<str>),
    /// The database cannot be opened.
    #[error("cannot open the database {database}: {detail}: {way_out}")]
    Open {
        /// Which database.
        database: String,
        /// What the database said.
        detail: Arc<str>,
        /// What its operator can do.
        way_out: &'static str,
    },
    /// The database was made by a later version of the registry.
    #[error(
        "{database} was made by a newer wharf-registry (its schema is {found}, this program knows {known}): \
         run that version or a later one, or restore the copy made before the upgrade"
    )]
    Newer {
        /// Which database.
        database: String,
        /// Its version of the schema.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The database is damaged or is not the registry's.
    #[error("{database} is damaged or is no database of wharf-registry ({detail}): {way_out}")]
    Corrupt {
        /// Which database.
        database: String,
        /// What the database said.
        detail: Arc<str>,
        /// What its operator can do.
        way_out: &'static str,
    },
    /// Anything else; nobody decides anything by it.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: Arc<sqlx::Error>,
    },
}
