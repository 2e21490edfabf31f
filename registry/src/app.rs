//! Everything that a request needs, wired once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thiserror::Error;
use wharf_protocol::manifest::ManifestLimits;

use crate::auth::htpasswd::HtpasswdError;
use crate::auth::issuers::IssuerError;
use crate::auth::{Auth, Htpasswd, Issuers, KeyError, KeyRing, Passwords, Policy, Throttle, Tokens};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::Buffers;
use crate::http::operation::ParseLimits;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::repo::{Repo, Rules};
use crate::search::Index;

/// The registry behind its sockets.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// Who may do what.
    pub auth: Auth,
    /// The repositories.
    pub repo: Arc<Repo>,
    /// The search.
    pub index: Index,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Memory for bodies that are needed whole.
    pub buffers: Buffers,
    /// What a request's parse must know.
    pub parse_limits: ParseLimits,
    /// The time, as all of it sees it.
    pub clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    request_ids: RequestIds,
    stopping: AtomicBool,
}

/// Why the registry can't be wired.
#[derive(Debug, Error)]
pub enum StartError {
    /// The signing keys can't be read or made.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The htpasswd file can't be used.
    #[error(transparent)]
    Htpasswd(#[from] HtpasswdError),
    /// An issuer of JWTs can't be used.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
}

impl App {
    /// Wires the registry over rows and bytes.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn new(
        config: Config,
        metadata: Arc<dyn Metadata>,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let htpasswd = config.htpasswd.as_deref().map(Htpasswd::open).transpose()?;
        let issuers = Issuers::open(&config.issuers)?;
        let keys = KeyRing::load(Arc::clone(&metadata), Arc::clone(&random), &*clock).await?;
        let tokens = Tokens::new(
            Arc::clone(&metadata),
            Arc::clone(&clock),
            Arc::clone(&random),
            keys,
            config.service.clone(),
            config.token_life,
            config.refresh_token_life,
        );
        let limits = &config.limits;
        let auth = Auth {
            policy: Policy::new(Arc::clone(&metadata), config.anonymous, htpasswd, issuers),
            passwords: Passwords::new(&*random),
            throttle: Throttle::new(limits.login_failures_account, limits.login_failures_address),
            tokens,
            clock: Arc::clone(&clock),
        };
        let index = Index::new(Arc::clone(&metadata));
        let request_ids = RequestIds::new(&*random);
        let repo = Arc::new(Repo::new(
            metadata,
            blobs,
            Arc::clone(&clock),
            Arc::clone(&random),
            rules(&config),
        ));
        let parse_limits = ParseLimits {
            manifest_tags: limits.manifest_tags,
            page_entries: u32::try_from(limits.page_entries).unwrap_or(u32::MAX),
        };
        let buffers = Buffers::new(limits.buffer_bytes);
        Ok(Self {
            buffers,
            config,
            auth,
            repo,
            index,
            metrics,
            parse_limits,
            clock,
            random,
            request_ids,
            stopping: AtomicBool::new(false),
        })
    }

    /// Notes that the server was told to stop.
    pub(crate) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Returns a new request's id: 16 hexadecimal digits.
    pub(crate) fn request_id(&self) -> [u8; 16] {
        self.request_ids.next()
    }

    /// Returns a line that no content holds: it parts the pieces of an answer that has several.
    pub(crate) fn boundary(&self) -> String {
        format!("{:032x}", self.random.number())
    }
}

fn rules(config: &Config) -> Rules {
    let limits = &config.limits;
    Rules {
        deletes: config.deletes,
        sparse_manifests: config.sparse_manifests,
        media_types: config.media_types.clone(),
        manifest: ManifestLimits {
            max_bytes: limits.manifest_bytes,
            max_descriptors: limits.manifest_descriptors,
            max_depth: limits.manifest_depth,
        },
        uploads_per_user: u32::try_from(limits.uploads_per_user).unwrap_or(u32::MAX),
        upload_life: config.upload_life,
        lease: config.lease,
    }
}

/// Numbers requests so that no two of any process have the same.
#[derive(Debug)]
struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    fn new(random: &dyn Random) -> Self {
        let mut start = [0; 8];
        random.fill(&mut start);
        Self {
            start: u64::from_le_bytes(start),
            count: AtomicU64::new(0),
        }
    }

    fn next(&self) -> [u8; 16] {
        let id = self
            .start
            .wrapping_add(self.count.fetch_add(1, Ordering::Relaxed));
        let mut text = [b'0'; 16];
        for (at, digit) in text.iter_mut().enumerate() {
            let nibble = u8::try_from(id >> (60 - 4 * at) & 15).unwrap_or_default();
            *digit = if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            };
        }
        text
    }
}
