//! Users and rules.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::repositories::count_stars;
use super::row::{Damaged, list, parsed, time};
use super::transaction::{Failure, Transaction};
use super::{Database, SqlMetadata};
use crate::clock::Timestamp;
use crate::metadata::dialect::Durability;
use crate::metadata::{Accounts, Answer, Error, NewUser, Pattern, Rule, User};

/// A row of `users`: name, password hash, admin, version, created.
pub(super) type UserColumns = (String, String, i64, i64, i64);

/// Makes a user of a row.
pub(super) fn user((name, password_hash, admin, version, created): UserColumns) -> User {
    User {
        name,
        password_hash,
        admin: admin != 0,
        version,
        created: time(created),
    }
}

fn rule((who, pattern, actions): (String, String, String)) -> Result<Rule, Damaged> {
    Ok(Rule {
        who,
        pattern: parsed("rules.pattern", &pattern)?,
        actions: parsed("rules.actions", &actions)?,
    })
}

impl Database {
    fn rules(&self, rows: Vec<(String, String, String)>) -> Result<Vec<Rule>, Error> {
        rows.into_iter()
            .map(rule)
            .collect::<Result<_, _>>()
            .map_err(|damaged| self.damaged(damaged))
    }
}

impl Transaction {
    /// Finds the number of a user's row.
    pub(super) async fn known_user(&mut self, name: &str) -> Result<Option<i64>, Failure> {
        let sql = self.sql("SELECT id FROM users WHERE name = $1 {for update}");
        Ok(sqlx::query_scalar(sql)
            .bind(name)
            .fetch_optional(self.db())
            .await?)
    }
}

impl Accounts for SqlMetadata {
    fn auth_epoch(&self) -> Answer<'_, i64> {
        self.database.auth_epoch().boxed()
    }

    fn add_user(&self, user: NewUser, now: Timestamp) -> Answer<'_, ()> {
        let user = Arc::new(user);
        self.database
            .write("adding a user", Durability::Full, move |transaction| {
                let user = Arc::clone(&user);
                Box::pin(async move { add_user(transaction, &user, now).await })
            })
            .boxed()
    }

    fn add_first_user(&self, user: NewUser, now: Timestamp) -> Answer<'_, bool> {
        let user = Arc::new(user);
        self.database
            .write("adding the first user", Durability::Full, move |transaction| {
                let user = Arc::clone(&user);
                Box::pin(async move {
                    let first =
                        sqlx::query("UPDATE epochs SET value = 1 WHERE name = 'first_user' AND value = 0")
                            .execute(transaction.db())
                            .await?;
                    if first.rows_affected() == 0 {
                        return Ok(false);
                    }
                    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
                        .fetch_one(transaction.db())
                        .await?;
                    if users > 0 {
                        // A command added one before the first start.
                        return Ok(false);
                    }
                    add_user(transaction, &user, now).await?;
                    Ok(true)
                })
            })
            .boxed()
    }

    fn user<'a>(&'a self, name: &'a str) -> Answer<'a, Option<User>> {
        async move {
            // PostgreSQL refuses a NUL.
            if name.contains('\0') {
                return Ok(None);
            }
            let mut reader = self.database.readers.lend().await?;
            let row = sqlx::query_as(
                "SELECT name, password_hash, admin, version, created_ms FROM users WHERE name = $1",
            )
            .bind(name)
            .fetch_optional(reader.db())
            .await;
            Ok(reader.done("finding a user", row)?.map(user))
        }
        .boxed()
    }

    fn users(&self) -> Answer<'_, Vec<User>> {
        async {
            let mut reader = self.database.readers.lend().await?;
            let rows = sqlx::query_as(
                "SELECT name, password_hash, admin, version, created_ms FROM users ORDER BY name",
            )
            .fetch_all(reader.db())
            .await;
            Ok(reader
                .done("listing users", rows)?
                .into_iter()
                .map(user)
                .collect())
        }
        .boxed()
    }

    fn set_password<'a>(&'a self, name: &'a str, password_hash: &'a str) -> Answer<'a, ()> {
        let change = Arc::new((name.to_owned(), password_hash.to_owned()));
        self.database
            .write("changing a password", Durability::Full, move |transaction| {
                let change = Arc::clone(&change);
                Box::pin(async move { set_password(transaction, &change.0, &change.1).await })
            })
            .boxed()
    }

    fn remove_user<'a>(&'a self, name: &'a str) -> Answer<'a, bool> {
        let name = name.to_owned();
        self.database
            .write("removing a user", Durability::Full, move |transaction| {
                let name = name.clone();
                Box::pin(async move { remove_user(transaction, &name).await })
            })
            .boxed()
    }

    fn grant(&self, rule: Rule) -> Answer<'_, ()> {
        self.database
            .write("setting a rule", Durability::Full, move |transaction| {
                let rule = rule.clone();
                Box::pin(async move { grant(transaction, &rule).await })
            })
            .boxed()
    }

    fn revoke<'a>(&'a self, who: &'a str, pattern: &'a Pattern) -> Answer<'a, bool> {
        let (who, pattern) = (who.to_owned(), pattern.clone());
        self.database
            .write("removing a rule", Durability::Full, move |transaction| {
                let (who, pattern) = (who.clone(), pattern.clone());
                Box::pin(async move {
                    let removed = sqlx::query("DELETE FROM rules WHERE who = $1 AND pattern = $2")
                        .bind(who)
                        .bind(pattern.as_str())
                        .execute(transaction.db())
                        .await?;
                    transaction.change_rights().await?;
                    Ok(removed.rows_affected() > 0)
                })
            })
            .boxed()
    }

    fn rules(&self) -> Answer<'_, Vec<Rule>> {
        async {
            let mut reader = self.database.readers.lend().await?;
            let rows = sqlx::query_as("SELECT who, pattern, actions FROM rules ORDER BY who, pattern")
                .fetch_all(reader.db())
                .await;
            self.database.rules(reader.done("listing rules", rows)?)
        }
        .boxed()
    }

    fn rules_of<'a>(&'a self, who: &'a [&'a str]) -> Answer<'a, Vec<Rule>> {
        async move {
            let sql = self
                .database
                .dialect
                .sql("SELECT who, pattern, actions FROM rules WHERE who IN {list} ORDER BY who, pattern");
            let mut reader = self.database.readers.lend().await?;
            let rows = sqlx::query_as(sql)
                .bind(list(who.iter().copied()))
                .fetch_all(reader.db())
                .await;
            self.database.rules(reader.done("listing rules", rows)?)
        }
        .boxed()
    }
}

