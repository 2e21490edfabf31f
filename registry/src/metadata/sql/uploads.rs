//! Upload sessions.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use wharf_protocol::name::RepositoryName;

use super::row::{parsed, signed, time, unsigned};
use super::transaction::{Failure, Transaction};
use super::{Database, SqlMetadata};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{Answer, Error, HashState, NewUpload, Upload, UploadClaim, UploadProgress, Uploads};

impl Database {
    /// Reads rows of sessions; the connection is given back whatever they hold.
    fn uploads(&self, rows: Vec<AnyRow>) -> Result<Vec<Upload>, Error> {
        rows.iter()
            .map(upload)
            .collect::<Result<_, Failure>>()
            .map_err(|failure| match failure {
                Failure::Damaged(damaged) => self.damaged(damaged),
                Failure::Database(error) | Failure::Unsure(error) => {
                    self.dialect.error("reading upload sessions", error)
                }
                Failure::Refused(error) => error,
                Failure::Again => Error::Unavailable(Arc::from("the session changed while it was read")),
            })
    }

    async fn expired_uploads(&self, now: Timestamp, limit: u32) -> Result<Vec<Upload>, Error> {
        let mut reader = self.readers.lend().await?;
        let rows = sqlx::query(
            "SELECT * FROM uploads WHERE expires_ms <= $1 AND (held_until_ms IS NULL OR held_until_ms <= $1)
             ORDER BY expires_ms, id LIMIT $2",
        )
        .bind(now.as_millis())
        .bind(i64::from(limit))
        .fetch_all(reader.db())
        .await;
        self.uploads(reader.done("listing expired upload sessions", rows)?)
    }

    async fn upload(
        &self,
        repository: &RepositoryName,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Upload>, Error> {
        if !possible(id) {
            return Ok(None);
        }
        let mut reader = self.readers.lend().await?;
        let rows = sqlx::query("SELECT * FROM uploads WHERE id = $1 AND repository = $2 AND expires_ms > $3")
            .bind(id)
            .bind(repository.as_str())
            .bind(now.as_millis())
            .fetch_all(reader.db())
            .await;
        Ok(self
            .uploads(reader.done("finding an upload session", rows)?)?
            .pop())
    }
}

/// Returns whether a client's word can be a session's id: PostgreSQL refuses a NUL.
fn possible(id: &str) -> bool {
    !id.contains('\0')
}

/// Reads a row of `uploads`.
fn upload(row: &AnyRow) -> Result<Upload, Failure> {
    let hash_format: Option<i64> = row.try_get("hash_format")?;
    let hash_bytes: Option<Vec<u8>> = row.try_get("hash_state")?;
    let hash_state = match hash_format.zip(hash_bytes) {
        None => None,
        Some((format, bytes)) => Some(HashState {
            format: unsigned("uploads.hash_format", format)?,
            bytes,
        }),
    };
    Ok(Upload {
        id: row.try_get("id")?,
        repository: parsed("uploads.repository", row.try_get("repository")?)?,
        owner: row.try_get("owner")?,
        object_key: row.try_get("object_key")?,
        algorithm: parsed("uploads.algorithm", row.try_get("algorithm")?)?,
        offset: unsigned("uploads.offset_bytes", row.try_get("offset_bytes")?)?,
        hash_state,
        staged: row.try_get("staged")?,
        started: time(row.try_get("started_ms")?),
        expires: time(row.try_get("expires_ms")?),
    })
}

impl Uploads for SqlMetadata {
    fn begin_upload(&self, upload: NewUpload, limit: u32) -> Answer<'_, ()> {
        let upload = Arc::new(upload);
        self.database
            .write(
                "beginning an upload session",
                Durability::Relaxed,
                move |transaction| {
                    let upload = Arc::clone(&upload);
                    Box::pin(async move { begin_upload(transaction, &upload, limit).await })
                },
            )
            .boxed()
    }

