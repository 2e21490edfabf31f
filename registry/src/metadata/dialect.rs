//! All that knows that there are two databases.
//!
//! Queries are written once. Where the two differ, a query holds a word in braces, and [`Dialect::sql`] puts in what
//! the database wants:
//!
//! | word | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{for update}` `{for share}` `{skip locked}` | nothing: one writer at a time | row locks |
//! | `{list}` | the texts of the JSON array `$1`, as a table with a column `value` | the same |
//! | `{id}` `{text}` `{bytes}` | types of columns, in migrations | |

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, SqlSafeStr as _, SqlStr};

use super::Error;
use super::db::Db;
use crate::config::{DatabaseUrl, Postgres};

/// Which database it is, and where.
#[derive(Debug, Clone)]
pub(super) enum Dialect {
    /// A file.
    Sqlite(PathBuf),
    /// A server, by its URL.
    Postgres(String, Postgres),
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reads.
    Read,
    /// Write transactions.
    Write,
}

/// How durable a transaction is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It survives a crash of the machine.
    Full,
    /// It survives a crash of the process; a crash of the machine may undo it together with all that came later.
    Relaxed,
}

/// What kind of failure a database's error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Somebody else was faster: the whole transaction may be done again.
    Conflict,
    /// The connection is gone or was refused. What had not been committed is undone.
    Disconnected,
    /// The database is there and cannot do this now: it took too long, or has no room for one more.
    Busy,
    /// No space.
    Full,
    /// The disk failed.
    Disk,
    /// What the file holds makes no sense.
    Corrupt,
    /// The file cannot be opened or written.
    Unwritable,
    /// None of these.
    Other,
}

const SQLITE_WAY_OUT: &str = "stop the server and restore the file from a backup, together with the folder of blobs; \
     `sqlite3 FILE .recover` may save what is readable of a damaged one";
const POSTGRES_WAY_OUT: &str = "restore the database from a backup, or name an empty one";

/// How long a SQLite connection is waited for, and how long opening the file may take.
const SQLITE_PATIENCE: Duration = Duration::from_secs(30);
/// How much longer than PostgreSQL itself this side waits for a statement's end.
const GRACE: Duration = Duration::from_secs(5);

impl Dialect {
    /// Speaks to this database.
    pub(super) fn new(url: &DatabaseUrl, postgres: &Postgres) -> Self {
        match url {
            DatabaseUrl::Sqlite(path) => Self::Sqlite(path.clone()),
            DatabaseUrl::Postgres(url) => Self::Postgres(url.clone(), postgres.clone()),
        }
    }