async fn add_user(transaction: &mut Transaction, user: &NewUser, now: Timestamp) -> Result<(), Failure> {
    let version = transaction.change_rights().await?;
    let added = sqlx::query(
        "INSERT INTO users (name, password_hash, admin, version, created_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(user.name.as_str())
    .bind(user.password_hash.as_str())
    .bind(i64::from(user.admin))
    .bind(version)
    .bind(now.as_millis())
    .execute(transaction.db())
    .await?;
    if added.rows_affected() == 0 {
        return Err(Failure::Refused(Error::UserExists(user.name.clone())));
    }
    for rule in &user.rules {
        grant(transaction, rule).await?;
    }
    Ok(())
}

async fn set_password(transaction: &mut Transaction, name: &str, hash: &str) -> Result<(), Failure> {
    let version = transaction.change_rights().await?;
    let changed: Option<i64> =
        sqlx::query_scalar("UPDATE users SET password_hash = $1, version = $2 WHERE name = $3 RETURNING id")
            .bind(hash)
            .bind(version)
            .bind(name)
            .fetch_optional(transaction.db())
            .await?;
    let id = changed.ok_or_else(|| Error::UserUnknown(name.to_owned()))?;
    sqlx::query("DELETE FROM refresh_tokens WHERE user_id = $1")
        .bind(id)
        .execute(transaction.db())
        .await?;
    Ok(())
}

async fn remove_user(transaction: &mut Transaction, name: &str) -> Result<bool, Failure> {
    let Some(id) = transaction.known_user(name).await? else {
        return Ok(false);
    };
    let starred: Vec<i64> =
        sqlx::query_scalar("DELETE FROM stars WHERE user_id = $1 RETURNING repository_id")
            .bind(id)
            .fetch_all(transaction.db())
            .await?;
    for repository in starred {
        count_stars(transaction, repository).await?;
    }
    sqlx::query("DELETE FROM rules WHERE who = $1")
        .bind(name)
        .execute(transaction.db())
        .await?;
    // Its refresh tokens and API keys go with the row.
    sqlx::query("DELETE FROM users WHERE id = $1")
        .bind(id)
        .execute(transaction.db())
        .await?;
    transaction.change_rights().await?;
    Ok(true)
}

pub(super) async fn grant(transaction: &mut Transaction, rule: &Rule) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO rules (who, pattern, actions) VALUES ($1, $2, $3)
         ON CONFLICT (who, pattern) DO UPDATE SET actions = excluded.actions",
    )
    .bind(rule.who.as_str())
    .bind(rule.pattern.as_str())
    .bind(rule.actions.to_string())
    .execute(transaction.db())
    .await?;
    transaction.change_rights().await?;
    Ok(())
}
