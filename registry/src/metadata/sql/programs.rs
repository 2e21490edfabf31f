//! Robots and API keys.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::accounts::grant;
use super::row::{Damaged, parsed, time};
use super::transaction::{Failure, Transaction};
use super::{Database, SqlMetadata};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{Allowance, Answer, ApiKey, Error, NewRobot, Programs, Robot};

const ROBOT: &str =
    "SELECT name, secret_hash, version, created_by, created_ms, expires_ms FROM robots WHERE name = $1";
const ROBOTS: &str =
    "SELECT name, secret_hash, version, created_by, created_ms, expires_ms FROM robots ORDER BY name";
const KEY: &str = "SELECT k.id, u.name, k.secret_hash, k.scope, k.created_ms, k.expires_ms
     FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1";
const KEYS: &str = "SELECT k.id, u.name, k.secret_hash, k.scope, k.created_ms, k.expires_ms
     FROM api_keys k JOIN users u ON u.id = k.user_id ORDER BY u.name, k.id";

/// A row of `robots`: name, secret hash, version, who added it, created, expires.
type RobotColumns = (String, String, i64, String, i64, Option<i64>);

fn robot((name, secret_hash, version, created_by, created, expires): RobotColumns) -> Robot {
    Robot {
        name,
        secret_hash,
        version,
        created_by,
        created: time(created),
        expires: expires.map(time),
    }
}

/// A row of `api_keys`: id, the user's name, secret hash, scope, created, expires.
type KeyColumns = (String, String, Vec<u8>, String, i64, Option<i64>);

fn key((id, user, secret_hash, scope, created, expires): KeyColumns) -> Result<ApiKey, Damaged> {
    let scope = scope
        .split_ascii_whitespace()
        .map(|one| parsed::<Allowance>("api_keys.scope", one));
    Ok(ApiKey {
        id,
        user,
        secret_hash,
        scope: scope.collect::<Result<_, _>>()?,
        created: time(created),
        expires: expires.map(time),
    })
}

impl Database {
    fn keys(&self, rows: impl IntoIterator<Item = KeyColumns>) -> Result<Vec<ApiKey>, Error> {
        rows.into_iter()
            .map(key)
            .collect::<Result<_, _>>()
            .map_err(|damaged| self.damaged(damaged))
    }
}

impl Programs for SqlMetadata {
    fn put_robot(&self, robot: NewRobot, now: Timestamp) -> Answer<'_, bool> {
        let robot = Arc::new(robot);
        self.database
            .write("adding a robot", Durability::Full, move |transaction| {
                let robot = Arc::clone(&robot);
                Box::pin(async move { put_robot(transaction, &robot, now).await })
            })
            .boxed()
    }

    fn robot<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Robot>> {
        async move {
            // PostgreSQL refuses a NUL.
            if name.contains('\0') {
                return Ok(None);
            }
            let mut reader = self.database.readers.lend().await?;
            let row = sqlx::query_as(ROBOT).bind(name).fetch_optional(reader.db()).await;
            Ok(reader.done("finding a robot", row)?.map(robot))
        }
        .boxed()
    }

    fn robots(&self) -> Answer<'_, Vec<Robot>> {
        async {
            let mut reader = self.database.readers.lend().await?;
            let rows = sqlx::query_as(ROBOTS).fetch_all(reader.db()).await;
            Ok(reader
                .done("listing robots", rows)?
                .into_iter()
                .map(robot)
                .collect())
        }
        .boxed()
    }

    fn remove_robot<'a>(&'a self, name: &'a str) -> Answer<'a, bool> {
        let name = name.to_owned();
        self.database
            .write("removing a robot", Durability::Full, move |transaction| {
                let name = name.clone();
                Box::pin(async move { remove_robot(transaction, &name).await })
            })
            .boxed()
    }

    fn add_key(&self, key: ApiKey) -> Answer<'_, ()> {
        let key = Arc::new(key);
        self.database
            .write("adding an API key", Durability::Full, move |transaction| {
                let key = Arc::clone(&key);
                Box::pin(async move { add_key(transaction, &key).await })
            })
            .boxed()
    }

    fn key<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ApiKey>> {
        async move {
            if id.contains('\0') {
                return Ok(None);
            }
            let mut reader = self.database.readers.lend().await?;
            let row: Result<Option<KeyColumns>, _> =
                sqlx::query_as(KEY).bind(id).fetch_optional(reader.db()).await;
            let row = reader.done("finding an API key", row)?;
            Ok(self.database.keys(row)?.pop())
        }
        .boxed()
    }

    fn keys(&self) -> Answer<'_, Vec<ApiKey>> {
        async {
            let mut reader = self.database.readers.lend().await?;
            let rows: Result<Vec<KeyColumns>, _> = sqlx::query_as(KEYS).fetch_all(reader.db()).await;
            let rows = reader.done("listing API keys", rows)?;
            self.database.keys(rows)
        }
        .boxed()
    }

    fn remove_key<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        let id = id.to_owned();
        self.database
            .write("removing an API key", Durability::Full, move |transaction| {
                let id = id.clone();
                Box::pin(async move {
                    let removed = sqlx::query("DELETE FROM api_keys WHERE id = $1")
                        .bind(id)
                        .execute(transaction.db())
                        .await?;
                    transaction.change_rights().await?;
                    Ok(removed.rows_affected() > 0)
                })
            })
            .boxed()
    }
}

