//! The settings: from flags, the environment, a file and defaults, in that order, into one typed value.
//!
//! Everything is verified before anything is returned, and every problem is reported at once, each with the setting's
//! name, where it was set, and the way out.

mod issuers;
mod layers;
mod namespaces;
mod postgres;
mod redirects;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use self::issuers::{ClaimRule, Issuer, KeySource};
use self::layers::Layers;
pub use self::namespaces::Namespaces;
pub use self::postgres::Postgres;
pub use self::redirects::Redirects;
pub(crate) use self::value::duration;
pub use self::value::{Anonymous, DatabaseUrl, LogFormat, Network, StorageUrl};
use crate::cli::{Places, Serve};

/// A year's seconds.
const YEAR_S: u64 = 365 * 86400;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where whoever connects may read `/metrics`, and nothing else; nowhere without.
    pub metrics_listen: Option<SocketAddr>,
    /// The folder of everything that isn't elsewhere by `database` and `storage`.
    pub data_dir: PathBuf,
    /// Where the rows are.
    pub database: DatabaseUrl,
    /// How a PostgreSQL server is used.
    pub postgres: Postgres,
    /// Where the bytes are.
    pub storage: StorageUrl,
    /// The certificate chain and its key; plain HTTP without.
    pub tls: Option<Tls>,
    /// Holds the password for `admin` on the first start.
    pub admin_password_file: Option<PathBuf>,
    /// What those may do who don't log in.
    pub anonymous: Anonymous,
    /// A file of more users, with bcrypt hashes; read again when it changes.
    pub htpasswd: Option<PathBuf>,
    /// Whose JWTs are taken in a password's place.
    pub issuers: Vec<Issuer>,
    /// The `service` of tokens and challenges.
    pub service: String,
    /// `scheme://host[:port]` as clients see it; by default each request's own.
    pub public_url: Option<String>,
    /// The proxies whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether manifests, tags and blobs can be deleted.
    pub deletes: bool,
    /// Whether an index may name manifests, and an image blobs, that are absent: what mirrors need.
    pub sparse_manifests: bool,
    /// Where the content of other registries is kept, for clients that take this one for their mirror.
    pub namespaces: Namespaces,
    /// Which blobs clients fetch from the storage itself.
    pub redirects: Redirects,
    /// Manifest media types accepted beside the OCI's and Docker's.
    pub media_types: Vec<String>,
    /// How long a token is good for.
    pub token_life: Duration,
    /// How long an unused refresh token stays good.
    pub refresh_token_life: Duration,
    /// How long an untouched upload stays open.
    pub upload_life: Duration,
    /// How long a blob that a push was told about is safe from collection without a reference.
    pub lease: Duration,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter of `tracing-subscriber`.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// For how long requests are still taken, not ready any more, after the server was told to stop.
    pub stop_delay: Duration,
    /// Whether each answer is logged, not only those that failed on our side.
    pub access_log: bool,
    /// The limits on what clients may do.
    pub limits: Limits,
    /// Each setting's name, its value as text (passwords blanked) and where it came from.
    pub shown: Vec<(String, String, String)>,
    /// What the user should know but what stops nothing.
    pub warnings: Vec<String>,
}

/// The files of the server's certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// The limits on what clients may do; each is refused with its name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A manifest's bytes.
    pub manifest_bytes: usize,
    /// Descriptors in one manifest.
    pub manifest_descriptors: usize,
    /// JSON nesting of a manifest.
    pub manifest_depth: usize,
    /// Tags in one `?tag=` PUT.
    pub manifest_tags: usize,
    /// Entries of one page of a listing.
    pub page_entries: usize,
    /// A request's head, in bytes.
    pub header_bytes: usize,
    /// The time for a request's head.
    pub header_timeout: Duration,
    /// The time a connection may be idle.
    pub idle_timeout: Duration,
    /// The slowest rate of a body, in bytes a second over `body_window`.
    pub body_rate_bytes: u64,
    /// The time over which the rate is measured.
    pub body_window: Duration,
    /// Uploads that one user may have open.
    pub uploads_per_user: usize,
    /// Scopes in one token.
    pub token_scopes: usize,
    /// Connections at once.
    pub connections: usize,
    /// Failed logins a minute for one account.
    pub login_failures_account: u32,
    /// Failed logins a minute from one address.
    pub login_failures_address: u32,
    /// Memory for bodies that are needed whole (manifests, forms), over all requests, in bytes.
    pub buffer_bytes: usize,
    /// Memory for rows that are asked for often, manifests above all, in bytes.
    pub cache_bytes: usize,
}

