//! Storing a manifest with all that it names.

use std::collections::BTreeSet;

use wharf_protocol::digest::Digest;

use super::row::{list, parsed, signed, without_nul};
use super::tags::record_move;
use super::transaction::{Failure, Transaction};
use super::{manifest_key, tag_key};
use crate::metadata::{Error, PutManifest};

/// Does what [`Manifests::put_manifest`](crate::metadata::Manifests::put_manifest) says.
///
/// The repository's row is held from the start: so tags and manifests of one repository change one after the other,
/// and a child cannot go while the index that lists it comes.
pub(super) async fn put_manifest(transaction: &mut Transaction, put: &PutManifest) -> Result<(), Failure> {
    let repository = transaction.repository(&put.repository, put.now).await?;
    let moves = moves(transaction, repository, put).await?;
    let missing = missing(transaction, repository, put).await?;
    if !put.sparse && !missing.is_empty() {
        let missing = missing.into_iter().cloned().collect();
        return Err(Failure::Refused(Error::ReferencesMissing(missing)));
    }
    let manifest = store(transaction, repository, put, &missing).await?;
    for (tag, from) in moves {
        set_tag(transaction, repository, put, manifest, (tag, from)).await?;
    }
    if let Some(description) = &put.description {
        transaction.describe(repository, description).await?;
    }
    Ok(())
}

/// Verifies the precondition and returns the tags to move, with what each points at.
async fn moves<'p>(
    transaction: &mut Transaction,
    repository: i64,
    put: &'p PutManifest,
) -> Result<Vec<(&'p str, Option<Digest>)>, Failure> {
    let refused = |current| Failure::Refused(Error::PreconditionFailed { current });
    if put.tags.is_empty() {
        let there: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM manifests WHERE repository_id = $1 AND digest = $2 AND deleted_ms IS NULL",
        )
        .bind(repository)
        .bind(put.manifest.digest.as_str())
        .fetch_one(transaction.db())
        .await?;
        let current = (there > 0).then_some(&put.manifest.digest);
        return match put.precondition.holds(current) {
            true => Ok(Vec::new()),
            false => Err(refused(current.cloned())),
        };
    }
    let mut moves = Vec::with_capacity(put.tags.len());
    let distinct: BTreeSet<&str> = put.tags.iter().map(|tag| tag.as_str()).collect();
    for tag in distinct {
        let current: Option<String> = sqlx::query_scalar(
            "SELECT m.digest FROM tags t JOIN manifests m ON m.id = t.manifest_id
             WHERE t.repository_id = $1 AND t.name = $2",
        )
        .bind(repository)
        .bind(tag)
        .fetch_optional(transaction.db())
        .await?;
        let current: Option<Digest> = current
            .map(|digest| parsed("manifests.digest", &digest))
            .transpose()?;
        if !put.precondition.holds(current.as_ref()) {
            return Err(refused(current));
        }
        if current.as_ref() != Some(&put.manifest.digest) {
            moves.push((tag, current));
        }
    }
    Ok(moves)
}

/// Holds the blobs that the manifest names and returns what the repository does not have of all that it names, blobs
/// first. Of a sparse manifest only the blobs are looked for: children are kept by digest whether they are there or not.
async fn missing<'p>(
    transaction: &mut Transaction,
    repository: i64,
    put: &'p PutManifest,
) -> Result<Vec<&'p Digest>, Failure> {
    let blobs = list(put.references.blobs.iter().map(Digest::as_str));
    // Two queries: what the second one reads must have been committed after the first one has waited.
    let held = transaction.sql("SELECT id FROM blobs WHERE digest IN {list} ORDER BY digest {for share}");
    sqlx::query(held)
        .bind(blobs.as_str())
        .execute(transaction.db())
        .await?;
    // CROSS JOIN keeps SQLite to this order: a repository's links can be a million, what a manifest names is few.
    let linked = transaction.sql(
        "SELECT b.digest FROM {list} AS list CROSS JOIN blobs b CROSS JOIN repository_blobs rb
         WHERE b.digest = list.value AND b.condemned_ms IS NULL AND rb.repository_id = $2 AND rb.blob_id = b.id",
    );
    let linked: BTreeSet<String> = sqlx::query_scalar(linked)
        .bind(blobs)
        .bind(repository)
        .fetch_all(transaction.db())
        .await?
        .into_iter()
        .collect();
    let mut missing: Vec<&Digest> = Vec::new();
    missing.extend(
        put.references
            .blobs
            .iter()
            .filter(|blob| !linked.contains(blob.as_str())),
    );
    if !put.sparse && !put.references.children.is_empty() {
        let held = transaction.sql(
            "SELECT digest FROM manifests WHERE repository_id = $2 AND deleted_ms IS NULL AND digest IN {list}",
        );
        let held: BTreeSet<String> = sqlx::query_scalar(held)
            .bind(list(put.references.children.iter().map(Digest::as_str)))
            .bind(repository)
            .fetch_all(transaction.db())
            .await?
            .into_iter()
            .collect();
        missing.extend(
            put.references
                .children
                .iter()
                .filter(|child| !held.contains(child.as_str())),
        );
    }
    let mut reported = BTreeSet::new();
    missing.retain(|digest| reported.insert(digest.as_str()));
    Ok(missing)
}

