//! The one way to write.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::AnyConnection;
use sqlx::SqlStr;

use super::Database;
use super::connections::Lent;
use super::row::Damaged;
use crate::metadata::Error;
use crate::metadata::dialect::{Dialect, Durability, Fault};

/// How often a transaction that lost against another is done again.
const ATTEMPTS: u32 = 10;

/// A write transaction that is open.
pub(super) struct Transaction {
    lent: Lent,
    dialect: Arc<Dialect>,
    forgotten: Vec<String>,
    rights_changed: bool,
}

/// Why a transaction is undone.
#[derive(Debug)]
pub(super) enum Failure {
    /// The method refuses.
    Refused(Error),
    /// The database failed.
    Database(sqlx::Error),
    /// A row holds what nobody can have written.
    Damaged(Damaged),
    /// Another transaction was in between: all must be done again.
    Again,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Damaged> for Failure {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

impl Transaction {
    /// Returns the connection that the transaction is open in.
    pub(super) fn db(&mut self) -> &mut AnyConnection {
        self.lent.db()
    }

    /// Returns a query in the database's own words.
    pub(super) fn sql(&self, query: &'static str) -> SqlStr {
        self.dialect.sql(query)
    }

    /// Lets one transaction at a time pass this point with this word, until it ends.
    pub(super) async fn lock(&mut self, word: &str) -> Result<(), sqlx::Error> {
        self.dialect.lock(self.lent.db(), word).await
    }

    /// Makes the cache forget a key when the transaction ends, however it does.
    pub(super) fn forget(&mut self, key: String) {
        self.forgotten.push(key);
    }

    /// Says that what somebody may do has changed. Returns the new epoch, which no row has had before.
    pub(super) async fn change_rights(&mut self) -> Result<i64, sqlx::Error> {
        self.rights_changed = true;
        sqlx::query_scalar("UPDATE epochs SET value = value + 1 WHERE name = 'auth' RETURNING value")
            .fetch_one(self.db())
            .await
    }
}

impl Database {
    /// Runs a write transaction to its end, whether or not the caller goes on waiting, and does it again if it lost
    /// against another. Nothing else begins one.
    pub(super) async fn write<T, F>(
        self: &Arc<Self>,
        doing: &'static str,
        durability: Durability,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, Failure>> + Send + Sync + 'static,
    {
        let database = Arc::clone(self);
        let task = tokio::spawn(async move { database.attempts(doing, durability, work).await });
        task.await
            .unwrap_or_else(|_ended| Err(Error::Unavailable(Arc::from("the server is stopping"))))
    }

    async fn attempts<T, F>(&self, doing: &'static str, durability: Durability, work: F) -> Result<T, Error>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, Failure>> + Send + Sync,
    {
        let mut attempt = 1;
        loop {
            if let Some(why) = self.stopped.get() {
                return Err(Error::WritesStopped(Arc::clone(why)));
            }
            let failure = match self.attempt(durability, &work).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let error = match failure {
                Failure::Refused(error) => return Err(error),
                Failure::Damaged(damaged) => return Err(self.damaged(damaged)),
                Failure::Again => {
                    attempt += 1;
                    if attempt > ATTEMPTS {
                        return Err(Error::Unavailable(Arc::from(
                            "others change the same rows all the time",
                        )));
                    }
                    continue;
                }
                Failure::Database(error) => error,
            };
            match self.dialect.fault(&error) {
                Fault::Conflict if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt))).await;
                    attempt += 1;
                }
                Fault::Disk => {
                    let why: Arc<str> = Arc::from(crate::metadata::dialect::describe(&error));
                    tracing::error!(%error, database = self.dialect.name(), "the disk failed: writing stops");
                    return Err(Error::WritesStopped(Arc::clone(self.stopped.get_or_init(|| why))));
                }
                _ => return Err(self.dialect.error(doing, error)),
            }
        }
    }

    async fn attempt<T, F>(&self, durability: Durability, work: &F) -> Result<T, Failure>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, Failure>> + Send + Sync,
    {
        let mut lent = self.writers.lend().await?;
        let mut set = lent.durability;
        self.dialect.begin(lent.db(), durability, &mut set).await?;
        lent.durability = set;
        let mut transaction = Transaction {
            lent,
            dialect: Arc::clone(&self.dialect),
            forgotten: Vec::new(),
            rights_changed: false,
        };
        let result = work(&mut transaction).await;
        let result = match result {
            Ok(value) => self.commit(&mut transaction).await.map(|()| value),
            Err(failure) => Err(failure),
        };
        // Also after a commit that failed: it may have happened.
        if !transaction.forgotten.is_empty() {
            self.cache.forget(&transaction.forgotten);
        }
        if transaction.rights_changed {
            self.epochs.expire();
        }
        let undone = match &result {
            Ok(_) => true,
            Err(Failure::Refused(_) | Failure::Damaged(_) | Failure::Again) => {
                sqlx::query("ROLLBACK").execute(transaction.db()).await.is_ok()
            }
            // The connection is closed: that undoes it, and another one does not know of its troubles.
            Err(Failure::Database(_)) => false,
        };
        if undone {
            transaction.lent.give_back();
        }
        result
    }

    async fn commit(&self, transaction: &mut Transaction) -> Result<(), Failure> {
        if self.options.beside_a_server && !transaction.forgotten.is_empty() {
            sqlx::query("UPDATE epochs SET value = value + 1 WHERE name = 'content'")
                .execute(transaction.db())
                .await?;
        }
        sqlx::query("COMMIT").execute(transaction.db()).await?;
        Ok(())
    }
}
