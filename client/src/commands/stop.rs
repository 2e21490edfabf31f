//! `wharf stop`, `wharf kill` and `wharf rm`: each does its work container by container.

use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::container::lifecycle;
use crate::error::{Error, Kind, Result};

/// Flags of `wharf stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(
        short = 't',
        long,
        value_name = "int",
        allow_hyphen_values = true,
        alias = "time"
    )]
    timeout: Option<i64>,
    containers: Vec<String>,
}

/// Flags of `wharf kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    containers: Vec<String>,
}

/// Flags of `wharf rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    containers: Vec<String>,
}

impl Stop {
    /// Ends containers.
    ///
    /// # Errors
    /// All that failed, a line each.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        each(app, &self.containers, |word| {
            lifecycle::stop(app, word, self.timeout, self.signal.as_deref())
        })
    }
}

impl Kill {
    /// Sends a signal to containers.
    ///
    /// # Errors
    /// All that failed, a line each.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let signal = self.signal.as_deref().unwrap_or("KILL");
        each(app, &self.containers, |word| lifecycle::kill(app, word, signal))
    }
}

impl Rm {
    /// Removes containers. There are no anonymous volumes, so `-v` has nothing more to remove.
    ///
    /// # Errors
    /// All that failed, a line each; with `--force` one that does not exist is only told.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        each(app, &self.containers, |word| {
            match lifecycle::remove(app, word, self.force) {
                Err(error) if self.force && error.kind() == Kind::NotFound => {
                    app.output.note(&error.to_string());
                    Err(Error::new(Kind::ClosedPipe, ""))
                }
                other => other,
            }
        })
    }
}

/// Does it to each, printing those that it was done to, as they were typed. An error of
/// [`Kind::ClosedPipe`] was told already.
pub(super) fn each(app: &App, words: &[String], work: impl Fn(&str) -> Result<()>) -> Result<ExitCode> {
    let mut failed: Vec<Error> = Vec::new();
    for word in words {
        match work(word) {
            Ok(()) => app.output.line(word)?,
            Err(error) if error.kind() == Kind::ClosedPipe => {}
            Err(error) => failed.push(error),
        }
    }
    let Some(kind) = failed.first().map(Error::kind) else {
        return Ok(ExitCode::SUCCESS);
    };
    let texts: Vec<String> = failed.iter().map(ToString::to_string).collect();
    Err(Error::new(kind, texts.join("\n")))
}
