//! Blobs: which object holds a digest's bytes, and which repositories hold the blob.

use std::time::Duration;

use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;

use super::{Answer, UploadClaim, Visible};
use crate::clock::Timestamp;

/// How long a blob stays though nothing refers to it: from `now` for at least `keep`.
///
/// A call that takes one leaves the blob's lease at `now + keep` or later. To spare writes it may set it later than
/// asked (up to twice as far), and then leave it as it is while it is far enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The present moment.
    pub now: Timestamp,
    /// How long the blob must stay.
    pub keep: Duration,
}

/// A blob of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// The key of the object that holds its bytes: `blobs/<ulid>`, never the digest, never used again.
    pub object_key: String,
    /// How many bytes it has.
    pub size: u64,
}

/// A blob whose bytes are durable and whose digest agreed.
#[derive(Debug, Clone)]
pub struct CommitBlob {
    /// Where it was pushed.
    pub repository: RepositoryName,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The object that holds them.
    pub object_key: String,
    /// How many there are.
    pub size: u64,
    /// The session that brought them; it ends with the commit.
    pub upload: Option<UploadClaim>,
    /// How long the blob stays until a manifest names it.
    pub lease: Lease,
}

/// What a commit made of the pushed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedBlob {
    /// The blob as it is now. Its key is another than the pushed one if the bytes were there already.
    pub blob: Blob,
    /// Whether the pushed object was not needed. It is among the dead objects then, to be deleted at once.
    pub redundant: bool,
}

/// Where a mount takes its blob from.
#[derive(Debug, Clone)]
pub enum MountSource {
    /// This repository, which the caller may read.
    Repository(RepositoryName),
    /// Any repository that the caller may read.
    Anywhere(Visible),
}

/// A blob that another repository holds and this one shall hold as well.
#[derive(Debug, Clone)]
pub struct MountBlob {
    /// The repository that shall hold it.
    pub into: RepositoryName,
    /// Where it is.
    pub from: MountSource,
    /// Which blob.
    pub digest: Digest,
    /// How long the blob stays until a manifest names it.
    pub lease: Lease,
}

/// Blobs and the links between them and repositories.
///
/// A repository holds a blob from the push or the mount that brought it until [`unlink_blob`](Self::unlink_blob).
/// That another repository holds the same bytes is seen by nobody.
pub trait BlobRows {
    /// Finds a blob that the repository holds.
    fn blob<'a>(&'a self, repository: &'a RepositoryName, digest: &'a Digest) -> Answer<'a, Option<Blob>>;

    /// Finds a blob that the repository holds and extends its lease: for every answer by which a client learns that
    /// it need not upload.
    fn claim_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        lease: Lease,
    ) -> Answer<'a, Option<Blob>>;

    /// Makes a pushed object a blob of the repository, extends its lease, and ends the upload session.
    ///
    /// If the bytes are there already, under whatever key, that object stays the blob's and the pushed one becomes
    /// dead. If the blob there was condemned, the pushed object replaces its object, which becomes dead, and the
    /// generation goes up by one. Of two commits of one blob at the same time one is first.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`](super::Error::UploadUnknown) or [`Error::UploadBusy`](super::Error::UploadBusy) if
    /// the session is gone or no longer the caller's: nothing is committed then, and the object is the caller's to
    /// delete.
    fn commit_blob(&self, commit: CommitBlob) -> Answer<'_, CommittedBlob>;

    /// Lets one repository hold a blob that another one holds, and extends its lease. `None` if the source does not
    /// hold it; nothing is made then. Into a repository that holds it already it is found wherever the source is.
    fn mount_blob(&self, mount: MountBlob) -> Answer<'_, Option<Blob>>;

    /// Ends a repository's hold on a blob; returns whether it held it. The bytes stay until nothing refers to them.
    ///
    /// # Errors
    /// [`Error::BlobInUse`](super::Error::BlobInUse) while a manifest of this repository names the blob; one of
    /// another repository does not matter.
    fn unlink_blob<'a>(&'a self, repository: &'a RepositoryName, digest: &'a Digest) -> Answer<'a, bool>;
}