/// What is wrong with the settings: every problem, one a line.
#[derive(Debug, Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    /// One line a problem, each with the setting, where it was set, and the way out.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads the settings of this process: flags, then environment, then file, then defaults.
    ///
    /// # Errors
    /// Every problem found, when there is one.
    pub fn load(places: &Places, serve: &Serve) -> Result<Self, ConfigError> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Self::from_layers(places, serve, environment)
    }

    /// As [`Config::load`], with the environment given.
    ///
    /// # Errors
    /// Every problem found, when there is one.
    pub fn from_layers(
        places: &Places,
        serve: &Serve,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(places, serve, environment)?;
        let config = Self::take_all(&mut layers);
        layers.finish();
        match config {
            Some(mut config) if layers.problems.is_empty() => {
                config.shown = layers.shown;
                config.warnings = layers.warnings;
                Ok(config)
            }
            _ => Err(ConfigError {
                problems: layers.problems,
            }),
        }
    }

    /// Takes every setting; `None` when one was bad, which `layers` then tells.
    fn take_all(layers: &mut Layers) -> Option<Self> {
        let listen = layers.take("listen", "127.0.0.1:5000", value::address);
        let metrics_listen = layers.take("metrics_listen", "", value::optional_address);
        let data_dir = layers.take("data_dir", &value::default_data_dir(), value::path);
        let folder = data_dir.clone().unwrap_or_default();
        let database = layers.take(
            "database",
            &inside(&folder, "sqlite", "registry.db"),
            value::database,
        );
        let postgres = Postgres::take_all(layers, database.as_ref());
        let storage = layers.take("storage", &inside(&folder, "file", "storage"), value::storage);
        let tls_cert = layers.take("tls_cert", "", value::optional_path);
        let tls_key = layers.take("tls_key", "", value::optional_path);
        let tls = layers.pair("tls_cert", tls_cert, "tls_key", tls_key);
        let admin_password_file = layers.take("admin_password_file", "", value::optional_path);
        let anonymous = layers.take("anonymous", "none", value::anonymous);
        let htpasswd = layers.take("htpasswd", "", value::optional_path);
        let issuers = layers.take("issuers", "[]", issuers::parse);
        let service = layers.take("service", "wharf-registry", value::service);
        let public_url = layers.take("public_url", "", value::public_url);
        let trusted_proxies = layers.take("trusted_proxies", "", value::networks);
        let deletes = layers.take("deletes", "true", value::switch);
        let sparse_manifests = layers.take("sparse_manifests", "false", value::switch);
        let namespaces = layers.take("namespaces", "", namespaces::namespaces);
        let redirects = Redirects::take_all(layers, storage.as_ref());
        let media_types = layers.take("media_types", "", value::media_types);
        let token_life = layers.take("token_life", "5m", |text| value::duration(text, 60, 24 * 3600));
        let refresh = layers.take("refresh_token_life", "90d", |text| {
            value::duration(text, 60, 10 * YEAR_S)
        });
        let upload_life = layers.take("upload_life", "24h", |text| value::duration(text, 60, YEAR_S));
        let lease = layers.take("lease", "24h", |text| value::duration(text, 3600, YEAR_S));
        let log = layers.take("log", "info", value::log_filter);
        let log_format = layers.take("log_format", "text", value::log_format);
        let stop_delay = layers.take("stop_delay", "0s", |text| value::duration(text, 0, 600));
        let access_log = layers.take("access_log", "false", value::switch);
        let limits = Limits::take_all(layers);
        Some(Self {
            listen: listen?,
            metrics_listen: metrics_listen?,
            data_dir: data_dir?,
            database: database?,
            postgres: postgres?,
            storage: storage?,
            tls: tls?.map(|(cert, key)| Tls { cert, key }),
            admin_password_file: admin_password_file?,
            anonymous: anonymous?,
            htpasswd: htpasswd?,
            issuers: issuers?,
            service: service?,
            public_url: public_url?,
            trusted_proxies: trusted_proxies?,
            deletes: deletes?,
            sparse_manifests: sparse_manifests?,
            namespaces: namespaces?,
            redirects: redirects?,
            media_types: media_types?,
            token_life: token_life?,
            refresh_token_life: refresh?,
            upload_life: upload_life?,
            lease: lease?,
            log: log?,
            log_format: log_format?,
            stop_delay: stop_delay?,
            access_log: access_log?,
            limits: limits?,
            shown: Vec::new(),
            warnings: Vec::new(),
        })
    }
}

