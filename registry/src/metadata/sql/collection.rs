//! Condemned blobs and dead objects.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::blobs::bury;
use super::row::{Damaged, parsed, time, unsigned};
use super::transaction::{Failure, Transaction};
use super::{SqlMetadata, blob_key};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{Answer, Collection, CondemnedBlob, DeadObject};

/// A condemned blob's row: digest, key, size, generation.
type CondemnedColumns = (String, String, i64, i64);

fn condemned((digest, object_key, size, generation): CondemnedColumns) -> Result<CondemnedBlob, Damaged> {
    Ok(CondemnedBlob {
        digest: parsed("blobs.digest", &digest)?,
        object_key,
        size: unsigned("blobs.size_bytes", size)?,
        generation,
    })
}

impl Collection for SqlMetadata {
    fn forget_deleted_manifests(&self, before: Timestamp, limit: u32) -> Answer<'_, u64> {
        self.database
            .write(
                "forgetting deleted manifests",
                Durability::Full,
                move |transaction| {
                    Box::pin(async move {
                        let forgotten = sqlx::query(
                            "DELETE FROM manifests WHERE deleted_ms IS NOT NULL AND id IN
                         (SELECT id FROM manifests WHERE deleted_ms <= $1 ORDER BY deleted_ms LIMIT $2)",
                        )
                        .bind(before.as_millis())
                        .bind(i64::from(limit))
                        .execute(transaction.db())
                        .await?;
                        Ok(forgotten.rows_affected())
                    })
                },
            )
            .boxed()
    }

    fn condemn_blobs(
        &self,
        now: Timestamp,
        unlinked_after: Option<Duration>,
        limit: u32,
    ) -> Answer<'_, Vec<CondemnedBlob>> {
        self.database
            .write("condemning blobs", Durability::Full, move |transaction| {
                Box::pin(async move {
                    if let Some(after) = unlinked_after {
                        unlink_unused(transaction, now.minus(after), limit).await?;
                    }
                    condemn_blobs(transaction, now, limit).await
                })
            })
            .boxed()
    }

    fn condemned_blobs(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<CondemnedBlob>> {
        async move {
            let mut reader = self.database.readers.lend().await?;
            let rows = sqlx::query_as(
                "SELECT digest, object_key, size_bytes, generation FROM blobs
                 WHERE condemned_ms <= $1 ORDER BY condemned_ms, id LIMIT $2",
            )
            .bind(before.as_millis())
            .bind(i64::from(limit))
            .fetch_all(reader.db())
            .await;
            reader
                .done("listing condemned blobs", rows)?
                .into_iter()
                .map(condemned)
                .collect::<Result<_, _>>()
                .map_err(|damaged| self.database.damaged(damaged))
        }
        .boxed()
    }

    fn forget_blob<'a>(&'a self, blob: &'a CondemnedBlob) -> Answer<'a, bool> {
        let blob = blob.clone();
        self.database
            .write(
                "forgetting a condemned blob",
                Durability::Full,
                move |transaction| {
                    let blob = blob.clone();
                    Box::pin(async move {
                        let forgotten = sqlx::query(
                            "DELETE FROM blobs WHERE digest = $1 AND object_key = $2 AND generation = $3
                         AND condemned_ms IS NOT NULL",
                        )
                        .bind(blob.digest.as_str())
                        .bind(blob.object_key)
                        .bind(blob.generation)
                        .execute(transaction.db())
                        .await?;
                        Ok(forgotten.rows_affected() > 0)
                    })
                },
            )
            .boxed()
    }

    fn add_dead_object<'a>(&'a self, object_key: &'a str, now: Timestamp) -> Answer<'a, ()> {
        let object_key = object_key.to_owned();
        self.database
            .write("adding a dead object", Durability::Full, move |transaction| {
                let object_key = object_key.clone();
                Box::pin(async move { bury(transaction, &object_key, now).await })
            })
            .boxed()
    }

    fn dead_objects(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<DeadObject>> {
        async move {
            let mut reader = self.database.readers.lend().await?;
            let rows = sqlx::query_as(
                "SELECT object_key, since_ms FROM dead_objects WHERE since_ms <= $1
                 ORDER BY since_ms, object_key LIMIT $2",
            )
            .bind(before.as_millis())
            .bind(i64::from(limit))
            .fetch_all(reader.db())
            .await;
            let rows: Vec<(String, i64)> = reader.done("listing dead objects", rows)?;
            Ok(rows
                .into_iter()
                .map(|(object_key, since)| DeadObject {
                    object_key,
                    since: time(since),
                })
                .collect())
        }
        .boxed()
    }

    fn forget_object<'a>(&'a self, object_key: &'a str) -> Answer<'a, ()> {
        let object_key = object_key.to_owned();
        self.database
            .write(
                "forgetting a dead object",
                Durability::Relaxed,
                move |transaction| {
                    let object_key = object_key.clone();
                    Box::pin(async move {
                        sqlx::query("DELETE FROM dead_objects WHERE object_key = $1")
                            .bind(object_key)
                            .execute(transaction.db())
                            .await?;
                        Ok(())
                    })
                },
            )
            .boxed()
    }
}

/// Holds the rows of these blobs, in the order of their digests.
async fn hold(transaction: &mut Transaction, digests: &[String]) -> Result<(), Failure> {
    let sql = transaction.sql("SELECT id FROM blobs WHERE digest IN {list} ORDER BY digest {for update}");
    sqlx::query(sql)
        .bind(super::row::list(digests.iter().map(String::as_str)))
        .execute(transaction.db())
        .await?;
    Ok(())
}

/// Ends the holds of repositories on blobs that they never used.
///
/// Candidates are looked for first and held then: what was true of them before they were held is asked again.
async fn unlink_unused(transaction: &mut Transaction, before: Timestamp, limit: u32) -> Result<(), Failure> {
    let unused = "SELECT b.digest FROM blobs b JOIN repository_blobs rb ON rb.blob_id = b.id
         WHERE b.condemned_ms IS NULL AND b.lease_until_ms <= $1 AND NOT EXISTS
         (SELECT 1 FROM manifest_blobs mb JOIN manifests m ON m.id = mb.manifest_id
          WHERE mb.blob_id = b.id AND m.repository_id = rb.repository_id)
         ORDER BY b.lease_until_ms LIMIT $2";
    let candidates: Vec<String> = sqlx::query_scalar(unused)
        .bind(before.as_millis())
        .bind(i64::from(limit))
        .fetch_all(transaction.db())
        .await?;
    hold(transaction, &candidates).await?;
    let sql = transaction.sql(
        "SELECT r.id, r.name, b.id, b.digest FROM blobs b JOIN repository_blobs rb ON rb.blob_id = b.id
         JOIN repositories r ON r.id = rb.repository_id
         WHERE b.digest IN {list} AND b.condemned_ms IS NULL AND b.lease_until_ms <= $2 AND NOT EXISTS
         (SELECT 1 FROM manifest_blobs mb JOIN manifests m ON m.id = mb.manifest_id
          WHERE mb.blob_id = b.id AND m.repository_id = rb.repository_id)",
    );
    let links: Vec<(i64, String, i64, String)> = sqlx::query_as(sql)
        .bind(super::row::list(candidates.iter().map(String::as_str)))
        .bind(before.as_millis())
        .fetch_all(transaction.db())
        .await?;
    for (repository, name, blob, digest) in links {
        transaction.forget(blob_key(&name, &parsed("blobs.digest", &digest)?));
        sqlx::query("DELETE FROM repository_blobs WHERE repository_id = $1 AND blob_id = $2")
            .bind(repository)
            .bind(blob)
            .execute(transaction.db())
            .await?;
    }
    Ok(())
}

async fn condemn_blobs(
    transaction: &mut Transaction,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<CondemnedBlob>, Failure> {
    let unneeded = "SELECT digest FROM blobs b WHERE b.condemned_ms IS NULL AND b.lease_until_ms <= $1
         AND NOT EXISTS (SELECT 1 FROM repository_blobs rb WHERE rb.blob_id = b.id)
         AND NOT EXISTS (SELECT 1 FROM manifest_blobs mb WHERE mb.blob_id = b.id)
         ORDER BY b.lease_until_ms LIMIT $2";
    let candidates: Vec<String> = sqlx::query_scalar(unneeded)
        .bind(now.as_millis())
        .bind(i64::from(limit))
        .fetch_all(transaction.db())
        .await?;
    hold(transaction, &candidates).await?;
    let sql = transaction.sql(
        "UPDATE blobs SET condemned_ms = $2 WHERE digest IN {list} AND condemned_ms IS NULL AND lease_until_ms <= $2
         AND NOT EXISTS (SELECT 1 FROM repository_blobs rb WHERE rb.blob_id = blobs.id)
         AND NOT EXISTS (SELECT 1 FROM manifest_blobs mb WHERE mb.blob_id = blobs.id)
         RETURNING digest, object_key, size_bytes, generation",
    );
    let rows: Vec<CondemnedColumns> = sqlx::query_as(sql)
        .bind(super::row::list(candidates.iter().map(String::as_str)))
        .bind(now.as_millis())
        .fetch_all(transaction.db())
        .await?;
    Ok(rows.into_iter().map(condemned).collect::<Result<_, _>>()?)
}
