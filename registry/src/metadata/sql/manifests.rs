//! Manifests: finding, removing, and who refers to them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::{RepositoryName, Tag};

use super::put_manifest::put_manifest;
use super::row::{Damaged, list, parsed, unsigned};
use super::tags::record_move;
use super::transaction::{Failure, Transaction};
use super::{Database, Remembered, SqlMetadata, manifest_key, tag_key};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{
    Answer, Error, Manifests, Page, Precondition, PutManifest, Referrer, ReferrersQuery, StoredManifest,
};

/// A manifest's row without its bytes.
struct Found {
    id: i64,
    digest: String,
    media_type: String,
}

/// A row of a referrers listing: digest, media type, size, artifact type, annotations.
type ReferrerColumns = (String, String, i64, Option<String>, Option<String>);

impl Database {
    /// Finds what a name (a tag's or a digest's, by the query) stands for.
    async fn named_manifest(
        &self,
        key: String,
        query: &'static str,
        repository: &RepositoryName,
        name: &str,
    ) -> Result<Option<Arc<StoredManifest>>, Error> {
        if let Some(Remembered::Manifest(manifest)) = self.remembered(&key).await? {
            return Ok(Some(manifest));
        }
        let moment = self.cache.moment();
        let mut reader = self.readers.lend().await?;
        let row = sqlx::query_as(query)
            .bind(repository.as_str())
            .bind(name)
            .fetch_optional(reader.db())
            .await;
        let row: Option<(i64, String, String)> = reader.done("finding a manifest", row)?;
        let Some((id, digest, media_type)) = row else {
            return Ok(None);
        };
        let manifest = self
            .manifest_of_row(Found {
                id,
                digest,
                media_type,
            })
            .await?;
        if let (Some(manifest), true) = (&manifest, self.dialect.serves_one_process()) {
            let remembered = Remembered::Manifest(Arc::clone(manifest));
            self.cache.remember(moment, &key, remembered, cost(manifest));
        }
        Ok(manifest)
    }

    /// Returns the manifest of a row. A row's bytes never change; its media type can, when a manifest that was deleted
    /// is pushed again under another one.
    async fn manifest_of_row(&self, found: Found) -> Result<Option<Arc<StoredManifest>>, Error> {
        let key = format!("={}", found.id);
        if let Some(Remembered::Manifest(manifest)) = self.cache.get(&key)
            && manifest.media_type == found.media_type
        {
            return Ok(Some(manifest));
        }
        let moment = self.cache.moment();
        let mut reader = self.readers.lend().await?;
        let bytes = sqlx::query_scalar("SELECT bytes FROM manifests WHERE id = $1")
            .bind(found.id)
            .fetch_optional(reader.db())
            .await;
        // Gone if it was forgotten since its row was seen: as if it had been before.
        let Some(bytes): Option<Vec<u8>> = reader.done("reading a manifest", bytes)? else {
            return Ok(None);
        };
        let digest = parsed("manifests.digest", &found.digest).map_err(|damaged| self.damaged(damaged))?;
        let manifest = Arc::new(StoredManifest {
            digest,
            media_type: found.media_type,
            bytes: Bytes::from(bytes),
        });
        // Where names are remembered, a second entry for the same bytes would only take their room.
        if !self.dialect.serves_one_process() {
            self.cache.remember(
                moment,
                &key,
                Remembered::Manifest(Arc::clone(&manifest)),
                cost(&manifest),
            );
        }
        Ok(Some(manifest))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        query: &ReferrersQuery,
    ) -> Result<Page<Referrer>, Error> {
        let mut items: Vec<Referrer> = Vec::new();
        let mut left = query.max_bytes;
        let mut after = query
            .after
            .as_ref()
            .map(|digest| digest.to_string())
            .unwrap_or_default();
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        // Few at a time: each may bring as many bytes as a manifest has.
        loop {
            let batch = self
                .some_referrers(repository, subject, &after, query.artifact_type.as_deref())
                .await?;
            let Some((last, ..)) = batch.last() else {
                return Ok(Page { items, more: false });
            };
            after.clone_from(last);
            for columns in batch {
                let referrer = referrer(columns).map_err(|damaged| self.damaged(damaged))?;
                let bytes = referrer.annotations.as_ref().map_or(0, String::len);
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                if items.len() >= limit || (bytes > left && !items.is_empty()) {
                    return Ok(Page { items, more: true });
                }
                left = left.saturating_sub(bytes);
                items.push(referrer);
            }
        }
    }