impl Limits {
    fn take_all(layers: &mut Layers) -> Option<Self> {
        let mut size = |key: &str, default: &str, least: u64, most: u64| {
            layers.take(&format!("limits.{key}"), default, |text| {
                value::size(text, least, most)
            })
        };
        let manifest_bytes = size("manifest_bytes", "4MiB", 4 << 20, 8 << 20);
        let header_bytes = size("header_bytes", "32KiB", 8 << 10, 1 << 20);
        let body_rate_bytes = size("body_rate_bytes", "1KiB", 0, 1 << 30);
        let buffer_bytes = size("buffer_bytes", "256MiB", 16 << 20, 1 << 40);
        let cache_bytes = size("cache_bytes", "16MiB", 0, 1 << 40);
        let mut count = |key: &str, default: &str, least: u64, most: u64| {
            layers.take(&format!("limits.{key}"), default, |text| {
                value::count(text, least, most)
            })
        };
        let manifest_descriptors = count("manifest_descriptors", "4096", 1, 1 << 20);
        let manifest_depth = count("manifest_depth", "32", 8, 128);
        let manifest_tags = count("manifest_tags", "32", 10, 1000);
        let page_entries = count("page_entries", "10000", 1, 1_000_000);
        let uploads_per_user = count("uploads_per_user", "1000", 1, 1_000_000);
        let token_scopes = count("token_scopes", "64", 1, 1000);
        let connections = count("connections", "4096", 1, 1_000_000);
        let login_failures_account = count("login_failures_account", "10", 1, 1_000_000);
        let login_failures_address = count("login_failures_address", "60", 1, 1_000_000);
        let mut time = |key: &str, default: &str| {
            layers.take(&format!("limits.{key}"), default, |text| {
                value::duration(text, 1, 86400)
            })
        };
        let header_timeout = time("header_timeout", "10s");
        let idle_timeout = time("idle_timeout", "60s");
        let body_window = time("body_window", "60s");
        Some(Self {
            manifest_bytes: usize::try_from(manifest_bytes?).ok()?,
            manifest_descriptors: manifest_descriptors?,
            manifest_depth: manifest_depth?,
            manifest_tags: manifest_tags?,
            page_entries: page_entries?,
            header_bytes: usize::try_from(header_bytes?).ok()?,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            body_rate_bytes: body_rate_bytes?,
            body_window: body_window?,
            uploads_per_user: uploads_per_user?,
            token_scopes: token_scopes?,
            connections: connections?,
            login_failures_account: u32::try_from(login_failures_account?).ok()?,
            login_failures_address: u32::try_from(login_failures_address?).ok()?,
            buffer_bytes: usize::try_from(buffer_bytes?).ok()?,
            cache_bytes: usize::try_from(cache_bytes?).ok()?,
        })
    }
}

/// Names a thing inside the data folder: `sqlite:DIR/registry.db`.
fn inside(folder: &Path, scheme: &str, name: &str) -> String {
    format!("{scheme}:{}", folder.join(name).display())
}

/// Settings by name, as the layers gave them.
type Given = BTreeMap<String, (String, String)>;