    /// Returns whether this process alone serves from the database, so that what it remembers is true until it changes
    /// it.
    pub(super) fn serves_one_process(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Returns how many connections there may be for a purpose.
    pub(super) fn connections(&self, purpose: Purpose) -> usize {
        match (self, purpose) {
            (Self::Sqlite(_), Purpose::Read) => 4,
            // One writer at a time is all that a file takes.
            (Self::Sqlite(_), Purpose::Write) => 1,
            (Self::Postgres(_, settings), Purpose::Read) => settings.readers,
            (Self::Postgres(_, settings), Purpose::Write) => settings.writers,
        }
    }

    /// Returns how long a caller waits for a connection while all are in use.
    pub(super) fn acquire_timeout(&self) -> Duration {
        match self {
            Self::Sqlite(_) => SQLITE_PATIENCE,
            Self::Postgres(_, settings) => settings.acquire_timeout,
        }
    }

    /// Returns how long the database may take to let a connection in.
    pub(super) fn connect_timeout(&self) -> Duration {
        match self {
            Self::Sqlite(_) => SQLITE_PATIENCE,
            Self::Postgres(_, settings) => settings.connect_timeout,
        }
    }

    /// Returns the database's name as its operator knows it, without a password.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url, _) => {
                let after_password = url.rsplit_once('@').map_or(url.as_str(), |(_, rest)| rest);
                let shown = after_password.split('?').next().unwrap_or_default();
                format!("PostgreSQL at {}", shown.trim_start_matches("postgres://"))
            }
        }
    }

    /// Returns the query in the database's own words.
    pub(super) fn sql(&self, query: &'static str) -> SqlStr {
        // Safe: the words put in are those below.
        AssertSqlSafe(self.words(query)).into_sql_str()
    }

    /// Puts the database's own words in place of those in braces.
    fn words(&self, text: &'static str) -> Cow<'static, str> {
        let words: [(&str, &str); 7] = match self {
            Self::Sqlite(_) => [
                ("{for update}", ""),
                ("{for share}", ""),
                ("{skip locked}", ""),
                ("{list}", "(SELECT value FROM json_each($1))"),
                ("{id}", "INTEGER PRIMARY KEY"),
                ("{text}", "TEXT"),
                ("{bytes}", "BLOB"),
            ],
            Self::Postgres(..) => [
                // Not FOR UPDATE: that would make every insert wait that names the row as its parent.
                ("{for update}", "FOR NO KEY UPDATE"),
                ("{for share}", "FOR SHARE"),
                ("{skip locked}", "FOR NO KEY UPDATE SKIP LOCKED"),
                (
                    "{list}",
                    "(SELECT value COLLATE \"C\" AS value FROM json_array_elements_text(CAST($1 AS json)) AS list (value))",
                ),
                ("{id}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
                ("{text}", "TEXT COLLATE \"C\""),
                ("{bytes}", "BYTEA"),
            ],
        };
        let mut text = Cow::Borrowed(text);
        for (word, own) in words {
            if text.contains(word) {
                text = Cow::Owned(text.replace(word, own));
            }
        }
        text
    }

    /// Opens one connection.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<Db, sqlx::Error> {
        let (url, set_up, patience) = match self {
            Self::Sqlite(path) => (sqlite_url(path)?, Cow::Borrowed(sqlite_set_up(purpose)), None),
            Self::Postgres(url, settings) => {
                let set_up = postgres_set_up(settings, purpose);
                let patience = settings.statement_timeout + GRACE;
                (url.clone(), Cow::Owned(set_up), Some(patience))
            }
        };
        let options: AnyConnectOptions = url.parse()?;
        let mut connection = options.disable_statement_logging().connect().await?;
        // Safe: numbers alone are put into it.
        connection.execute(sqlx::raw_sql(AssertSqlSafe(set_up))).await?;
        Ok(Db::new(connection, patience))
    }

    /// Begins a write transaction. `set` is what the connection's transactions were last set to.
    pub(super) async fn begin(
        &self,
        connection: &mut Db,
        durability: Durability,
        set: &mut Durability,
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => {
                if *set != durability {
                    let pragma = match durability {
                        Durability::Full => "PRAGMA synchronous = FULL",
                        Durability::Relaxed => "PRAGMA synchronous = NORMAL",
                    };
                    connection.execute(sqlx::raw_sql(pragma)).await?;
                    *set = durability;
                }
                // Immediate: a transaction that reads first and then writes would be refused if another process wrote
                // in between.
                sqlx::query("BEGIN IMMEDIATE").execute(connection).await?;
            }
            // Always durable: PostgreSQL flushes many transactions at once.
            Self::Postgres(..) => {
                connection.execute(sqlx::raw_sql("BEGIN")).await?;
            }
        }
        Ok(())
    }

    /// Lets one transaction at a time pass this point with this word, until it ends.
    pub(super) async fn lock(&self, connection: &mut Db, word: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(..) => {
                sqlx::query("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))")
                    .bind(word)
                    .execute(connection)
                    .await?;
            }
        }
        Ok(())
    }

    /// Lets the transaction that has begun take and wait for as long as it needs, as far as the server is concerned.
    pub(super) async fn lift_time_outs(&self, connection: &mut Db) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(..) => {
                let unlimited = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
                connection.execute(sqlx::raw_sql(unlimited)).await?;
            }
        }
        Ok(())
    }

    /// Returns whether the database holds any table, other than those of the system.
    pub(super) async fn has_tables(&self, connection: &mut Db) -> Result<bool, sqlx::Error> {
        let query = match self {
            Self::Sqlite(_) => "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
            Self::Postgres(..) => "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()",
        };
        let tables: i64 = sqlx::query_scalar(query).fetch_one(connection).await?;
        Ok(tables > 0)
    }

    /// Runs the statements of a migration, in the transaction that is open.
    pub(super) async fn migrate(
        &self,
        connection: &mut Db,
        statements: &'static str,
    ) -> Result<(), sqlx::Error> {
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(self.words(statements))))
            .await?;
        Ok(())
    }

    /// Returns whether a table of this name exists.
    pub(super) async fn has_table(&self, connection: &mut Db, table: &str) -> Result<bool, sqlx::Error> {
        let query = match self {
            Self::Sqlite(_) => "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1",
            Self::Postgres(..) => {
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1"
            }
        };
        let tables: i64 = sqlx::query_scalar(query)
            .bind(table)
            .fetch_one(connection)
            .await?;
        Ok(tables > 0)
    }

    /// Says what kind of failure an error is.
    pub(super) fn fault(&self, error: &sqlx::Error) -> Fault {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                match self {
                    Self::Sqlite(_) => sqlite_fault(&code),
                    Self::Postgres(..) => postgres_fault(&code),
                }
            }
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Fault::Busy,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => Fault::Disconnected,
            _ => Fault::Other,
        }
    }

    /// Makes an error of ours of a database's.
    pub(super) fn error(&self, doing: &'static str, source: sqlx::Error) -> Error {
        let detail = || Arc::from(describe(&source));
        match self.fault(&source) {
            Fault::Conflict | Fault::Disconnected | Fault::Busy => Error::Unavailable(detail()),
            Fault::Full => Error::Full(detail()),
            Fault::Corrupt => Error::Corrupt {
                database: self.name(),
                detail: detail(),
                way_out: self.way_out(),
            },
            Fault::Unwritable => Error::Open {
                database: self.name(),
                detail: detail(),
                way_out: match self {
                    Self::Sqlite(_) => "the folder and the file must be writable for the server's user",
                    Self::Postgres(..) => {
                        "the database must exist, and its user must be let in and own it: see the setting `database`"
                    }
                },
            },
            Fault::Disk | Fault::Other => Error::Io {
                doing,
                source: Arc::new(source),
            },
        }
    }

    /// Says what to do with a damaged database.
    pub(super) fn way_out(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => SQLITE_WAY_OUT,
            Self::Postgres(..) => POSTGRES_WAY_OUT,
        }
    }

    /// Returns whether a commit that failed with this error may have happened all the same: where the database itself
    /// did not refuse it. A server that ends a connection says so whatever became of the commit.
    pub(super) fn may_have_committed(&self, error: &sqlx::Error) -> bool {
        let refused = matches!(error, sqlx::Error::Database(_)) && self.fault(error) != Fault::Disconnected;
        !refused && !self.serves_one_process()
    }

    /// Makes the file of a new database, readable by its owner alone, since it will hold keys.
    pub(super) fn create(&self) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        match self {
            Self::Sqlite(path) => std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map(drop),
            Self::Postgres(..) => Ok(()),
        }
    }
}