    fn upload<'a>(
        &'a self,
        repository: &'a RepositoryName,
        id: &'a str,
        now: Timestamp,
    ) -> Answer<'a, Option<Upload>> {
        self.database.upload(repository, id, now).boxed()
    }

    fn claim_upload<'a>(
        &'a self,
        repository: &'a RepositoryName,
        claim: &'a UploadClaim,
        now: Timestamp,
        hold: Timestamp,
    ) -> Answer<'a, Upload> {
        if !possible(&claim.id) {
            return async { Err(Error::UploadUnknown) }.boxed();
        }
        let (repository, claim) = (repository.clone(), claim.clone());
        self.database
            .write(
                "claiming an upload session",
                Durability::Relaxed,
                move |transaction| {
                    let (repository, claim) = (repository.clone(), claim.clone());
                    Box::pin(async move { claim_upload(transaction, &repository, &claim, (now, hold)).await })
                },
            )
            .boxed()
    }

    fn advance_upload(&self, progress: UploadProgress) -> Answer<'_, ()> {
        let progress = Arc::new(progress);
        self.database
            .write(
                "recording an upload's progress",
                Durability::Relaxed,
                move |transaction| {
                    let progress = Arc::clone(&progress);
                    Box::pin(async move { advance_upload(transaction, &progress).await })
                },
            )
            .boxed()
    }

    fn release_upload<'a>(&'a self, claim: &'a UploadClaim) -> Answer<'a, ()> {
        let claim = claim.clone();
        self.database
            .write("letting go of an upload session", Durability::Relaxed, move |transaction| {
                let claim = claim.clone();
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE uploads SET writer = NULL, held_until_ms = NULL WHERE id = $1 AND writer = $2",
                    )
                    .bind(claim.id)
                    .bind(claim.writer)
                    .execute(transaction.db())
                    .await?;
                    Ok(())
                })
            })
            .boxed()
    }

    fn end_upload<'a>(&'a self, repository: &'a RepositoryName, id: &'a str) -> Answer<'a, Option<Upload>> {
        if !possible(id) {
            return async { Ok(None) }.boxed();
        }
        let (repository, id) = (repository.clone(), id.to_owned());
        self.database
            .write(
                "ending an upload session",
                Durability::Relaxed,
                move |transaction| {
                    let (repository, id) = (repository.clone(), id.clone());
                    Box::pin(async move {
                        let row = sqlx::query(
                            "UPDATE uploads SET expires_ms = $1, writer = NULL, held_until_ms = NULL
                             WHERE id = $2 AND repository = $3 RETURNING *",
                        )
                        .bind(ENDED_MS)
                        .bind(id)
                        .bind(repository.as_str())
                        .fetch_optional(transaction.db())
                        .await?;
                        row.as_ref().map(upload).transpose()
                    })
                },
            )
            .boxed()
    }

    fn forget_upload<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let id = id.to_owned();
        self.database
            .write(
                "forgetting an upload session",
                Durability::Relaxed,
                move |transaction| {
                    let id = id.clone();
                    Box::pin(async move {
                        sqlx::query("DELETE FROM uploads WHERE id = $1 AND expires_ms = $2")
                            .bind(id)
                            .bind(ENDED_MS)
                            .execute(transaction.db())
                            .await?;
                        Ok(())
                    })
                },
            )
            .boxed()
    }

    fn expired_uploads(&self, now: Timestamp, limit: u32) -> Answer<'_, Vec<Upload>> {
        self.database.expired_uploads(now, limit).boxed()
    }

    fn open_uploads<'a>(&'a self, owner: &'a str, now: Timestamp) -> Answer<'a, u64> {
        async move {
            let mut reader = self.database.readers.lend().await?;
            let count = sqlx::query_scalar(COUNT_OPEN)
                .bind(owner)
                .bind(now.as_millis())
                .fetch_one(reader.db())
                .await;
            let count: i64 = reader.done("counting upload sessions", count)?;
            unsigned("a count", count).map_err(|damaged| self.database.damaged(damaged))
        }
        .boxed()
    }

    fn release_all_uploads(&self) -> Answer<'_, ()> {
        self.database
            .write(
                "letting go of all upload sessions",
                Durability::Relaxed,
                |transaction| {
                    Box::pin(async move {
                        sqlx::query(
                            "UPDATE uploads SET writer = NULL, held_until_ms = NULL WHERE writer IS NOT NULL",
                        )
                        .execute(transaction.db())
                        .await?;
                        Ok(())
                    })
                },
            )
            .boxed()
    }
}

/// By how much replicas' clocks may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

const COUNT_OPEN: &str = "SELECT count(*) FROM uploads WHERE owner = $1 AND expires_ms > $2";

/// When a session expires that has ended: before every other one.
const ENDED_MS: i64 = 0;

