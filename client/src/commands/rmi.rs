//! `wharf rmi`.

use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::container::Containers;
use crate::error::{Error, Kind, Result};
use crate::image::remove::{self, Removed};

/// Flags of `wharf rmi`.
#[derive(Debug, Args)]
pub struct Rmi {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    images: Vec<String>,
}

impl Rmi {
    /// Removes each image; one that fails does not keep the others. There are no untagged parents, so
    /// `--no-prune` changes nothing.
    ///
    /// # Errors
    /// All that failed, a line each.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let mut failed: Vec<Error> = Vec::new();
        let containers = Containers::new(app.store()?);
        let is_running = |id: &str| id.parse().is_ok_and(|id| containers.is_locked(&id));
        for typed in &self.images {
            match remove::remove(app, typed, self.force, &is_running) {
                Ok(removed) => {
                    for removed in removed {
                        app.output.line(&match removed {
                            Removed::Untagged(name) => format!("Untagged: {name}"),
                            Removed::Deleted(digest) => format!("Deleted: {digest}"),
                        })?;
                    }
                }
                Err(error) => failed.push(error),
            }
        }
        let fatal = failed
            .iter()
            .any(|error| !(self.force && error.kind() == Kind::NotFound));
        let kind = failed.first().map(Error::kind);
        let text = failed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        match kind {
            Some(kind) if fatal => Err(Error::new(kind, text)),
            Some(_) => {
                app.output.note(&text);
                Ok(ExitCode::SUCCESS)
            }
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
