//! The rules of pushing, pulling and deleting, without HTTP.
//!
//! Every function takes an [`Authorized`](crate::auth::Authorized) operation and nothing else that a client says, so
//! nothing here asks again whether it may. What must be atomic is one call of [`Metadata`]; bytes become visible only
//! by a row that is written after they are durable.
//!
//! Writes run in tasks of their own: a client that goes away in the middle does not leave a
//! session claimed.

mod advice;
mod blob;
mod describe;
mod error;
mod leftover;
mod manifest;
mod mount;
mod referrer;
mod tag;
mod upload;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use wharf_protocol::manifest::ManifestLimits;
use wharf_protocol::name::RepositoryName;

pub use self::advice::Advice;
pub use self::error::Error;
pub use self::manifest::Written;
pub use self::mount::Mounted;
pub use self::referrer::Referrers;
pub use self::upload::Progress;
use crate::blobs::{Blobs, Key};
use crate::clock::Clock;
use crate::metadata::{self, Lease, Metadata};
use crate::random::Random;

/// What can be set of the rules.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether anything can be deleted.
    pub deletes: bool,
    /// Whether an index may name manifests, and an image blobs, that are absent: what mirrors need.
    pub sparse_manifests: bool,
    /// Media types of manifests that are taken beside the known ones.
    pub media_types: Vec<String>,
    /// What a manifest may not exceed.
    pub manifest: ManifestLimits,
    /// Open uploads of one user.
    pub uploads_per_user: u32,
    /// How long an untouched upload stays open.
    pub upload_life: Duration,
    /// How long a blob stays that a push was told about.
    pub lease: Duration,
}

/// The repositories.
#[derive(Debug)]
pub struct Repo {
    metadata: Arc<dyn Metadata>,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    rules: Rules,
}

impl Repo {
    /// Wires the rules to rows and bytes.
    pub fn new(
        metadata: Arc<dyn Metadata>,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        rules: Rules,
    ) -> Self {
        Self {
            metadata,
            blobs,
            clock,
            random,
            rules,
        }
    }

    /// Returns whether reads and writes would work now.
    ///
    /// # Errors
    /// What would not.
    pub async fn ready(&self) -> Result<(), Error> {
        self.metadata.ping().await?;
        self.blobs.ready().await.map_err(Error::from)
    }

    /// Returns how large chunks should be at least, if the storage minds.
    pub fn chunk_min_bytes(&self) -> Option<u64> {
        self.blobs.chunk_min_bytes()
    }

    fn lease(&self) -> Lease {
        Lease {
            now: self.clock.now(),
            keep: self.rules.lease,
        }
    }

    fn new_key(&self) -> Key {
        Key::new(self.clock.now(), self.random.number())
    }

    /// Turns "there is no such thing here" into "there is no such repository" where that is so.
    async fn unknown(&self, name: &RepositoryName, otherwise: Error) -> Error {
        match self.metadata.tags(name, None, 1).await {
            Err(metadata::Error::RepositoryUnknown) => Error::NameUnknown { name: name.clone() },
            Ok(_) => otherwise,
            Err(error) => error.into(),
        }
    }
}

/// Carries a write to its end even if whoever asked for it stops waiting.
async fn to_the_end<T: Send + 'static>(
    write: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    use tracing::Instrument as _;
    tokio::spawn(write.in_current_span())
        .await
        .unwrap_or_else(|error| Err(Error::fault("a write", error)))
}