/// Returns what a database said, without the Rust around it.
pub(super) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

/// SQLite's primary result codes are the low byte of the extended ones.
fn sqlite_fault(code: &str) -> Fault {
    match code.parse::<u32>().map_or(0, |code| code & 0xff) {
        5 | 6 => Fault::Conflict,
        8 | 14 => Fault::Unwritable,
        10 => Fault::Disk,
        11 | 26 => Fault::Corrupt,
        13 => Fault::Full,
        _ => Fault::Other,
    }
}

/// PostgreSQL's SQLSTATEs.
///
/// A server whose disk fails (58030) stops and starts by itself, and what was committed is in its log: so, other than
/// with a file of our own, nothing is unknown after it.
fn postgres_fault(code: &str) -> Fault {
    match code {
        // Serialization failures, deadlocks, locks waited for too long, and a table that a newer replica's migration
        // has changed since a statement on it was prepared.
        "40001" | "40P01" | "55P03" | "0A000" => Fault::Conflict,
        "53100" => Fault::Full,
        // Ended by an operator, a crash or a time-out; and a server that only reads, after a fail-over.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" => Fault::Disconnected,
        "57014" | "58030" => Fault::Busy,
        "XX001" | "XX002" => Fault::Corrupt,
        // No such database, no right to it.
        "3D000" | "42501" => Fault::Unwritable,
        code if code.starts_with("08") => Fault::Disconnected,
        code if code.starts_with("53") => Fault::Busy,
        code if code.starts_with("28") => Fault::Unwritable,
        _ => Fault::Other,
    }
}

fn sqlite_set_up(purpose: Purpose) -> &'static str {
    match purpose {
        // A reader never writes: the pragma makes a mistake an error. The busy time-out is for commands beside the
        // server, which write for milliseconds.
        Purpose::Read => "PRAGMA busy_timeout = 10000; PRAGMA query_only = 1;",
        Purpose::Write => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = 1; PRAGMA journal_size_limit = 67108864;"
        }
    }
}

/// The time-outs are the server's, which knows what it is doing for whom: it ends a statement or a transaction and
/// frees its rows also when this side is gone. Keepalives have no effect over a Unix socket.
///
/// What is asked here follows indexes from few rows to few rows. Joins that read a table from end to end look cheap to
/// the planner where its statistics are old or skewed, and are never right.
fn postgres_set_up(settings: &Postgres, purpose: Purpose) -> String {
    let keepalive = settings.keepalive.as_secs();
    format!(
        "SET application_name = 'wharf-registry'; SET client_min_messages = 'warning';
         SET enable_hashjoin = off; SET enable_mergejoin = off;
         SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = {read_only};
         SET statement_timeout = {statement}; SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {idle};
         SET tcp_keepalives_idle = {keepalive}; SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = 3",
        read_only = purpose == Purpose::Read,
        statement = settings.statement_timeout.as_millis(),
        lock = settings.lock_timeout.as_millis(),
        idle = settings.idle_transaction_timeout.as_millis(),
        interval = keepalive.div_ceil(3),
    )
}

/// Writes the path into a URL, each byte that could be misread as `%` and two digits.
fn sqlite_url(path: &Path) -> Result<String, sqlx::Error> {
    let path = std::path::absolute(path).map_err(sqlx::Error::Io)?;
    let text = path.to_str().ok_or_else(|| {
        sqlx::Error::Configuration(format!("the path {} is not UTF-8", path.display()).into())
    })?;
    let mut url = String::from("sqlite://");
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => url.push(char::from(byte)),
            // Writing to a string cannot fail.
            other => drop(write!(url, "%{other:02x}")),
        }
    }
    url.push_str("?mode=rw");
    Ok(url)
}
