//! Connections that are kept open and lent out one at a time.
//!
//! sqlx's own pool asks the database whether it is still there each time a connection comes back, which costs as much
//! as the query before it. A file does not go away; a server is asked after a connection has rested for a second, and
//! whenever another connection to it has ended since: then it was restarted, and all of them are dead.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::metadata::Error;
use crate::metadata::db::Db;
use crate::metadata::dialect::{Dialect, Durability, Fault, Purpose};

/// After how long a resting connection to a server is asked whether it still lives.
const RESTED: Duration = Duration::from_secs(1);

/// Connections for one purpose.
pub(super) struct Connections {
    dialect: Arc<Dialect>,
    purpose: Purpose,
    shelf: Arc<Mutex<Shelf>>,
    permits: Arc<Semaphore>,
}

/// The connections that nobody uses.
#[derive(Default)]
struct Shelf {
    resting: Vec<Resting>,
    /// When a connection was found dead. What has rested since before then may be dead too.
    doubted: Option<Instant>,
}

struct Resting {
    connection: Db,
    durability: Durability,
    since: Instant,
}

/// A connection that somebody uses. Dropped, it is closed: whoever knows that nothing is under way in it any more
/// gives it back with [`give_back`](Self::give_back) or [`done`](Self::done).
pub(super) struct Lent {
    connection: Db,
    dialect: Arc<Dialect>,
    /// How durable its transactions are at present.
    pub(super) durability: Durability,
    shelf: Arc<Mutex<Shelf>>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Makes room for as many connections as the database takes; each is opened when it is first needed.
    pub(super) fn new(dialect: Arc<Dialect>, purpose: Purpose) -> Self {
        let count = dialect.connections(purpose);
        Self {
            dialect,
            purpose,
            shelf: Arc::default(),
            permits: Arc::new(Semaphore::new(count)),
        }
    }

    /// Lends a connection, after waiting for one if all are lent.
    pub(super) async fn lend(&self) -> Result<Lent, Error> {
        let permit = timeout(
            self.dialect.acquire_timeout(),
            Arc::clone(&self.permits).acquire_owned(),
        )
        .await
        .map_err(|_elapsed| unavailable("every connection is in use"))?
        .map_err(|_closed| unavailable("the server is stopping"))?;
        let (connection, durability) = match self.rested().await {
            Some(resting) => (resting.connection, resting.durability),
            None => (self.open().await?, Durability::Full),
        };
        Ok(Lent {
            connection,
            dialect: Arc::clone(&self.dialect),
            durability,
            shelf: Arc::clone(&self.shelf),
            _permit: permit,
        })
    }

    async fn open(&self) -> Result<Db, Error> {
        timeout(self.dialect.connect_timeout(), self.dialect.connect(self.purpose))
            .await
            .map_err(|_elapsed| unavailable("it did not let a connection in in time"))?
            .map_err(|error| self.dialect.error("connecting to the database", error))
    }

    async fn rested(&self) -> Option<Resting> {
        loop {
            let (mut resting, doubted) = {
                let mut shelf = lock(&self.shelf);
                (shelf.resting.pop()?, shelf.doubted)
            };
            let fresh =
                resting.since.elapsed() < RESTED && doubted.is_none_or(|doubted| doubted < resting.since);
            if fresh || self.dialect.serves_one_process() {
                return Some(resting);
            }
            match timeout(self.dialect.connect_timeout(), resting.connection.ping()).await {
                Ok(Ok(())) => return Some(resting),
                Ok(Err(_)) | Err(_) => {
                    lock(&self.shelf).doubted = Some(Instant::now());
                    tracing::debug!("a connection to the database has ended, opening another");
                }
            }
        }
    }

    /// Refuses to lend from now on, waits for what is lent, and ends every connection.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.dialect.connections(self.purpose)).unwrap_or(u32::MAX);
        // An error says that it was closed before.
        let lent = self.permits.acquire_many(all).await;
        self.permits.close();
        drop(lent);
        let resting = std::mem::take(&mut lock(&self.shelf).resting);
        for resting in resting {
            if let Err(error) = resting.connection.close().await {
                tracing::warn!(%error, "closing a connection to the database failed");
            }
        }
    }
}

impl Lent {
    /// Returns the connection itself.
    pub(super) fn db(&mut self) -> &mut Db {
        &mut self.connection
    }

    /// Lets the next one use the connection.
    pub(super) fn give_back(self) {
        lock(&self.shelf).resting.push(Resting {
            connection: self.connection,
            durability: self.durability,
            since: Instant::now(),
        });
    }

    /// Ends a read: gives the connection back, or closes it if the read failed.
    pub(super) fn done<T>(self, doing: &'static str, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        match result {
            Ok(value) => {
                self.give_back();
                Ok(value)
            }
            Err(error) => {
                let dialect = Arc::clone(&self.dialect);
                self.fail(&error);
                Err(dialect.error(doing, error))
            }
        }
    }

    /// Closes the connection after an error. If it was dead, the others are asked before they are used again.
    pub(super) fn fail(self, error: &sqlx::Error) {
        if self.dialect.fault(error) == Fault::Disconnected {
            lock(&self.shelf).doubted = Some(Instant::now());
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> std::sync::MutexGuard<'_, Shelf> {
    // A panic cannot leave a vector of connections half pushed.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(why: &'static str) -> Error {
    Error::Unavailable(Arc::from(why))
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}
