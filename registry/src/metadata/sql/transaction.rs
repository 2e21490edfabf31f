//! The one way to write.
//!
//! A transaction that failed is undone by the database, and done again if that can help:
//!
//! - it lost against another one (a serialization failure, a deadlock, a lock waited for too long): again after a
//!   moment, ten times and half a minute at most;
//! - its connection ended before it was to be committed: once more over another connection, since the server may just
//!   have been restarted;
//! - its connection ended **while it was committed**: never. It may have happened, and a second one would then be
//!   refused by what the first one did (an upload session that has ended, a tag that has moved), so that the caller
//!   would be told that nothing was done and might remove what is there now. The answer is [`Error::Unavailable`],
//!   which promises nothing; whoever repeats the request finds what became of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Executor as _, SqlStr};
use tokio::time::Instant;

use super::Database;
use super::connections::Lent;
use super::row::Damaged;
use crate::metadata::Error;
use crate::metadata::db::Db;
use crate::metadata::dialect::{Dialect, Durability, Fault, describe};

/// How often a transaction that lost against another is done again.
const ATTEMPTS: u32 = 10;
/// Until how long after its first beginning it is.
const CONTENDS_FOR: Duration = Duration::from_secs(30);

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
    /// The connection ended while the transaction was committed: it happened, or it did not.
    Unsure(sqlx::Error),
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
    pub(super) fn db(&mut self) -> &mut Db {
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
        let begun = Instant::now();
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
                Failure::Unsure(error) => return Err(unsure(&error)),
                Failure::Again => None,
                Failure::Database(error) => Some(error),
            };
            let again = attempt < ATTEMPTS && begun.elapsed() < CONTENDS_FOR;
            match (error.as_ref().map(|error| self.dialect.fault(error)), error) {
                (None | Some(Fault::Conflict), _) if again => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt))).await;
                }
                (Some(Fault::Disconnected), _) if attempt == 1 => {}
                (Some(Fault::Disk), Some(error)) => return Err(self.stop_writing(&error)),
                (_, Some(error)) => return Err(self.dialect.error(doing, error)),
                (_, None) => {
                    let why = "others change the same rows all the time";
                    return Err(Error::Unavailable(Arc::from(why)));
                }
            }
            attempt += 1;
        }
    }

    fn stop_writing(&self, error: &sqlx::Error) -> Error {
        tracing::error!(%error, database = self.dialect.name(), "the disk failed: writing stops");
        let why = self.stopped.get_or_init(|| Arc::from(describe(error)));
        Error::WritesStopped(Arc::clone(why))
    }

    async fn attempt<T, F>(&self, durability: Durability, work: &F) -> Result<T, Failure>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, Failure>> + Send + Sync,
    {
        let mut lent = self.writers.lend().await?;
        let mut set = lent.durability;
        if let Err(error) = self.dialect.begin(lent.db(), durability, &mut set).await {
            lent.fail(&error);
            return Err(Failure::Database(error));
        }
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
        // A connection that failed is closed: that undoes what was open, and another does not know of its troubles.
        match &result {
            Ok(_) => transaction.lent.give_back(),
            Err(Failure::Refused(_) | Failure::Damaged(_) | Failure::Again) => {
                match sqlx::query("ROLLBACK").execute(transaction.db()).await {
                    Ok(_) => transaction.lent.give_back(),
                    Err(error) => transaction.lent.fail(&error),
                }
            }
            Err(Failure::Database(error) | Failure::Unsure(error)) => transaction.lent.fail(error),
        }
        result
    }

    async fn commit(&self, transaction: &mut Transaction) -> Result<(), Failure> {
        if self.options.beside_a_server && !transaction.forgotten.is_empty() {
            sqlx::query("UPDATE epochs SET value = value + 1 WHERE name = 'content'")
                .execute(transaction.db())
                .await?;
        }
        match transaction.db().execute(sqlx::raw_sql("COMMIT")).await {
            Ok(_) => Ok(()),
            Err(error) if self.dialect.may_have_committed(&error) => Err(Failure::Unsure(error)),
            Err(error) => Err(Failure::Database(error)),
        }
    }
}

fn unsure(error: &sqlx::Error) -> Error {
    Error::Unavailable(Arc::from(format!(
        "the connection ended while a change was committed, which may or may not have happened: {}",
        describe(error)
    )))
}
