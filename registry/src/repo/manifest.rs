//! Manifests: reading, pushing, deleting.

use std::sync::Arc;

use bytes::Bytes;
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::manifest::{Manifest, ManifestError};
use wharf_protocol::media_type::ManifestKind;
use wharf_protocol::name::Tag;
use wharf_protocol::reference::Reference;

use super::{Advice, Error, Repo, to_the_end};
use crate::auth::Authorized;
use crate::metadata::{PutManifest, StoredManifest, StoredReferences};
use crate::operation::{DeleteManifest, ReadManifest, WriteManifest};

/// A manifest that was pushed.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its digest.
    pub digest: Digest,
    /// The manifest it is about.
    pub subject: Option<Digest>,
    /// What whoever pushed it should know.
    pub advice: Vec<Advice>,
}

impl Repo {
    /// Finds a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::NameUnknown`].
    pub async fn manifest(&self, read: &Authorized<ReadManifest>) -> Result<Arc<StoredManifest>, Error> {
        let ReadManifest { name, reference, .. } = read.operation();
        let found = match reference {
            Reference::Tag(tag) => self.metadata.manifest_by_tag(name, tag).await?,
            Reference::Digest(digest) => self.metadata.manifest(name, digest).await?,
        };
        match found {
            Some(manifest) => Ok(manifest),
            None => {
                let unknown = Error::ManifestUnknown {
                    name: name.clone(),
                    reference: reference.clone(),
                };
                Err(self.unknown(name, unknown).await)
            }
        }
    }

    /// Stores a manifest and points its tags at it, all or nothing.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::ManifestTooLarge`], [`Error::MediaTypeRefused`],
    /// [`Error::DigestMismatch`], [`Error::ReferencesMissing`], [`Error::PreconditionFailed`].
    pub async fn write_manifest(
        self: &Arc<Self>,
        write: Authorized<WriteManifest>,
        body: Bytes,
    ) -> Result<Written, Error> {
        let repo = Arc::clone(self);
        to_the_end(async move {
            let operation = write.operation();
            let manifest = repo.parse(body, operation)?;
            let (digest, tags) = agreed_digest(&manifest, operation)?;
            let advice = Advice::of_push(&operation.name, &tags, &manifest);
            let description = repo.describe(&operation.name, &manifest).await?;
            let put = PutManifest {
                repository: operation.name.clone(),
                manifest: StoredManifest {
                    digest: digest.clone(),
                    media_type: manifest.media_type().to_string(),
                    bytes: manifest.bytes().clone(),
                },
                references: references(&manifest),
                artifact_type: manifest.effective_artifact_type().map(str::to_owned),
                annotations: annotations(&manifest)?,
                tags,
                precondition: operation.precondition.clone(),
                sparse: repo.rules.sparse_manifests,
                description,
                by: write.grants().name().to_owned(),
                now: repo.clock.now(),
            };
            repo.metadata.put_manifest(put).await?;
            Ok(Written {
                digest,
                subject: manifest.subject().map(|subject| subject.digest.clone()),
                advice,
            })
        })
        .await
    }

    fn parse(&self, body: Bytes, write: &WriteManifest) -> Result<Manifest, Error> {
        let limits = &self.rules.manifest;
        let manifest =
            Manifest::parse(body, write.content_type.as_ref(), limits).map_err(|error| match error {
                ManifestError::TooLarge { max_bytes, .. } => Error::ManifestTooLarge { limit: max_bytes },
                error => Error::ManifestInvalid(error),
            })?;
        let media_type = manifest.media_type();
        let allowed = self
            .rules
            .media_types
            .iter()
            .any(|allowed| allowed == media_type.as_str());
        if manifest.kind() == ManifestKind::Other && !allowed {
            return Err(Error::MediaTypeRefused {
                media_type: media_type.clone(),
            });
        }
        Ok(manifest)
    }

    /// Deletes a tag alone, or a manifest with all its tags.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::NameUnknown`], [`Error::PreconditionFailed`], [`Error::DeletesOff`].
    pub async fn delete_manifest(self: &Arc<Self>, delete: Authorized<DeleteManifest>) -> Result<(), Error> {
        if !self.rules.deletes {
            return Err(Error::DeletesOff);
        }
        let repo = Arc::clone(self);
        to_the_end(async move {
            let DeleteManifest {
                name,
                reference,
                precondition,
            } = delete.operation();
            let (by, now) = (delete.grants().name(), repo.clock.now());
            let done = match reference {
                Reference::Tag(tag) => {
                    repo.metadata
                        .delete_tag(name, tag, precondition.clone(), by, now)
                        .await
                }
                Reference::Digest(digest) => {
                    repo.metadata
                        .delete_manifest(name, digest, precondition.clone(), by, now)
                        .await
                }
            };
            if done? {
                return Ok(());
            }
            let unknown = Error::ManifestUnknown {
                name: name.clone(),
                reference: reference.clone(),
            };
            Err(repo.unknown(name, unknown).await)
        })
        .await
    }
}

/// The digest that the path names must be that of the bytes; a tag names none, and gets the common algorithm's.
fn agreed_digest(manifest: &Manifest, write: &WriteManifest) -> Result<(Digest, Vec<Tag>), Error> {
    match &write.reference {
        Reference::Tag(tag) => Ok((manifest.digest(Algorithm::Sha256), vec![tag.clone()])),
        Reference::Digest(expected) => {
            let computed = manifest.digest(expected.algorithm());
            if computed != *expected {
                return Err(Error::DigestMismatch {
                    expected: expected.clone(),
                    computed,
                });
            }
            let mut tags = write.tags.clone();
            tags.sort();
            tags.dedup();
            Ok((computed, tags))
        }
    }
}

/// What must be in the repository for the manifest to be whole.
fn references(manifest: &Manifest) -> StoredReferences {
    let layers = manifest
        .layers()
        .iter()
        .filter(|layer| !layer.media_type.is_non_distributable());
    StoredReferences {
        blobs: manifest
            .config()
            .into_iter()
            .chain(layers)
            .map(|blob| blob.digest.clone())
            .collect(),
        children: manifest
            .manifests()
            .iter()
            .map(|child| child.digest.clone())
            .collect(),
        subject: manifest.subject().map(|subject| subject.digest.clone()),
    }
}

fn annotations(manifest: &Manifest) -> Result<Option<String>, Error> {
    if manifest.annotations().is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(manifest.annotations());
    text.map(Some)
        .map_err(|error| Error::fault("writing annotations down", error))
}
