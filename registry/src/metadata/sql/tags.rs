//! Tags and their history.

use std::sync::Arc;

use futures_util::FutureExt as _;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::{RepositoryName, Tag};

use super::manifests::absent;
use super::row::{just_after, parsed, time};
use super::transaction::{Failure, Transaction};
use super::{Database, SqlMetadata, tag_key};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{Answer, Error, Page, Precondition, TagMove, Tags};

/// A row of a tag's history: from, to, by, when.
type MoveColumns = (Option<String>, Option<String>, String, i64);

impl Database {
    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, Error> {
        let mut reader = self.readers.lend().await?;
        let read = async {
            let id: Option<i64> = sqlx::query_scalar("SELECT id FROM repositories WHERE name = $1")
                .bind(repository.as_str())
                .fetch_optional(reader.db())
                .await?;
            let Some(id) = id else {
                return Ok(None);
            };
            let names: Vec<String> = sqlx::query_scalar(
                "SELECT name FROM tags WHERE repository_id = $1 AND name >= $2 ORDER BY name LIMIT $3",
            )
            .bind(id)
            .bind(after.map(just_after).unwrap_or_default())
            .bind(i64::from(limit).saturating_add(1))
            .fetch_all(reader.db())
            .await?;
            Ok(Some(names))
        }
        .await;
        let mut items = reader
            .done("listing tags", read)?
            .ok_or(Error::RepositoryUnknown)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, more })
    }

    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        limit: u32,
    ) -> Result<Vec<TagMove>, Error> {
        let mut reader = self.readers.lend().await?;
        let rows = sqlx::query_as(
            "SELECT h.from_digest, h.to_digest, h.moved_by, h.moved_ms
             FROM repositories r JOIN tag_history h ON h.repository_id = r.id
             WHERE r.name = $1 AND h.tag = $2 ORDER BY h.id DESC LIMIT $3",
        )
        .bind(repository.as_str())
        .bind(tag.as_str())
        .bind(i64::from(limit))
        .fetch_all(reader.db())
        .await;
        let rows: Vec<MoveColumns> = reader.done("reading a tag's history", rows)?;
        let digest = |column, digest: Option<String>| {
            digest
                .map(|digest| parsed::<Digest>(column, &digest))
                .transpose()
                .map_err(|damaged| self.damaged(damaged))
        };
        rows.into_iter()
            .map(|(from, to, by, at)| {
                Ok(TagMove {
                    from: digest("tag_history.from_digest", from)?,
                    to: digest("tag_history.to_digest", to)?,
                    by,
                    at: time(at),
                })
            })
            .collect()
    }
}

impl Tags for SqlMetadata {
    fn tags<'a>(
        &'a self,
        repository: &'a RepositoryName,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Page<String>> {
        self.database.tags(repository, after, limit).boxed()
    }

    fn delete_tag<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tag: &'a Tag,
        precondition: Precondition,
        by: &'a str,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        let deletion = Arc::new((repository.clone(), tag.clone(), precondition, by.to_owned()));
        self.database
            .write("deleting a tag", Durability::Full, move |transaction| {
                let deletion = Arc::clone(&deletion);
                Box::pin(async move {
                    let (repository, tag, precondition, by) = &*deletion;
                    delete_tag(transaction, repository, tag, precondition, (by, now)).await
                })
            })
            .boxed()
    }

    fn tag_history<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tag: &'a Tag,
        limit: u32,
    ) -> Answer<'a, Vec<TagMove>> {
        self.database.tag_history(repository, tag, limit).boxed()
    }
}

async fn delete_tag(
    transaction: &mut Transaction,
    repository: &RepositoryName,
    tag: &Tag,
    precondition: &Precondition,
    (by, now): (&str, Timestamp),
) -> Result<bool, Failure> {
    let Some(id) = transaction.known_repository(repository).await? else {
        return absent(precondition);
    };
    let current: Option<String> = sqlx::query_scalar(
        "SELECT m.digest FROM tags t JOIN manifests m ON m.id = t.manifest_id
         WHERE t.repository_id = $1 AND t.name = $2",
    )
    .bind(id)
    .bind(tag.as_str())
    .fetch_optional(transaction.db())
    .await?;
    let Some(current) = current else {
        return absent(precondition);
    };
    let current: Digest = parsed("manifests.digest", &current)?;
    if !precondition.holds(Some(&current)) {
        return Err(Failure::Refused(Error::PreconditionFailed {
            current: Some(current),
        }));
    }
    transaction.forget(tag_key(repository, tag.as_str()));
    sqlx::query("DELETE FROM tags WHERE repository_id = $1 AND name = $2")
        .bind(id)
        .bind(tag.as_str())
        .execute(transaction.db())
        .await?;
    record_move(transaction, id, tag.as_str(), (Some(&current), None), by, now).await?;
    Ok(true)
}

/// Writes a tag's move into its history.
pub(super) async fn record_move(
    transaction: &mut Transaction,
    repository: i64,
    tag: &str,
    (from, to): (Option<&Digest>, Option<&Digest>),
    by: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO tag_history (repository_id, tag, from_digest, to_digest, moved_by, moved_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(repository)
    .bind(tag)
    .bind(from.map(Digest::as_str))
    .bind(to.map(Digest::as_str))
    .bind(by)
    .bind(now.as_millis())
    .execute(transaction.db())
    .await?;
    Ok(())
}
