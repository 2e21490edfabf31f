//! Manifests: their bytes, what they name, and what names them.

use std::sync::Arc;

use bytes::Bytes;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::{RepositoryName, Tag};

use super::{Answer, Description, Page};
use crate::clock::Timestamp;

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest it was pushed under.
    pub digest: Digest,
    /// Its media type, without parameters.
    pub media_type: String,
    /// The bytes, exactly.
    pub bytes: Bytes,
}

/// What a manifest names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredReferences {
    /// The blobs it needs: config and layers, but for non-distributable and foreign ones. Any order, repeats allowed.
    pub blobs: Vec<Digest>,
    /// The manifests it lists: an index's.
    pub children: Vec<Digest>,
    /// The manifest it is about, which need not exist.
    pub subject: Option<Digest>,
}

/// What must be true of a tag (or, in a push by digest without tags, of the manifest) for a change to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`: it does not exist.
    Absent,
    /// `If-None-Match: "digest", …`: it is none of these, or does not exist.
    NoneOf(Vec<Digest>),
    /// `If-Match: *`: it exists.
    Exists,
    /// `If-Match: "digest", …`: it is one of these.
    OneOf(Vec<Digest>),
}

impl Precondition {
    /// Returns whether it holds where `current` is what is there.
    pub fn holds(&self, current: Option<&Digest>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::NoneOf(digests) => current.is_none_or(|current| !digests.contains(current)),
            Self::Exists => current.is_some(),
            Self::OneOf(digests) => current.is_some_and(|current| digests.contains(current)),
        }
    }
}

/// A manifest to store, read and checked by the caller.
#[derive(Debug, Clone)]
pub struct PutManifest {
    /// Where it is pushed.
    pub repository: RepositoryName,
    /// The manifest.
    pub manifest: StoredManifest,
    /// What it names.
    pub references: StoredReferences,
    /// What referrers listings say it is: the manifest's `artifactType`, else an image's `config.mediaType`.
    pub artifact_type: Option<String>,
    /// Its annotations as the JSON object that referrers listings show; `None` if it has none.
    pub annotations: Option<String>,
    /// The tags that shall point at it, all of them or none.
    pub tags: Vec<Tag>,
    /// What must hold of each of the tags.
    pub precondition: Precondition,
    /// Whether it may name manifests and blobs that the repository does not hold. A blob that comes later is named by
    /// it from then on, as if it had been there.
    pub sparse: bool,
    /// What it says of the repository; an annotation's or a label's, see [`DescriptionSource`](super::DescriptionSource).
    pub description: Option<Description>,
    /// Who pushes: the tag history keeps it.
    pub by: String,
    /// The present moment.
    pub now: Timestamp,
}

/// Which referrers to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferrersQuery {
    /// Only those of this artifact type.
    pub artifact_type: Option<String>,
    /// Only those after this one.
    pub after: Option<Digest>,
    /// How many at most.
    pub limit: u32,
    /// How many bytes of annotations at most; one referrer is listed whatever it brings.
    pub max_bytes: u64,
}

/// A manifest whose subject is the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// What it is, as [`PutManifest::artifact_type`] said.
    pub artifact_type: Option<String>,
    /// Its annotations, as [`PutManifest::annotations`] said.
    pub annotations: Option<String>,
}

/// Manifests of repositories.
pub trait Manifests {
    /// Finds a manifest by its digest.
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Answer<'a, Option<Arc<StoredManifest>>>;

    /// Finds the manifest that a tag points at.
    fn manifest_by_tag<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tag: &'a Tag,
    ) -> Answer<'a, Option<Arc<StoredManifest>>>;

    /// Stores a manifest with all that it names, and points the tags at it, each move a row of the tag's history. All
    /// in one transaction, which locks the blobs in the order of their digests, so that none is condemned meanwhile.
    ///
    /// A manifest that is there already keeps its bytes and media type; its tags are set all the same. A tag that
    /// points at it already has no new row in its history.
    ///
    /// # Errors
    /// In this order: [`Error::PreconditionFailed`](super::Error::PreconditionFailed) with what the first failing tag
    /// points at, [`Error::ReferencesMissing`](super::Error::ReferencesMissing), unless `sparse`, with every blob and
    /// every child that the repository does not hold.
    fn put_manifest(&self, put: PutManifest) -> Answer<'_, ()>;

    /// Removes a manifest and every tag that points at it; returns whether it was there.
    ///
    /// Indexes that list it and referrers that are about it stay. What is attached to it by cosign's tags
    /// (`sha256-….sig`, `.att`, `.sbom`) goes with it, unless another tag points there. What it held stays restorable
    /// until it is collected.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`](super::Error::PreconditionFailed).
    fn delete_manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        precondition: Precondition,
        by: &'a str,
        now: Timestamp,
    ) -> Answer<'a, bool>;

    /// Lists the manifests of the repository whose subject is this digest, in the byte order of their digests. Empty
    /// for an unknown repository; the subject need not exist.
    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        subject: &'a Digest,
        query: &'a ReferrersQuery,
    ) -> Answer<'a, Page<Referrer>>;
}