async fn put_robot(transaction: &mut Transaction, robot: &NewRobot, now: Timestamp) -> Result<bool, Failure> {
    let version = transaction.change_rights().await?;
    let known: Option<i64> = sqlx::query_scalar(
        "UPDATE robots SET secret_hash = $1, version = $2, created_by = $3, created_ms = $4, expires_ms = $5
         WHERE name = $6 RETURNING id",
    )
    .bind(robot.secret_hash.as_str())
    .bind(version)
    .bind(robot.created_by.as_str())
    .bind(now.as_millis())
    .bind(robot.expires.map(Timestamp::as_millis))
    .bind(robot.name.as_str())
    .fetch_optional(transaction.db())
    .await?;
    if known.is_none() {
        sqlx::query(
            "INSERT INTO robots (name, secret_hash, version, created_by, created_ms, expires_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(robot.name.as_str())
        .bind(robot.secret_hash.as_str())
        .bind(version)
        .bind(robot.created_by.as_str())
        .bind(now.as_millis())
        .bind(robot.expires.map(Timestamp::as_millis))
        .execute(transaction.db())
        .await?;
    }
    for rule in &robot.rules {
        grant(transaction, rule).await?;
    }
    Ok(known.is_none())
}

async fn remove_robot(transaction: &mut Transaction, name: &str) -> Result<bool, Failure> {
    let removed = sqlx::query("DELETE FROM robots WHERE name = $1")
        .bind(name)
        .execute(transaction.db())
        .await?;
    if removed.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM rules WHERE who = $1")
        .bind(name)
        .execute(transaction.db())
        .await?;
    transaction.change_rights().await?;
    Ok(true)
}

async fn add_key(transaction: &mut Transaction, key: &ApiKey) -> Result<(), Failure> {
    let user = transaction.known_user(&key.user).await?;
    let user = user.ok_or_else(|| Error::UserUnknown(key.user.clone()))?;
    let scope: Vec<String> = key.scope.iter().map(ToString::to_string).collect();
    sqlx::query(
        "INSERT INTO api_keys (id, user_id, secret_hash, scope, created_ms, expires_ms)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.id.as_str())
    .bind(user)
    .bind(key.secret_hash.clone())
    .bind(scope.join(" "))
    .bind(key.created.as_millis())
    .bind(key.expires.map(Timestamp::as_millis))
    .execute(transaction.db())
    .await?;
    transaction.change_rights().await?;
    Ok(())
}