/// Inserts the manifest with its references, or brings one back that was deleted; returns its row's number.
async fn store(
    transaction: &mut Transaction,
    repository: i64,
    put: &PutManifest,
    absent: &[&Digest],
) -> Result<i64, Failure> {
    transaction.forget(manifest_key(&put.repository, &put.manifest.digest));
    let there: Option<(i64, Option<i64>)> =
        sqlx::query_as("SELECT id, deleted_ms FROM manifests WHERE repository_id = $1 AND digest = $2")
            .bind(repository)
            .bind(put.manifest.digest.as_str())
            .fetch_optional(transaction.db())
            .await?;
    match there {
        Some((id, None)) => Ok(id),
        Some((id, Some(_))) => {
            bring_back(transaction, id, put).await?;
            // Its references are still there, for it could have been restored; but blobs may have left the repository.
            if !absent.is_empty() {
                forget_references(transaction, id).await?;
                refer(transaction, id, put, absent).await?;
            }
            Ok(id)
        }
        None => {
            let id = insert(transaction, repository, put).await?;
            refer(transaction, id, put, absent).await?;
            Ok(id)
        }
    }
}

async fn insert(transaction: &mut Transaction, repository: i64, put: &PutManifest) -> Result<i64, Failure> {
    let size = u64::try_from(put.manifest.bytes.len()).unwrap_or(u64::MAX);
    let id = sqlx::query_scalar(
        "INSERT INTO manifests (repository_id, digest, media_type, size_bytes, subject, artifact_type, annotations,
         created_ms, pushed_by, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id",
    )
    .bind(repository)
    .bind(put.manifest.digest.as_str())
    .bind(put.manifest.media_type.as_str())
    .bind(signed(size))
    .bind(put.references.subject.as_ref().map(Digest::as_str))
    .bind(put.artifact_type.as_deref().map(without_nul))
    .bind(put.annotations.as_deref())
    .bind(put.now.as_millis())
    .bind(put.by.as_str())
    .bind(put.manifest.bytes.to_vec())
    .fetch_one(transaction.db())
    .await?;
    Ok(id)
}

async fn bring_back(transaction: &mut Transaction, id: i64, put: &PutManifest) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE manifests SET deleted_ms = NULL, media_type = $1, artifact_type = $2, created_ms = $3,
         pushed_by = $4 WHERE id = $5",
    )
    .bind(put.manifest.media_type.as_str())
    .bind(put.artifact_type.as_deref().map(without_nul))
    .bind(put.now.as_millis())
    .bind(put.by.as_str())
    .bind(id)
    .execute(transaction.db())
    .await?;
    Ok(())
}

async fn forget_references(transaction: &mut Transaction, manifest: i64) -> Result<(), Failure> {
    for forget in [
        "DELETE FROM manifest_blobs WHERE manifest_id = $1",
        "DELETE FROM absent_blobs WHERE manifest_id = $1",
        "DELETE FROM manifest_children WHERE manifest_id = $1",
    ] {
        sqlx::query(forget)
            .bind(manifest)
            .execute(transaction.db())
            .await?;
    }
    Ok(())
}

/// Writes down what the manifest names: blobs of the repository by their rows, all else by digest.
async fn refer(
    transaction: &mut Transaction,
    manifest: i64,
    put: &PutManifest,
    absent: &[&Digest],
) -> Result<(), Failure> {
    let absent = texts(absent.iter().copied());
    let blobs = texts(&put.references.blobs)
        .difference(&absent)
        .copied()
        .collect();
    let children = texts(&put.references.children);
    for (digests, sql) in [
        (
            blobs,
            "INSERT INTO manifest_blobs (manifest_id, blob_id) SELECT $2, id FROM blobs WHERE digest IN {list}",
        ),
        (
            absent,
            "INSERT INTO absent_blobs (manifest_id, digest) SELECT $2, list.value FROM {list} AS list",
        ),
        (
            children,
            "INSERT INTO manifest_children (manifest_id, child) SELECT $2, list.value FROM {list} AS list",
        ),
    ] {
        if digests.is_empty() {
            continue;
        }
        let sql = transaction.sql(sql);
        sqlx::query(sql)
            .bind(list(digests))
            .bind(manifest)
            .execute(transaction.db())
            .await?;
    }
    Ok(())
}

/// The digests' texts, each once.
fn texts<'d>(digests: impl IntoIterator<Item = &'d Digest>) -> BTreeSet<&'d str> {
    digests.into_iter().map(Digest::as_str).collect()
}

async fn set_tag(
    transaction: &mut Transaction,
    repository: i64,
    put: &PutManifest,
    manifest: i64,
    (tag, from): (&str, Option<Digest>),
) -> Result<(), Failure> {
    transaction.forget(tag_key(&put.repository, tag));
    sqlx::query(
        "INSERT INTO tags (repository_id, name, manifest_id, moved_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = excluded.manifest_id,
         moved_ms = excluded.moved_ms",
    )
    .bind(repository)
    .bind(tag)
    .bind(manifest)
    .bind(put.now.as_millis())
    .execute(transaction.db())
    .await?;
    let moved = (from.as_ref(), Some(&put.manifest.digest));
    record_move(transaction, repository, tag, moved, &put.by, put.now).await
}
