//! A connection whose every statement ends in time.

use std::time::Duration;
use std::{fmt, io};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::error::BoxDynError;
use sqlx::{Any, AnyConnection, Connection as _, Describe, Either, Error, Execute, Executor, SqlStr};
use tokio::time::{Instant, timeout_at};

/// A connection to a database.
///
/// A server ends a statement that takes too long by itself, but one whose machine is gone, or behind a network that
/// drops everything, never says a word: so this side waits `patience` for each statement's answer and no longer. What
/// a connection is good for after that nobody knows; it must be closed.
///
/// Each statement is an event of the log at the level `trace`, with the target `wharf_registry::sql`.
pub(super) struct Db {
    connection: AnyConnection,
    patience: Option<Duration>,
}

impl Db {
    /// Waits `patience` for each answer over this connection; without, for ever.
    pub(super) fn new(connection: AnyConnection, patience: Option<Duration>) -> Self {
        Self { connection, patience }
    }

    /// Waits so long for each answer from now on, without a time for ever; returns what held before.
    pub(super) fn wait(&mut self, patience: Option<Duration>) -> Option<Duration> {
        std::mem::replace(&mut self.patience, patience)
    }

    /// Asks the other side whether it is there.
    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        let deadline = self.deadline();
        in_time(deadline, self.connection.ping()).await
    }

    /// Ends the connection in an orderly way.
    pub(super) async fn close(self) -> Result<(), Error> {
        let deadline = self.deadline();
        in_time(deadline, self.connection.close()).await
    }

    fn deadline(&self) -> Option<Instant> {
        self.patience.map(|patience| Instant::now() + patience)
    }
}

async fn in_time<T>(
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        None => answer.await,
        Some(deadline) => timeout_at(deadline, answer)
            .await
            .unwrap_or_else(|_elapsed| Err(silent())),
    }
}

fn silent() -> Error {
    let why = "the database said nothing for longer than a statement may take";
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}

/// A statement on its way to the database.
struct Sent {
    sql: SqlStr,
    arguments: Result<Option<AnyArguments>, BoxDynError>,
    persistent: bool,
}

impl Sent {
    fn of<'q>(mut query: impl Execute<'q, Any>) -> Self {
        let arguments = query.take_arguments();
        let persistent = query.persistent();
        let sql = query.sql();
        tracing::trace!(target: "wharf_registry::sql", statement = sql.as_str());
        Self {
            sql,
            arguments,
            persistent,
        }
    }
}

impl Execute<'_, Any> for Sent {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&AnyStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

impl<'c> Executor<'c> for &'c mut Db {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let deadline = self.deadline();
        let answers = self.connection.fetch_many(Sent::of(query));
        if deadline.is_none() {
            return answers;
        }
        stream::try_unfold(answers, move |mut answers| async move {
            let answer = in_time(deadline, answers.try_next()).await?;
            Ok(answer.map(|answer| (answer, answers)))
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let deadline = self.deadline();
        let answer = self.connection.fetch_optional(Sent::of(query));
        in_time(deadline, answer).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        let deadline = self.deadline();
        let answer = self.connection.prepare_with(sql, parameters);
        in_time(deadline, answer).boxed()
    }

    // Asked for by sqlx's feature `macros`, whose macros are not used here.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'c: 'e,
    {
        self.connection.describe(sql)
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
