//! Blobs and their links to repositories.

use std::sync::Arc;

use futures_util::FutureExt as _;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;

use super::repositories::END;
use super::row::{parsed, signed, time, unsigned};
use super::transaction::{Failure, Transaction};
use super::{Database, Remembered, SqlMetadata, blob_key};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{
    Answer, Blob, BlobRows, CommitBlob, CommittedBlob, Error, Lease, MountBlob, MountSource, UploadClaim,
};

/// A blob and until when it stays at least.
#[derive(Debug)]
pub(super) struct LeasedBlob {
    blob: Blob,
    lease_until: Timestamp,
}

impl Lease {
    /// Returns until when the blob must stay.
    fn least(self) -> Timestamp {
        self.now.plus(self.keep)
    }

    /// Returns until when a new lease goes: twice as far as it must, so that it is seldom written.
    fn generous(self) -> i64 {
        self.least().plus(self.keep).as_millis()
    }
}

/// A row of `blobs`, its columns in the order of the queries below.
type BlobColumns = (i64, String, i64, i64, Option<i64>);

impl Database {
    async fn leased(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<LeasedBlob>>, Error> {
        let key = blob_key(repository.as_str(), digest);
        if let Some(Remembered::Blob(blob)) = self.remembered(&key).await? {
            return Ok(Some(blob));
        }
        let moment = self.cache.moment();
        let mut reader = self.readers.lend().await?;
        let row: Result<Option<(String, i64, i64)>, _> = sqlx::query_as(
            "SELECT b.object_key, b.size_bytes, b.lease_until_ms
             FROM repositories r CROSS JOIN blobs b
             JOIN repository_blobs rb ON rb.repository_id = r.id AND rb.blob_id = b.id
             WHERE r.name = $1 AND b.digest = $2 AND b.condemned_ms IS NULL",
        )
        .bind(repository.as_str())
        .bind(digest.as_str())
        .fetch_optional(reader.db())
        .await;
        let Some((object_key, size, lease_until)) = reader.done("finding a blob", row)? else {
            return Ok(None);
        };
        let size = unsigned("blobs.size_bytes", size).map_err(|damaged| self.damaged(damaged))?;
        let bytes = object_key.len() + digest.as_str().len() + size_of::<LeasedBlob>();
        let blob = Arc::new(LeasedBlob {
            blob: Blob {
                digest: digest.clone(),
                object_key,
                size,
            },
            lease_until: time(lease_until),
        });
        if self.dialect.serves_one_process() {
            self.cache
                .remember(moment, &key, Remembered::Blob(Arc::clone(&blob)), bytes);
        }
        Ok(Some(blob))
    }
}

impl BlobRows for SqlMetadata {
    fn blob<'a>(&'a self, repository: &'a RepositoryName, digest: &'a Digest) -> Answer<'a, Option<Blob>> {
        async move {
            let found = self.database.leased(repository, digest).await?;
            Ok(found.map(|found| found.blob.clone()))
        }
        .boxed()
    }

    fn claim_blob<'a>(
        &'a self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        lease: Lease,
    ) -> Answer<'a, Option<Blob>> {
        async move {
            match self.database.leased(repository, digest).await? {
                None => return Ok(None),
                // It cannot be condemned before then, whatever happens meanwhile.
                Some(found) if found.lease_until >= lease.least() => return Ok(Some(found.blob.clone())),
                Some(_) => {}
            }
            let mount = MountBlob {
                into: repository.clone(),
                from: MountSource::Repository(repository.clone()),
                digest: digest.clone(),
                lease,
            };
            self.mount_blob(mount).await
        }
        .boxed()
    }

    fn commit_blob(&self, commit: CommitBlob) -> Answer<'_, CommittedBlob> {
        let commit = Arc::new(commit);
        self.database
            .write("committing a blob", Durability::Full, move |transaction| {
                let commit = Arc::clone(&commit);
                Box::pin(async move { commit_blob(transaction, &commit).await })
            })
            .boxed()
    }

    fn mount_blob(&self, mount: MountBlob) -> Answer<'_, Option<Blob>> {
        let mount = Arc::new(mount);
        self.database
            .write("mounting a blob", Durability::Full, move |transaction| {
                let mount = Arc::clone(&mount);
                Box::pin(async move { mount_blob(transaction, &mount).await })
            })
            .boxed()
    }

    fn unlink_blob<'a>(&'a self, repository: &'a RepositoryName, digest: &'a Digest) -> Answer<'a, bool> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.database
            .write(
                "removing a blob from a repository",
                Durability::Full,
                move |transaction| {
                    let (repository, digest) = (repository.clone(), digest.clone());
                    Box::pin(async move { unlink_blob(transaction, &repository, &digest).await })
                },
            )
            .boxed()
    }
}

