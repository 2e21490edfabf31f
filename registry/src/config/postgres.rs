//! How a PostgreSQL server is used.

use std::time::Duration;

use super::layers::Layers;
use super::value::{self, DatabaseUrl};

/// The connections to a PostgreSQL server, and how long they wait.
///
/// Every replica has connections of its own: the server's `max_connections` must be more than the number of replicas
/// times the sum of `readers` and `writers`, with some left for commands.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Connections that read, at most.
    pub readers: usize,
    /// Connections that write, at most: so many transactions write at once.
    pub writers: usize,
    /// How long a request waits for a connection while all are in use.
    pub acquire_timeout: Duration,
    /// How long the server may take to let a connection in.
    pub connect_timeout: Duration,
    /// How long one statement may take, its waiting for rows included.
    pub statement_timeout: Duration,
    /// How long a statement waits for rows that another transaction holds.
    pub lock_timeout: Duration,
    /// How long the server lets a transaction of ours stay open without a statement, and its rows locked.
    pub idle_transaction_timeout: Duration,
    /// How long a TCP connection is silent before the server asks whether this side is still there. After three
    /// questions without an answer, a third of this time apart, it ends what was open.
    pub keepalive: Duration,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            readers: 12,
            writers: 8,
            acquire_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            idle_transaction_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(30),
        }
    }
}

impl Postgres {
    pub(super) fn take_all(layers: &mut Layers, database: Option<&DatabaseUrl>) -> Option<Self> {
        let mut count = |key: &str, default: &str| {
            layers.take(&format!("postgres.{key}"), default, |text| {
                value::count(text, 1, 1000)
            })
        };
        let readers = count("readers", "12");
        let writers = count("writers", "8");
        let mut time = |key: &str, default: &str| {
            layers.take(&format!("postgres.{key}"), default, |text| {
                value::duration(text, 1, 3600)
            })
        };
        let acquire_timeout = time("acquire_timeout", "10s");
        let connect_timeout = time("connect_timeout", "5s");
        let statement_timeout = time("statement_timeout", "30s");
        let lock_timeout = time("lock_timeout", "10s");
        let idle_transaction_timeout = time("idle_transaction_timeout", "30s");
        let keepalive = time("keepalive", "30s");
        if let Some(DatabaseUrl::Sqlite(_)) = database {
            layers.warn_unused("postgres.", "the database is SQLite");
        }
        Some(Self {
            readers: readers?,
            writers: writers?,
            acquire_timeout: acquire_timeout?,
            connect_timeout: connect_timeout?,
            statement_timeout: statement_timeout?,
            lock_timeout: lock_timeout?,
            idle_transaction_timeout: idle_transaction_timeout?,
            keepalive: keepalive?,
        })
    }
}
