//! The commands: one file each, over the same rows that a server uses.

mod config;
mod password;
mod programs;
mod rules;
mod serve;
mod user;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::app::StartError;
use crate::auth::Denial;
use crate::auth::basic::BadLogin;
use crate::auth::htpasswd::HtpasswdError;
use crate::auth::issuers::IssuerError;
use crate::blobs::cloud::AddressError;
use crate::blobs::disk::OpenError;
use crate::cli::{Cli, Command, Places, Serve};
use crate::config::{Config, ConfigError};
use crate::http::server::TlsError;
use crate::metadata::{self, BadPattern, Metadata as _, Options, SqlMetadata};

/// Why a command did not do what it should. What it says names the thing and the way out.
#[derive(Debug, Error)]
pub enum Error {
    /// A command that a later version has.
    #[error("{0} is not built yet")]
    NotBuilt(&'static str),
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database refused or failed.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The folder of blobs can't be used.
    #[error("storage: {0}")]
    Storage(#[from] OpenError),
    /// The bucket of blobs can't be used.
    #[error("storage: {0}")]
    Cloud(#[from] AddressError),
    /// The registry can't be wired.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The htpasswd file can't be used.
    #[error(transparent)]
    Htpasswd(#[from] HtpasswdError),
    /// An issuer of JWTs can't be used.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The certificate can't be used.
    #[error("tls_cert, tls_key: {0}")]
    Tls(#[from] TlsError),
    /// A name or a password is not taken.
    #[error(transparent)]
    Login(#[from] BadLogin),
    /// A pattern or a list of actions is wrong.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The rights could not be read.
    #[error(transparent)]
    Denial(#[from] Denial),
    /// There is nobody to ask for a password.
    #[error("stdin is not a terminal: give the password by --password-stdin")]
    NoTerminal,
    /// The two passwords that were typed differ.
    #[error("the two passwords are not the same")]
    PasswordsDiffer,
    /// A user to change is not there, or can't be changed so.
    #[error("{0}")]
    User(String),
    /// Another server has the folder.
    #[error("data_dir: {} is in use by another wharf-registry: stop it, or give this one a --data-dir of its own", .0.display())]
    Locked(PathBuf),
    /// The address is taken, or can't be had.
    #[error("{setting}: {address}: {source}: {fix}")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
        /// The way out.
        fix: &'static str,
    },
    /// A file or folder can't be used.
    #[error("{setting}: {doing} {}: {source}: {fix}", path.display())]
    Io {
        /// The setting that names it.
        setting: &'static str,
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
        /// The way out.
        fix: &'static str,
    },
    /// Our own streams, threads or signals.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Runs one command.
///
/// # Errors
/// See [`enum@Error`].
pub fn run(cli: Cli) -> Result<(), Error> {
    let Cli { places, command } = cli;
    match command {
        Command::Serve(flags) => runtime()?.block_on(serve::serve(load(&places, &flags)?)),
        Command::User(command) => runtime()?.block_on(user::user(load(&places, &Serve::default())?, command)),
        Command::Robot(command) => {
            runtime()?.block_on(programs::robot(load(&places, &Serve::default())?, command))
        }
        Command::Key(command) => {
            runtime()?.block_on(programs::key(load(&places, &Serve::default())?, command))
        }
        Command::Grant(grant) => runtime()?.block_on(rules::grant(load(&places, &Serve::default())?, grant)),
        Command::Revoke(revoke) => {
            runtime()?.block_on(rules::revoke(load(&places, &Serve::default())?, revoke))
        }
        Command::Rules(command) => {
            runtime()?.block_on(rules::rules(load(&places, &Serve::default())?, command))
        }
        Command::Config(command) => config::config(&places, command),
        Command::Gc(_) => Err(Error::NotBuilt("gc")),
        Command::Why(_) => Err(Error::NotBuilt("why")),
        Command::Restore(_) => Err(Error::NotBuilt("restore")),
        Command::Check(_) => Err(Error::NotBuilt("check")),
    }
}

fn load(places: &Places, serve: &Serve) -> Result<Config, Error> {
    let config = Config::load(places, serve)?;
    for warning in &config.warnings {
        say(&format!("warning: {warning}"));
    }
    Ok(config)
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|source| Error::System {
        doing: "starting threads",
        source,
    })
}

/// Opens the database for a command that may run beside a server.
async fn database(config: &Config) -> Result<SqlMetadata, Error> {
    Ok(SqlMetadata::open(
        &config.database,
        Options {
            beside_a_server: true,
            postgres: config.postgres.clone(),
            ..Options::default()
        },
    )
    .await?)
}

/// Does something with the database and closes it.
async fn with_database<T>(
    config: &Config,
    work: impl AsyncFnOnce(&SqlMetadata) -> Result<T, Error>,
) -> Result<T, Error> {
    let metadata = database(config).await?;
    let result = work(&metadata).await;
    metadata.close().await;
    result
}

/// Writes a line for people.
fn say(line: &str) {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(std::io::stderr(), "wharf-registry: {line}");
}

/// Writes lines of data. A reader that has seen enough is no error.
fn print(lines: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::System {
            doing: "writing to stdout",
            source,
        }),
        _ => Ok(()),
    }
}