async fn commit_blob(transaction: &mut Transaction, commit: &CommitBlob) -> Result<CommittedBlob, Failure> {
    if let Some(claim) = &commit.upload {
        end_claimed(transaction, &commit.repository, claim, commit.lease.now).await?;
    }
    transaction.forget(blob_key(commit.repository.as_str(), &commit.digest));
    let now = commit.lease.now;
    let repository = transaction.repository(&commit.repository, now).await?;
    let (blob_id, committed) = match insert_blob(transaction, commit).await? {
        Some(id) => (
            id,
            CommittedBlob {
                blob: pushed(commit),
                redundant: false,
            },
        ),
        None => join_blob(transaction, commit).await?,
    };
    link(transaction, repository, blob_id, &commit.digest).await?;
    Ok(committed)
}

fn pushed(commit: &CommitBlob) -> Blob {
    Blob {
        digest: commit.digest.clone(),
        object_key: commit.object_key.clone(),
        size: commit.size,
    }
}

/// Ends the session that brought the bytes, if it is still the caller's.
async fn end_claimed(
    transaction: &mut Transaction,
    repository: &RepositoryName,
    claim: &UploadClaim,
    now: Timestamp,
) -> Result<(), Failure> {
    let ended = sqlx::query("DELETE FROM uploads WHERE id = $1 AND repository = $2 AND writer = $3")
        .bind(claim.id.as_str())
        .bind(repository.as_str())
        .bind(claim.writer.as_str())
        .execute(transaction.db())
        .await?;
    if ended.rows_affected() == 1 {
        return Ok(());
    }
    let query = "SELECT count(*) FROM uploads WHERE id = $1 AND repository = $2 AND expires_ms > $3";
    let there: i64 = sqlx::query_scalar(query)
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

/// Inserts the pushed blob, unless there is a row for its digest.
async fn insert_blob(transaction: &mut Transaction, commit: &CommitBlob) -> Result<Option<i64>, Failure> {
    let inserted = sqlx::query_scalar(
        "INSERT INTO blobs (digest, object_key, size_bytes, created_ms, lease_until_ms)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (digest) DO NOTHING RETURNING id",
    )
    .bind(commit.digest.as_str())
    .bind(commit.object_key.as_str())
    .bind(signed(commit.size))
    .bind(commit.lease.now.as_millis())
    .bind(commit.lease.generous())
    .fetch_optional(transaction.db())
    .await?;
    Ok(inserted)
}

/// Brings the pushed object together with the row that is there: one of the two objects is dead.
async fn join_blob(
    transaction: &mut Transaction,
    commit: &CommitBlob,
) -> Result<(i64, CommittedBlob), Failure> {
    let Some((id, object_key, size, lease_until, condemned)) =
        locked_blob(transaction, &commit.digest).await?
    else {
        // Its row was removed since the insert saw it. The next attempt inserts.
        return Err(Failure::Again);
    };
    let now = commit.lease.now;
    if condemned.is_some() {
        bury(transaction, &object_key, now).await?;
        sqlx::query(
            "UPDATE blobs SET object_key = $1, size_bytes = $2, lease_until_ms = $3, condemned_ms = NULL,
             generation = generation + 1 WHERE id = $4",
        )
        .bind(commit.object_key.as_str())
        .bind(signed(commit.size))
        .bind(commit.lease.generous())
        .bind(id)
        .execute(transaction.db())
        .await?;
        return Ok((
            id,
            CommittedBlob {
                blob: pushed(commit),
                redundant: false,
            },
        ));
    }
    extend(transaction, id, lease_until, commit.lease).await?;
    let redundant = object_key != commit.object_key;
    if redundant {
        bury(transaction, &commit.object_key, now).await?;
    }
    let blob = Blob {
        digest: commit.digest.clone(),
        object_key,
        size: unsigned("blobs.size_bytes", size)?,
    };
    Ok((id, CommittedBlob { blob, redundant }))
}

async fn mount_blob(transaction: &mut Transaction, mount: &MountBlob) -> Result<Option<Blob>, Failure> {
    let id: Option<i64> =
        sqlx::query_scalar("SELECT id FROM blobs WHERE digest = $1 AND condemned_ms IS NULL")
            .bind(mount.digest.as_str())
            .fetch_optional(transaction.db())
            .await?;
    let Some(id) = id else {
        return Ok(None);
    };
    let held = holds(transaction, mount.into.as_str(), id).await?;
    if !held && !readable(transaction, &mount.from, id).await? {
        return Ok(None);
    }
    // The repository's row comes before the blob's, as in every transaction.
    let target = match held {
        true => None,
        false => Some(transaction.repository(&mount.into, mount.lease.now).await?),
    };
    let Some((id, object_key, size, lease_until, None)) = locked_blob(transaction, &mount.digest).await?
    else {
        // It went since it was seen. The next attempt does not see it.
        return Err(Failure::Again);
    };
    transaction.forget(blob_key(mount.into.as_str(), &mount.digest));
    extend(transaction, id, lease_until, mount.lease).await?;
    match target {
        Some(repository) => link(transaction, repository, id, &mount.digest).await?,
        // Asked again, now that nobody else can end it.
        None if !holds(transaction, mount.into.as_str(), id).await? => return Err(Failure::Again),
        None => {}
    }
    let blob = Blob {
        digest: mount.digest.clone(),
        object_key,
        size: unsigned("blobs.size_bytes", size)?,
    };
    Ok(Some(blob))
}

async fn holds(transaction: &mut Transaction, repository: &str, blob: i64) -> Result<bool, Failure> {
    let links: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM repository_blobs rb JOIN repositories r ON r.id = rb.repository_id
         WHERE r.name = $1 AND rb.blob_id = $2",
    )
    .bind(repository)
    .bind(blob)
    .fetch_one(transaction.db())
    .await?;
    Ok(links > 0)
}

