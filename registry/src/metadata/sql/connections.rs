//! Connections that are kept open and lent out one at a time.
//!
//! sqlx's own pool asks the database whether it is still there each time a connection comes back, which costs as much
//! as the query before it. A file does not go away; a server is asked after a connection has rested for a second.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::AnyConnection;
use sqlx::Connection as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::metadata::Error;
use crate::metadata::dialect::{Dialect, Durability, Purpose};

/// How long a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a database may take to let a connection in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long a resting connection to a server is asked whether it still lives.
const RESTED: Duration = Duration::from_secs(1);

/// Connections for one purpose.
pub(super) struct Connections {
    dialect: Arc<Dialect>,
    purpose: Purpose,
    resting: Arc<Mutex<Vec<Resting>>>,
    permits: Arc<Semaphore>,
}

struct Resting {
    connection: AnyConnection,
    durability: Durability,
    since: Instant,
}

/// A connection that somebody uses. Dropped, it is closed: whoever knows that nothing is under way in it any more
/// gives it back with [`give_back`](Self::give_back) or [`done`](Self::done).
pub(super) struct Lent {
    connection: AnyConnection,
    dialect: Arc<Dialect>,
    /// How durable its transactions are at present.
    pub(super) durability: Durability,
    resting: Arc<Mutex<Vec<Resting>>>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Makes room for `count` connections; each is opened when it is first needed.
    pub(super) fn new(dialect: Arc<Dialect>, purpose: Purpose, count: usize) -> Self {
        Self {
            dialect,
            purpose,
            resting: Arc::new(Mutex::new(Vec::with_capacity(count))),
            permits: Arc::new(Semaphore::new(count)),
        }
    }

    /// Lends a connection, after waiting for one if all are lent.
    pub(super) async fn lend(&self) -> Result<Lent, Error> {
        let permit = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned())
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
            resting: Arc::clone(&self.resting),
            _permit: permit,
        })
    }

    async fn open(&self) -> Result<AnyConnection, Error> {
        timeout(CONNECT_TIMEOUT, self.dialect.connect(self.purpose))
            .await
            .map_err(|_elapsed| unavailable("it did not let a connection in within 10 seconds"))?
            .map_err(|error| self.dialect.error("connecting to the database", error))
    }

    async fn rested(&self) -> Option<Resting> {
        loop {
            let mut resting = lock(&self.resting).pop()?;
            if self.dialect.serves_one_process() || resting.since.elapsed() < RESTED {
                return Some(resting);
            }
            match timeout(CONNECT_TIMEOUT, resting.connection.ping()).await {
                Ok(Ok(())) => return Some(resting),
                Ok(Err(_)) | Err(_) => {
                    tracing::debug!("a connection to the database has ended, opening another")
                }
            }
        }
    }

    /// Refuses to lend from now on, waits for what is lent, and ends every connection.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.count()).unwrap_or(u32::MAX);
        // An error says that it was closed before.
        let lent = self.permits.acquire_many(all).await;
        self.permits.close();
        drop(lent);
        let resting = std::mem::take(&mut *lock(&self.resting));
        for resting in resting {
            if let Err(error) = resting.connection.close().await {
                tracing::warn!(%error, "closing a connection to the database failed");
            }
        }
    }

    fn count(&self) -> usize {
        match self.purpose {
            Purpose::Read => self.dialect.readers(),
            Purpose::Write => self.dialect.writers(),
        }
    }
}

impl Lent {
    /// Returns the connection itself.
    pub(super) fn db(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }

    /// Lets the next one use the connection.
    pub(super) fn give_back(self) {
        lock(&self.resting).push(Resting {
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
            Err(error) => Err(self.dialect.error(doing, error)),
        }
    }
}

fn lock(resting: &Mutex<Vec<Resting>>) -> std::sync::MutexGuard<'_, Vec<Resting>> {
    // A panic cannot leave a vector of connections half pushed.
    resting.lock().unwrap_or_else(PoisonError::into_inner)
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
