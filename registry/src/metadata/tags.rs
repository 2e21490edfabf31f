//! Tags: names that move between manifests.

use wharf_protocol::digest::Digest;
use wharf_protocol::name::{RepositoryName, Tag};

use super::{Answer, Page, Precondition};
use crate::clock::Timestamp;

/// One move of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagMove {
    /// What it pointed at before, if it existed.
    pub from: Option<Digest>,
    /// What it pointed at afterwards; nothing if it was deleted.
    pub to: Option<Digest>,
    /// Who moved it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Tags of repositories. They are set by [`Manifests::put_manifest`](super::Manifests::put_manifest).
pub trait Tags {
    /// Lists tags in byte order, from the first one after `after` (which need not exist), `limit` at most.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`](super::Error::RepositoryUnknown) if the repository has never held anything.
    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Page<String>>;

    /// Removes the tag alone, never the manifest; returns whether it was there.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`](super::Error::PreconditionFailed).
    fn delete_tag<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tag: &'a Tag,
        precondition: Precondition,
        by: &'a str,
        now: Timestamp,
    ) -> Answer<'a, bool>;

    /// Lists a tag's moves, the latest first, `limit` at most. They outlive the tag.
    fn tag_history<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tag: &'a Tag,
        limit: u32,
    ) -> Answer<'a, Vec<TagMove>>;
}