    async fn some_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        after: &str,
        artifact_type: Option<&str>,
    ) -> Result<Vec<ReferrerColumns>, Error> {
        let mut reader = self.readers.lend().await?;
        let rows = sqlx::query_as(
            "SELECT m.digest, m.media_type, m.size_bytes, m.artifact_type, m.annotations
             FROM repositories r JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = $1 AND m.subject = $2 AND m.digest > $3 AND m.deleted_ms IS NULL
             AND ($4 IS NULL OR m.artifact_type = $4) ORDER BY m.digest LIMIT 64",
        )
        .bind(repository.as_str())
        .bind(subject.as_str())
        .bind(after)
        .bind(artifact_type.map(super::row::without_nul))
        .fetch_all(reader.db())
        .await;
        reader.done("listing referrers", rows)
    }
}

/// Returns how many bytes a remembered manifest takes.
fn cost(manifest: &StoredManifest) -> usize {
    let texts = manifest
        .media_type
        .len()
        .saturating_add(manifest.digest.as_str().len());
    manifest
        .bytes
        .len()
        .saturating_add(texts)
        .saturating_add(size_of::<StoredManifest>())
}

fn referrer(
    (digest, media_type, size, artifact_type, annotations): ReferrerColumns,
) -> Result<Referrer, Damaged> {
    Ok(Referrer {
        digest: parsed("manifests.digest", &digest)?,
        media_type,
        size: unsigned("manifests.size_bytes", size)?,
        artifact_type,
        annotations,
    })
}

impl Manifests for SqlMetadata {
    fn manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Answer<'a, Option<Arc<StoredManifest>>> {
        let query = "SELECT m.id, m.digest, m.media_type
             FROM repositories r JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = $1 AND m.digest = $2 AND m.deleted_ms IS NULL";
        let key = manifest_key(repository, digest);
        self.database
            .named_manifest(key, query, repository, digest.as_str())
            .boxed()
    }

    fn manifest_by_tag<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tag: &'a Tag,
    ) -> Answer<'a, Option<Arc<StoredManifest>>> {
        let query = "SELECT m.id, m.digest, m.media_type
             FROM repositories r JOIN tags t ON t.repository_id = r.id JOIN manifests m ON m.id = t.manifest_id
             WHERE r.name = $1 AND t.name = $2";
        let key = tag_key(repository, tag.as_str());
        self.database
            .named_manifest(key, query, repository, tag.as_str())
            .boxed()
    }

    fn put_manifest(&self, put: PutManifest) -> Answer<'_, ()> {
        let put = Arc::new(put);
        self.database
            .write("storing a manifest", Durability::Full, move |transaction| {
                let put = Arc::clone(&put);
                Box::pin(async move { put_manifest(transaction, &put).await })
            })
            .boxed()
    }

    fn delete_manifest<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        precondition: Precondition,
        by: &'a str,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        let deletion = Arc::new(Deletion {
            repository: repository.clone(),
            digest: digest.clone(),
            precondition,
            by: by.to_owned(),
            now,
        });
        self.database
            .write("deleting a manifest", Durability::Full, move |transaction| {
                let deletion = Arc::clone(&deletion);
                Box::pin(async move { delete_manifest(transaction, &deletion).await })
            })
            .boxed()
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepositoryName,
        subject: &'a Digest,
        query: &'a ReferrersQuery,
    ) -> Answer<'a, Page<Referrer>> {
        self.database.referrers(repository, subject, query).boxed()
    }
}

struct Deletion {
    repository: RepositoryName,
    digest: Digest,
    precondition: Precondition,
    by: String,
    now: Timestamp,
}

