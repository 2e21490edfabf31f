//! What uploads leave behind that end while the storage cannot be reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharf_protocol::digest::Algorithm;

use super::blob::key;
use super::{Error, Repo};
use crate::blobs::{Session, Staged};

/// The jobs' kind.
const KIND: &str = "discard_upload";
/// How long one attempt may take before another replica makes the next.
const HOLD: Duration = Duration::from_secs(300);
/// After how long a failed attempt is repeated.
const AGAIN: Duration = Duration::from_secs(60);

/// An ended upload's bytes, as the job holds them.
#[derive(Debug, Serialize, Deserialize)]
struct Leftover {
    object_key: String,
    staged: String,
}

impl Repo {
    /// Throws away the bytes of a session whose row is gone; if the storage fails, later.
    pub(super) async fn discard(&self, session: &Session) -> Result<(), Error> {
        let Err(error) = self.blobs.abort(session).await else {
            return Ok(());
        };
        let leftover = Leftover {
            object_key: session.key.to_string(),
            staged: session.staged.to_text(),
        };
        let payload = serde_json::to_string(&leftover)
            .map_err(|error| Error::fault("writing down an ended upload's bytes", error))?;
        self.metadata.add_job(KIND, &payload, self.clock.now()).await?;
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "an ended upload's bytes are thrown away later"
        );
        Ok(())
    }

    /// Throws away the bytes that were left for later; returns of how many uploads.
    ///
    /// # Errors
    /// The first that could not be thrown away: it is tried again.
    pub async fn discard_leftovers(&self) -> Result<usize, Error> {
        let worker = format!("{:032x}", self.random.number());
        let mut discarded = 0;
        loop {
            let now = self.clock.now();
            let job = self.metadata.take_job(KIND, &worker, now, now.plus(HOLD)).await?;
            let Some(job) = job else { return Ok(discarded) };
            let outcome = match session(&job.payload) {
                Ok(session) => self.blobs.abort(&session).await.map_err(Error::from),
                Err(error) => Err(error),
            };
            let again = outcome.is_err().then(|| self.clock.now().plus(AGAIN));
            self.metadata.finish_job(job.id, &worker, again).await?;
            outcome?;
            discarded += 1;
        }
    }
}

/// Reads of a session what its end needs.
fn session(payload: &str) -> Result<Session, Error> {
    let wrong = |error| Error::fault("an ended upload's bytes in the database", error);
    let leftover: Leftover = serde_json::from_str(payload).map_err(wrong)?;
    Ok(Session {
        staged: Staged::from_text(&leftover.staged).map_err(wrong)?,
        // Of no meaning for bytes that go.
        ..Session::new(key(&leftover.object_key)?, Algorithm::Sha256)
    })
}
