//! `wharf logout`.

use std::process::ExitCode;

use clap::Args;

use super::login::host_of;
use crate::app::App;
use crate::error::Result;
use crate::remote::credentials::{self, Credentials};

/// Arguments of `wharf logout`.
#[derive(Debug, Args)]
pub struct Logout {
    server: Option<String>,
}

impl Logout {
    /// Forgets a login.
    ///
    /// # Errors
    /// A file or helper that fails.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let host = host_of(self.server.as_deref(), app);
        app.output.line(&format!(
            "Removing login credentials for {}",
            credentials::key_of(&host)
        ))?;
        Credentials::load(&app.docker_config)?.remove(&host)?;
        Ok(ExitCode::SUCCESS)
    }
}