async fn delete_manifest(transaction: &mut Transaction, deletion: &Deletion) -> Result<bool, Failure> {
    let Some(repository) = transaction.known_repository(&deletion.repository).await? else {
        return absent(&deletion.precondition);
    };
    let Some(manifest) = live_manifest(transaction, repository, &deletion.digest).await? else {
        return absent(&deletion.precondition);
    };
    if !deletion.precondition.holds(Some(&deletion.digest)) {
        let current = Some(deletion.digest.clone());
        return Err(Failure::Refused(Error::PreconditionFailed { current }));
    }
    // What is attached can have something attached itself.
    let mut doomed = vec![(manifest, deletion.digest.clone())];
    while let Some((manifest, digest)) = doomed.pop() {
        delete_one(transaction, deletion, repository, (manifest, &digest)).await?;
        doomed.extend(detach(transaction, deletion, repository, &digest).await?);
    }
    Ok(true)
}

async fn live_manifest(
    transaction: &mut Transaction,
    repository: i64,
    digest: &Digest,
) -> Result<Option<i64>, Failure> {
    let manifest = sqlx::query_scalar(
        "SELECT id FROM manifests WHERE repository_id = $1 AND digest = $2 AND deleted_ms IS NULL",
    )
    .bind(repository)
    .bind(digest.as_str())
    .fetch_optional(transaction.db())
    .await?;
    Ok(manifest)
}

/// Removes one manifest and its tags.
async fn delete_one(
    transaction: &mut Transaction,
    deletion: &Deletion,
    repository: i64,
    (manifest, digest): (i64, &Digest),
) -> Result<(), Failure> {
    transaction.forget(manifest_key(&deletion.repository, digest));
    let tags: Vec<String> = sqlx::query_scalar("DELETE FROM tags WHERE manifest_id = $1 RETURNING name")
        .bind(manifest)
        .fetch_all(transaction.db())
        .await?;
    for tag in tags {
        transaction.forget(tag_key(&deletion.repository, &tag));
        let moved = (Some(digest), None);
        record_move(transaction, repository, &tag, moved, &deletion.by, deletion.now).await?;
    }
    sqlx::query("UPDATE manifests SET deleted_ms = $1 WHERE id = $2")
        .bind(deletion.now.as_millis())
        .bind(manifest)
        .execute(transaction.db())
        .await?;
    Ok(())
}

/// What cosign adds to `sha256-…` in the tag of a signature, an attestation and an SBOM.
const ATTACHMENTS: [&str; 3] = [".sig", ".att", ".sbom"];

/// Removes the tags by which something is attached to a manifest that is gone. Returns the manifests that only those
/// tags pointed at.
async fn detach(
    transaction: &mut Transaction,
    deletion: &Deletion,
    repository: i64,
    subject: &Digest,
) -> Result<Vec<(i64, Digest)>, Failure> {
    let base = subject.as_str().replace(':', "-");
    let attached = transaction.sql(
        "SELECT t.name, m.id, m.digest FROM tags t JOIN manifests m ON m.id = t.manifest_id
         WHERE t.repository_id = $2 AND t.name IN {list} ORDER BY t.name",
    );
    let names = ATTACHMENTS.map(|attachment| format!("{base}{attachment}"));
    let attached: Vec<(String, i64, String)> = sqlx::query_as(attached)
        .bind(list(names.iter().map(String::as_str)))
        .bind(repository)
        .fetch_all(transaction.db())
        .await?;
    let mut left = Vec::new();
    for (tag, manifest, digest) in attached {
        let digest: Digest = parsed("manifests.digest", &digest)?;
        transaction.forget(tag_key(&deletion.repository, &tag));
        sqlx::query("DELETE FROM tags WHERE repository_id = $1 AND name = $2")
            .bind(repository)
            .bind(tag.as_str())
            .execute(transaction.db())
            .await?;
        let moved = (Some(&digest), None);
        record_move(transaction, repository, &tag, moved, &deletion.by, deletion.now).await?;
        let tags: i64 = sqlx::query_scalar("SELECT count(*) FROM tags WHERE manifest_id = $1")
            .bind(manifest)
            .fetch_one(transaction.db())
            .await?;
        if tags == 0 {
            left.push((manifest, digest));
        }
    }
    Ok(left)
}

/// Answers a deletion of what is not there.
pub(super) fn absent(precondition: &Precondition) -> Result<bool, Failure> {
    if precondition.holds(None) {
        Ok(false)
    } else {
        Err(Failure::Refused(Error::PreconditionFailed { current: None }))
    }
}