/// How many repositories are looked at for one that holds a blob and that the caller may read.
const LOOKED_AT: i64 = 1000;

/// Returns whether the caller may read the blob where a mount takes it from.
///
/// A base layer can be in a hundred thousand repositories, so neither all that hold the blob are looked at nor all that
/// the caller may read, but some of either: the one finds a blob that few hold, the other the blob of a caller who may
/// read few.
async fn readable(transaction: &mut Transaction, from: &MountSource, blob: i64) -> Result<bool, Failure> {
    let visible = match from {
        MountSource::Repository(from) => return holds(transaction, from.as_str(), blob).await,
        MountSource::Anywhere(visible) => visible,
    };
    let holders: Vec<String> = sqlx::query_scalar(
        "SELECT r.name FROM (SELECT repository_id FROM repository_blobs WHERE blob_id = $1 LIMIT $2) held
         JOIN repositories r ON r.id = held.repository_id",
    )
    .bind(blob)
    .bind(LOOKED_AT)
    .fetch_all(transaction.db())
    .await?;
    if holders.iter().any(|name| visible.includes(name)) {
        return Ok(true);
    }
    if i64::try_from(holders.len()).is_ok_and(|all| all < LOOKED_AT) {
        return Ok(false);
    }
    for (start, end) in visible.ranges() {
        let holders: Vec<String> = sqlx::query_scalar(
            "SELECT near.name FROM (SELECT id, name FROM repositories WHERE name >= $1 AND name < $2
             ORDER BY name LIMIT $3) near JOIN repository_blobs rb ON rb.repository_id = near.id AND rb.blob_id = $4",
        )
        .bind(start)
        .bind(end.unwrap_or_else(|| END.to_owned()))
        .bind(LOOKED_AT)
        .bind(blob)
        .fetch_all(transaction.db())
        .await?;
        if holders.iter().any(|name| visible.includes(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn unlink_blob(
    transaction: &mut Transaction,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<bool, Failure> {
    transaction.forget(blob_key(repository.as_str(), digest));
    let Some((id, _, _, _, None)) = locked_blob(transaction, digest).await? else {
        return Ok(false);
    };
    // CROSS JOIN keeps SQLite to this order: few manifests name one blob, a repository's can be a million.
    let naming: Option<String> = sqlx::query_scalar(
        "SELECT m.digest FROM manifest_blobs mb CROSS JOIN manifests m CROSS JOIN repositories r
         WHERE mb.blob_id = $1 AND m.id = mb.manifest_id AND m.deleted_ms IS NULL
         AND r.id = m.repository_id AND r.name = $2 LIMIT 1",
    )
    .bind(id)
    .bind(repository.as_str())
    .fetch_optional(transaction.db())
    .await?;
    if let Some(manifest) = naming {
        let manifest = parsed("manifests.digest", &manifest)?;
        return Err(Failure::Refused(Error::BlobInUse { manifest }));
    }
    let unlinked = sqlx::query(
        "DELETE FROM repository_blobs
         WHERE blob_id = $1 AND repository_id = (SELECT id FROM repositories WHERE name = $2)",
    )
    .bind(id)
    .bind(repository.as_str())
    .execute(transaction.db())
    .await?;
    Ok(unlinked.rows_affected() > 0)
}

/// Finds the row of a digest, condemned or not, and holds it until the transaction ends.
async fn locked_blob(transaction: &mut Transaction, digest: &Digest) -> Result<Option<BlobColumns>, Failure> {
    let sql = transaction.sql(
        "SELECT id, object_key, size_bytes, lease_until_ms, condemned_ms FROM blobs WHERE digest = $1 {for update}",
    );
    let row = sqlx::query_as(sql)
        .bind(digest.as_str())
        .fetch_optional(transaction.db())
        .await?;
    Ok(row)
}

/// Extends a lease that does not go far enough.
async fn extend(transaction: &mut Transaction, id: i64, until: i64, lease: Lease) -> Result<(), Failure> {
    if time(until) < lease.least() {
        sqlx::query("UPDATE blobs SET lease_until_ms = $1 WHERE id = $2")
            .bind(lease.generous())
            .bind(id)
            .execute(transaction.db())
            .await?;
    }
    Ok(())
}

/// Lets a repository, whose row is held, hold a blob; what its sparse images named by digest alone they name by its row
/// then.
async fn link(
    transaction: &mut Transaction,
    repository: i64,
    blob: i64,
    digest: &Digest,
) -> Result<(), Failure> {
    let linked = sqlx::query(
        "INSERT INTO repository_blobs (repository_id, blob_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(repository)
    .bind(blob)
    .execute(transaction.db())
    .await?;
    if linked.rows_affected() == 0 {
        return Ok(());
    }
    // CROSS JOIN keeps SQLite to this order: few manifests lack a blob, a repository's can be a million.
    let named = sqlx::query(
        "INSERT INTO manifest_blobs (manifest_id, blob_id)
         SELECT a.manifest_id, $1 FROM absent_blobs a CROSS JOIN manifests m
         WHERE a.digest = $2 AND m.id = a.manifest_id AND m.repository_id = $3 ON CONFLICT DO NOTHING",
    )
    .bind(blob)
    .bind(digest.as_str())
    .bind(repository)
    .execute(transaction.db())
    .await?;
    if named.rows_affected() > 0 {
        sqlx::query(
            "DELETE FROM absent_blobs WHERE digest = $1 AND EXISTS
             (SELECT 1 FROM manifests m WHERE m.id = absent_blobs.manifest_id AND m.repository_id = $2)",
        )
        .bind(digest.as_str())
        .bind(repository)
        .execute(transaction.db())
        .await?;
    }
    Ok(())
}

/// Puts an object among the dead.
pub(super) async fn bury(
    transaction: &mut Transaction,
    object_key: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query("INSERT INTO dead_objects (object_key, since_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(object_key)
        .bind(now.as_millis())
        .execute(transaction.db())
        .await?;
    Ok(())
}
