//! Numbers in the database that say that what is remembered must be asked again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Database;
use crate::metadata::Error;

/// How long a number that was read is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// The numbers as they were read last.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    read: Mutex<Read>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Read {
    at: Option<Instant>,
    auth: i64,
    content: i64,
    expirations: u64,
}

impl Epochs {
    /// Lets the next one who asks read them anew.
    pub(super) fn expire(&self) {
        let mut read = self.lock();
        read.at = None;
        read.expirations = read.expirations.wrapping_add(1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Returns the epoch of rights, at most a second old. If a command has changed content beside the server since it
    /// was last read, everything remembered is forgotten.
    pub(super) async fn auth_epoch(&self) -> Result<i64, Error> {
        let before = *self.epochs.lock();
        if before.at.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Ok(before.auth);
        }
        let asked = Instant::now();
        let mut reader = self.readers.lend().await?;
        let rows = sqlx::query_as("SELECT name, value FROM epochs")
            .fetch_all(reader.db())
            .await;
        let rows: Vec<(String, i64)> = reader.done("reading the epochs", rows)?;
        let value = |wanted: &str| {
            rows.iter()
                .find(|(name, _)| name == wanted)
                .map_or(0, |(_, value)| *value)
        };
        let (auth, content) = (value("auth"), value("content"));
        let mut last = self.epochs.lock();
        if content > last.content {
            self.cache.clear();
            last.content = content;
        }
        // Another one may have asked later and ended sooner, and what expired meanwhile stays so.
        last.auth = auth.max(last.auth);
        if last.expirations == before.expirations {
            last.at = last.at.max(Some(asked));
        }
        Ok(last.auth)
    }
}
