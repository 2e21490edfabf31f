//! `serve`.

mod descriptors;
mod first_user;
mod stop;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use self::stop::Stop;
use super::{Error, print};
use crate::app::App;
use crate::blobs::cloud::Cloud;
use crate::blobs::disk::Disk;
use crate::blobs::{Blobs, Counted};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, DatabaseUrl, LogFormat, StorageUrl};
use crate::http;
use crate::http::server::{Limits, Tls};
use crate::metadata::{Metadata, Options, SqlMetadata};
use crate::metrics::{Metrics, Traffic};
use crate::random::{Random, SystemRandom};
use crate::upkeep;

/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until SIGTERM or SIGINT, then lets running requests end.
pub(super) async fn serve(config: Config) -> Result<(), Error> {
    start_log(&config);
    let tls = config
        .tls
        .as_ref()
        .map(|tls| Tls::load(&tls.cert, &tls.key))
        .transpose()?;
    let _lock = lock(&config)?;
    let stop = Stop::listen()?;
    let (listener, address) = bind("listen", config.listen).await?;
    let open_page = match config.metrics_listen {
        Some(address) => Some(bind("metrics_listen", address).await?),
        None => None,
    };

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let metrics = Arc::new(Metrics::new(clock.now()));
    let blobs = open_storage(&config.storage)?;
    let blobs = Arc::new(Counted::new(blobs, metrics.storage_errors.clone()));
    let rows = Options {
        cache_bytes: config.limits.cache_bytes,
        lookups: metrics.row_lookups.clone(),
        postgres: config.postgres.clone(),
        ..Options::default()
    };
    let metadata: Arc<dyn Metadata> = Arc::new(SqlMetadata::open(&config.database, rows).await?);
    first_user::add(&config, &*metadata, &*clock, &*random).await?;
    if matches!(config.database, DatabaseUrl::Sqlite(_)) {
        metadata.release_all_uploads().await?;
    }
    let limits = limits(&config);
    let rows = Arc::clone(&metadata);
    let app = App::new(config, rows, blobs, clock, random, Arc::clone(&metrics)).await?;
    let app = Arc::new(app);

    let open_page = open_page.map(|(listener, address)| OpenPage::start(listener, address, &metrics));
    let upkeep = tokio::spawn(upkeep::run(Arc::clone(&app)));
    print(&format!("listening on {address}\n"))?;
    tracing::info!(%address, tls = tls.is_some(), "serving");
    let traffic = metrics.traffic.clone();
    let router = http::router(Arc::clone(&app));
    http::server::serve(listener, tls, limits, traffic, router, stop.wait(&app)).await;
    upkeep.abort();
    if let Some(open_page) = open_page {
        open_page.stop().await;
    }
    metadata.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn start_log(config: &Config) {
    // The filter was parsed with the settings.
    let filter = EnvFilter::try_new(&config.log).unwrap_or_default();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A log that was started before, by a test, goes on.
    let _ = match config.log_format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text => log
            .with_ansi(std::io::stderr().is_terminal() && !no_color())
            .try_init(),
    };
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Makes the data folder and keeps a second server out of it until the file is closed.
fn lock(config: &Config) -> Result<File, Error> {
    let folder = config.data_dir.as_path();
    let failed = |doing: &'static str| {
        move |source| Error::Io {
            setting: "data_dir",
            doing,
            path: folder.to_owned(),
            source,
            fix: "give a folder that this user may write to with --data-dir",
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("making the folder"))?;
    let path = folder.join("server.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(failed("making a file in"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(folder.to_owned())),
        Err(error) => Err(failed("locking")(error.into())),
    }
}

/// Takes an address, and returns the one that it came to.
async fn bind(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let taken = |source| taken(setting, address, source);
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let bound = listener.local_addr().map_err(taken)?;
    Ok((listener, bound))
}

fn taken(setting: &'static str, address: SocketAddr, source: std::io::Error) -> Error {
    let fix = match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "stop what listens there, or give another address (port 0 takes a free one)"
        }
        std::io::ErrorKind::AddrNotAvailable => "give an address of this machine",
        std::io::ErrorKind::PermissionDenied => "give a port from 1024 up",
        _ => "give another address",
    };
    Error::Listen {
        setting,
        address,
        source,
        fix,
    }
}

/// The page of metrics on an address of its own, without a login and without TLS.
struct OpenPage {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl OpenPage {
    /// How many may read it at once.
    const READERS: usize = 16;

    fn start(listener: TcpListener, address: SocketAddr, metrics: &Arc<Metrics>) -> Self {
        tracing::info!(%address, "serving metrics");
        let limits = Limits {
            connections: Self::READERS,
            drain_timeout: Duration::from_secs(1),
            ..Limits::default()
        };
        let router = http::metrics::router(Arc::clone(metrics));
        let (stop, stopped) = oneshot::channel();
        // Readers of the page are not clients: what moves here is counted nowhere.
        let traffic = Traffic::default();
        let serving = tokio::spawn(http::server::serve(
            listener,
            None,
            limits,
            traffic,
            router,
            async {
                drop(stopped.await);
            },
        ));
        Self { stop, serving }
    }

    /// Ends it. It is the last to go, so that a scrape sees the requests of the end.
    async fn stop(self) {
        drop(self.stop);
        drop(self.serving.await);
    }
}

fn open_storage(storage: &StorageUrl) -> Result<Arc<dyn Blobs>, Error> {
    match storage {
        StorageUrl::File(folder) => Ok(Arc::new(Disk::open(folder)?)),
        StorageUrl::Cloud(url) => Ok(Arc::new(Cloud::open(url)?)),
    }
}

fn limits(config: &Config) -> Limits {
    let limits = &config.limits;
    Limits {
        connections: descriptors::make_room(limits.connections),
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        header_bytes: limits.header_bytes,
        head_refusal: http::error::head_too_large(limits.header_bytes),
        body_rate_bytes: limits.body_rate_bytes,
        body_rate_window: limits.body_window,
        drain_timeout: DRAIN,
    }
}
