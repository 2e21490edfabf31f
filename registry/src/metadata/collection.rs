//! What is on its way out: condemned blobs, and objects that nothing points at any more.

use std::time::Duration;

use wharf_protocol::digest::Digest;

use super::Answer;
use crate::clock::Timestamp;

/// A blob that no longer exists for anybody, whose object is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondemnedBlob {
    /// Its digest.
    pub digest: Digest,
    /// The key of its object.
    pub object_key: String,
    /// How many bytes it has.
    pub size: u64,
    /// Goes up when a push gives the digest another object.
    pub generation: i64,
}

/// An object that no blob points at: a push that was not needed, or bytes that a later push replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadObject {
    /// Its key.
    pub object_key: String,
    /// When it died.
    pub since: Timestamp,
}

/// The way out. Every step can be repeated after a crash, and none can reach the bytes of a later push: an object's
/// key is never used again.
pub trait Collection {
    /// Removes the rows of manifests that were deleted at `before` or earlier, so that they can no longer be restored;
    /// `limit` at most. Returns how many.
    fn forget_deleted_manifests(&self, before: Timestamp, limit: u32) -> Answer<'_, u64>;

    /// Condemns blobs that no manifest names (a deleted one names them until it is forgotten), no repository holds and no lease keeps; `limit` at most. Each is condemned
    /// in a transaction that holds its row.
    ///
    /// With `unlinked_after`, a repository's hold on a blob that no manifest of that repository names, and whose lease
    /// ended that long ago, is ended first: what was pushed and never used.
    fn condemn_blobs(
        &self,
        now: Timestamp,
        unlinked_after: Option<Duration>,
        limit: u32,
    ) -> Answer<'_, Vec<CondemnedBlob>>;

    /// Lists blobs condemned at `before` or earlier, the oldest first.
    fn condemned_blobs(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<CondemnedBlob>>;

    /// Removes the row of a condemned blob whose object has been deleted; returns whether it was there in this
    /// generation.
    fn forget_blob<'a>(&'a self, blob: &'a CondemnedBlob) -> Answer<'a, bool>;

    /// Adds an object to delete: one that a failed or ended upload left behind.
    fn add_dead_object<'a>(&'a self, object_key: &'a str, now: Timestamp) -> Answer<'a, ()>;

    /// Lists objects that died at `before` or earlier, the oldest first.
    fn dead_objects(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<DeadObject>>;

    /// Removes a dead object from the list once it has been deleted.
    fn forget_object<'a>(&'a self, object_key: &'a str) -> Answer<'a, ()>;
}
