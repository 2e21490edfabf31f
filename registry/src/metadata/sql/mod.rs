//! The rows in SQLite or PostgreSQL.
//!
//! ```text
//! Metadata's methods ─► a noun's file: the queries ─► connections (reads) ─► the database
//!        │ cache: rows that are remembered      └───► transaction (writes) ───┘
//! ```
//!
//! SQLite is read and written by this process alone (but for commands, which write the epoch that [`epochs`] reads), so
//! tags and links are remembered too, and forgotten with the transaction that changes them. Of PostgreSQL only what
//! never changes is remembered.
//!
//! In PostgreSQL transactions read what is committed and lock what they decide by: a repository's row for its
//! manifests and tags, then the rows of blobs in the order of their digests. SQLite has one writer at a time.

mod accounts;
mod blobs;
mod cache;
mod collection;
mod connections;
mod epochs;
mod jobs;
mod keys;
mod manifests;
mod programs;
mod put_manifest;
mod repositories;
mod row;
mod schema;
mod search;
mod tags;
mod transaction;
mod uploads;

use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;

use self::cache::Cache;
use self::connections::Connections;
use self::epochs::Epochs;
use self::row::Damaged;
use super::dialect::{Dialect, Purpose};
use super::{Answer, Error, Metadata, StoredManifest};
use crate::config::{DatabaseUrl, Postgres};
use crate::metrics::{Counters, Lookup};

/// How the rows are used.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many bytes of rows are remembered at most.
    pub cache_bytes: usize,
    /// Counts how often a row was remembered.
    pub lookups: Counters<Lookup>,
    /// Whether this process is a command that may run beside a server on the same file: the server then sees within a
    /// second what it changed.
    pub beside_a_server: bool,
    /// How a PostgreSQL server is used.
    pub postgres: Postgres,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            lookups: Counters::default(),
            beside_a_server: false,
            postgres: Postgres::default(),
        }
    }
}

/// The rows in a SQL database.
#[derive(Debug, Clone)]
pub struct SqlMetadata {
    database: Arc<Database>,
}

/// What all methods share.
#[derive(Debug)]
struct Database {
    dialect: Arc<Dialect>,
    readers: Connections,
    writers: Connections,
    cache: Cache<Remembered>,
    epochs: Epochs,
    options: Options,
    /// Why nothing is written any more.
    stopped: OnceLock<Arc<str>>,
}

/// A row that is remembered.
#[derive(Debug, Clone)]
enum Remembered {
    /// A manifest, by its repository and digest or tag, or by its row's number.
    Manifest(Arc<StoredManifest>),
    /// A blob, by its repository and digest.
    Blob(Arc<blobs::LeasedBlob>),
}

impl SqlMetadata {
    /// Opens the database, makes the tables in an empty one and brings those of an earlier version up to date.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Newer`], [`Error::Corrupt`] and [`Error::Unavailable`], each saying what to do.
    pub async fn open(url: &DatabaseUrl, options: Options) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let dialect = Arc::new(Dialect::new(url, &options.postgres));
        dialect.create().map_err(|error| Error::Open {
            database: dialect.name(),
            detail: Arc::from(error.to_string()),
            way_out: "its folder must exist and be writable for the server's user",
        })?;
        let connections = |purpose| Connections::new(Arc::clone(&dialect), purpose);
        let writers = connections(Purpose::Write);
        schema::bring_up_to_date(&dialect, &writers).await?;
        let database = Database {
            readers: connections(Purpose::Read),
            writers,
            cache: Cache::new(options.cache_bytes, options.lookups.clone()),
            epochs: Epochs::default(),
            options,
            stopped: OnceLock::new(),
            dialect,
        };
        Ok(Self {
            database: Arc::new(database),
        })
    }
}

impl Database {
    /// Makes an error of a row that holds what nobody can have written.
    fn damaged(&self, damaged: Damaged) -> Error {
        Error::Corrupt {
            database: self.dialect.name(),
            detail: Arc::from(damaged.what),
            way_out: self.dialect.way_out(),
        }
    }

    /// Returns what is remembered of a row that can change, if this process would know of a change.
    async fn remembered(&self, key: &str) -> Result<Option<Remembered>, Error> {
        if !self.dialect.serves_one_process() {
            return Ok(None);
        }
        self.auth_epoch().await?;
        Ok(self.cache.get(key))
    }
}

/// The cache's key of a tag.
fn tag_key(repository: &RepositoryName, tag: &str) -> String {
    format!("{repository}:{tag}")
}

/// The cache's key of a manifest in a repository.
fn manifest_key(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{repository}@{digest}")
}

/// The cache's key of a blob in a repository.
fn blob_key(repository: &str, digest: &Digest) -> String {
    format!("{repository}#{digest}")
}

impl Metadata for SqlMetadata {
    fn ping(&self) -> Answer<'_, ()> {
        async {
            let mut reader = self.database.readers.lend().await?;
            let found = sqlx::query("SELECT value FROM epochs WHERE name = 'auth'")
                .fetch_one(reader.db())
                .await;
            reader.done("reading from the database", found).map(drop)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.database.readers.close().await;
            // Last, since the last connection to a file folds its log into it.
            self.database.writers.close().await;
        }
        .boxed()
    }
}