async fn begin_upload(transaction: &mut Transaction, upload: &NewUpload, limit: u32) -> Result<(), Failure> {
    if upload.held.is_none() {
        has_room(transaction, upload, limit).await?;
    }
    sqlx::query(
        "INSERT INTO uploads (id, repository, owner, object_key, algorithm, offset_bytes, staged, writer, held_until_ms,
         started_ms, expires_ms)
         VALUES ($1, $2, $3, $4, $5, 0, '', $6, $7, $8, $9)",
    )
    .bind(upload.id.as_str())
    .bind(upload.repository.as_str())
    .bind(upload.owner.as_str())
    .bind(upload.object_key.as_str())
    .bind(upload.algorithm.as_str())
    .bind(upload.held.as_ref().map(|(writer, _)| writer.as_str()))
    .bind(upload.held.as_ref().map(|(_, until)| until.as_millis()))
    .bind(upload.now.as_millis())
    .bind(upload.expires.as_millis())
    .execute(transaction.db())
    .await?;
    Ok(())
}

/// Refuses a session more than the owner may have open.
async fn has_room(transaction: &mut Transaction, upload: &NewUpload, limit: u32) -> Result<(), Failure> {
    // Else two at once could both be the last one.
    transaction.lock(&format!("uploads of {}", upload.owner)).await?;
    let open: i64 = sqlx::query_scalar(COUNT_OPEN)
        .bind(upload.owner.as_str())
        .bind(upload.now.as_millis())
        .fetch_one(transaction.db())
        .await?;
    if open >= i64::from(limit) {
        return Err(Failure::Refused(Error::TooManyUploads { limit }));
    }
    Ok(())
}

async fn claim_upload(
    transaction: &mut Transaction,
    repository: &RepositoryName,
    claim: &UploadClaim,
    (now, hold): (Timestamp, Timestamp),
) -> Result<Upload, Failure> {
    let row = sqlx::query(
        "UPDATE uploads SET writer = $1, held_until_ms = $2
         WHERE id = $3 AND repository = $4 AND expires_ms > $5
         AND (writer IS NULL OR writer = $1 OR held_until_ms <= $5 OR held_until_ms > $6) RETURNING *",
    )
    .bind(claim.writer.as_str())
    .bind(hold.as_millis())
    .bind(claim.id.as_str())
    .bind(repository.as_str())
    .bind(now.as_millis())
    // Held for longer than anybody holds: the clock was set back since.
    .bind(hold.plus(CLOCKS_DIFFER).as_millis())
    .fetch_optional(transaction.db())
    .await?;
    if let Some(row) = row {
        return upload(&row);
    }
    let there: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM uploads WHERE id = $1 AND repository = $2 AND expires_ms > $3",
    )
    .bind(claim.id.as_str())
    .bind(repository.as_str())
    .bind(now.as_millis())
    .fetch_one(transaction.db())
    .await?;
    Err(Failure::Refused(if there == 0 {
        Error::UploadUnknown
    } else {
        Error::UploadBusy
    }))
}

async fn advance_upload(transaction: &mut Transaction, progress: &UploadProgress) -> Result<(), Failure> {
    let sql = transaction
        .sql("SELECT writer, offset_bytes FROM uploads WHERE id = $1 AND expires_ms > $2 {for update}");
    let there: Option<(Option<String>, i64)> = sqlx::query_as(sql)
        .bind(progress.claim.id.as_str())
        .bind(progress.now.as_millis())
        .fetch_optional(transaction.db())
        .await?;
    let (writer, offset) = there.ok_or(Error::UploadUnknown)?;
    if writer.as_deref() != Some(progress.claim.writer.as_str()) {
        return Err(Failure::Refused(Error::UploadBusy));
    }
    let offset = unsigned("uploads.offset_bytes", offset)?;
    if offset != progress.from {
        return Err(Failure::Refused(Error::UploadMoved { offset }));
    }
    sqlx::query(
        "UPDATE uploads SET offset_bytes = $1, hash_format = $2, hash_state = $3, staged = $4, writer = $5,
         held_until_ms = $6, expires_ms = $7 WHERE id = $8",
    )
    .bind(signed(progress.offset))
    .bind(progress.hash_state.as_ref().map(|state| i64::from(state.format)))
    .bind(progress.hash_state.as_ref().map(|state| state.bytes.clone()))
    .bind(progress.staged.as_str())
    .bind(progress.hold.map(|_| progress.claim.writer.as_str()))
    .bind(progress.hold.map(Timestamp::as_millis))
    .bind(progress.expires.as_millis())
    .bind(progress.claim.id.as_str())
    .execute(transaction.db())
    .await?;
    Ok(())
}
