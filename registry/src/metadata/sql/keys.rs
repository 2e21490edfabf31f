//! Signing keys and refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::SqlMetadata;
use super::accounts::{UserColumns, user};
use super::row::time;
use super::transaction::{Failure, Transaction};
use crate::clock::Timestamp;
use crate::metadata::db::Db;
use crate::metadata::dialect::Durability;
use crate::metadata::{Answer, Error, NewRefreshToken, SigningKey, TokenRows, User};

/// A row of `signing_keys`: id, algorithm, private, created, expires.
type KeyColumns = (String, String, Vec<u8>, i64, i64);

fn signing_key((id, algorithm, private, created, expires): KeyColumns) -> SigningKey {
    SigningKey {
        id,
        algorithm,
        private,
        created: time(created),
        expires: time(expires),
    }
}

impl TokenRows for SqlMetadata {
    fn signing_keys(
        &self,
        candidate: SigningKey,
        newer_than: Timestamp,
        now: Timestamp,
    ) -> Answer<'_, Vec<SigningKey>> {
        let candidate = Arc::new(candidate);
        self.database
            .write("adding a signing key", Durability::Full, move |transaction| {
                let candidate = Arc::clone(&candidate);
                Box::pin(async move { signing_keys(transaction, &candidate, newer_than, now).await })
            })
            .boxed()
    }

    fn current_signing_keys(&self, now: Timestamp) -> Answer<'_, Vec<SigningKey>> {
        async move {
            let mut reader = self.database.readers.lend().await?;
            let keys = current_keys(reader.db(), now).await;
            reader.done("reading the signing keys", keys)
        }
        .boxed()
    }

    fn add_refresh_token(&self, token: NewRefreshToken) -> Answer<'_, ()> {
        let token = Arc::new(token);
        self.database
            .write("adding a refresh token", Durability::Full, move |transaction| {
                let token = Arc::clone(&token);
                Box::pin(async move { add_refresh_token(transaction, &token).await })
            })
            .boxed()
    }

    fn use_refresh_token<'a>(
        &'a self,
        hash: &'a [u8],
        now: Timestamp,
        life: Duration,
    ) -> Answer<'a, Option<User>> {
        async move {
            let mut reader = self.database.readers.lend().await?;
            let row = live_token(reader.db(), hash, now).await;
            let Some((expires, columns)) = reader.done("finding a refresh token", row)? else {
                return Ok(None);
            };
            if time(expires) >= now.plus(life - life / 100) {
                return Ok(Some(user(columns)));
            }
            let hash = hash.to_vec();
            self.database
                .write("using a refresh token", Durability::Relaxed, move |transaction| {
                    let hash = hash.clone();
                    Box::pin(async move { use_refresh_token(transaction, &hash, now, life).await })
                })
                .await
        }
        .boxed()
    }

    fn remove_refresh_token<'a>(&'a self, hash: &'a [u8]) -> Answer<'a, bool> {
        let hash = hash.to_vec();
        self.database
            .write("removing a refresh token", Durability::Full, move |transaction| {
                let hash = hash.clone();
                Box::pin(async move {
                    let removed = sqlx::query("DELETE FROM refresh_tokens WHERE hash = $1")
                        .bind(hash)
                        .execute(transaction.db())
                        .await?;
                    Ok(removed.rows_affected() > 0)
                })
            })
            .boxed()
    }

    fn remove_dead_refresh_tokens(&self, now: Timestamp) -> Answer<'_, u64> {
        self.database
            .write(
                "removing dead refresh tokens",
                Durability::Relaxed,
                move |transaction| {
                    Box::pin(async move {
                        let removed = sqlx::query("DELETE FROM refresh_tokens WHERE expires_ms <= $1")
                            .bind(now.as_millis())
                            .execute(transaction.db())
                            .await?;
                        Ok(removed.rows_affected())
                    })
                },
            )
            .boxed()
    }
}

async fn current_keys(db: &mut Db, now: Timestamp) -> Result<Vec<SigningKey>, sqlx::Error> {
    let rows: Vec<KeyColumns> = sqlx::query_as(
        "SELECT id, algorithm, private, created_ms, expires_ms FROM signing_keys
         WHERE expires_ms > $1 ORDER BY created_ms DESC, id",
    )
    .bind(now.as_millis())
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(signing_key).collect())
}

async fn signing_keys(
    transaction: &mut Transaction,
    candidate: &SigningKey,
    newer_than: Timestamp,
    now: Timestamp,
) -> Result<Vec<SigningKey>, Failure> {
    transaction.lock("signing keys").await?;
    let keys = current_keys(transaction.db(), now).await?;
    if keys.first().is_some_and(|newest| newest.created >= newer_than) {
        return Ok(keys);
    }
    sqlx::query(
        "INSERT INTO signing_keys (id, algorithm, private, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(candidate.id.as_str())
    .bind(candidate.algorithm.as_str())
    .bind(candidate.private.clone())
    .bind(candidate.created.as_millis())
    .bind(candidate.expires.as_millis())
    .execute(transaction.db())
    .await?;
    Ok(current_keys(transaction.db(), now).await?)
}

async fn add_refresh_token(transaction: &mut Transaction, token: &NewRefreshToken) -> Result<(), Failure> {
    // Held, so that a password that changes at the same time comes before or after.
    let sql = transaction.sql("SELECT id FROM users WHERE name = $1 AND version = $2 {for update}");
    let account: Option<i64> = sqlx::query_scalar(sql)
        .bind(token.user.as_str())
        .bind(token.user_version)
        .fetch_optional(transaction.db())
        .await?;
    let account = account.ok_or_else(|| Error::UserUnknown(token.user.clone()))?;
    sqlx::query(
        "INSERT INTO refresh_tokens (hash, user_id, client, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(token.hash.clone())
    .bind(account)
    .bind(super::row::without_nul(&token.client))
    .bind(token.now.as_millis())
    .bind(token.now.plus(token.life).as_millis())
    .execute(transaction.db())
    .await?;
    Ok(())
}

/// Finds a token that is alive: when it dies, and whose it is.
async fn live_token(
    db: &mut Db,
    hash: &[u8],
    now: Timestamp,
) -> Result<Option<(i64, UserColumns)>, sqlx::Error> {
    let row: Option<(i64, String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT t.expires_ms, u.name, u.password_hash, u.admin, u.version, u.created_ms
         FROM refresh_tokens t JOIN users u ON u.id = t.user_id WHERE t.hash = $1 AND t.expires_ms > $2",
    )
    .bind(hash.to_vec())
    .bind(now.as_millis())
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(expires, name, password, admin, version, created)| {
        (expires, (name, password, admin, version, created))
    }))
}

async fn use_refresh_token(
    transaction: &mut Transaction,
    hash: &[u8],
    now: Timestamp,
    life: Duration,
) -> Result<Option<User>, Failure> {
    sqlx::query("UPDATE refresh_tokens SET expires_ms = $1 WHERE hash = $2 AND expires_ms > $3")
        .bind(now.plus(life).as_millis())
        .bind(hash.to_vec())
        .bind(now.as_millis())
        .execute(transaction.db())
        .await?;
    let row = live_token(transaction.db(), hash, now).await?;
    Ok(row.map(|(_, columns)| user(columns)))
}
