//! Everything that a command needs, wired once: output, settings, the store, the clock.

use std::path::PathBuf;
use std::sync::OnceLock;

use jiff::Timestamp;

use crate::config::Settings;
use crate::error::{Error, Kind, Result};
use crate::output::Output;
use crate::store::Store;

/// What a command works with.
#[derive(Debug)]
pub struct App {
    /// The only way to print.
    pub output: Output,
    /// What the user configured.
    pub settings: Settings,
    /// Where docker's client configuration is (`--config`, `DOCKER_CONFIG`, `~/.docker`).
    pub docker_config: PathBuf,
    /// `-D`.
    pub debug: bool,
    store: OnceLock<Store>,
}

impl App {
    /// Wires an app; the store is opened when it is first needed.
    pub fn new(output: Output, settings: Settings, docker_config: PathBuf, debug: bool) -> Self {
        Self {
            output,
            settings,
            docker_config,
            debug,
            store: OnceLock::new(),
        }
    }

    /// The store, opened at the first call.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn store(&self) -> Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open()?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Runs an operation until it ends or the user presses ^C; what the operation has made durable stays.
    ///
    /// # Errors
    /// The operation's, or [`Kind::Interrupted`].
    pub async fn until_interrupted<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = operation => result,
            _ = tokio::signal::ctrl_c() => Err(Error::new(Kind::Interrupted, "interrupted")),
        }
    }
}

/// Random bytes as lower-case hexadecimal digits, two a byte.
pub(crate) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0_u8; BYTES];
    #[expect(
        clippy::expect_used,
        reason = "getrandom(2) cannot fail on a kernel that has openat2(2)"
    )]
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
