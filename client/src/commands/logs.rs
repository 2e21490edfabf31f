//! `wharf logs`.

use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::container::logs::{self, Wanted};
use crate::container::{Containers, lifecycle};
use crate::error::Result;
use crate::shim::log::Stream;

/// Flags of `wharf logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(
        short = 'n',
        long,
        value_name = "string",
        default_value = "all",
        allow_hyphen_values = true
    )]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    until: Option<String>,
    container: String,
}

impl Logs {
    /// Prints what a container wrote, each stream where it belongs.
    ///
    /// # Errors
    /// A container that does not exist, a log that cannot be read.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let containers = Containers::new(app.store()?);
        let state = lifecycle::find(app, &containers, &self.container)?.into_state()?;
        let time = |text: &Option<String>| {
            text.as_deref()
                .map(|text| logs::time(text, app.now()))
                .transpose()
        };
        let wanted = Wanted {
            // Docker: what is no number means all.
            tail: self.tail.parse().ok(),
            since: time(&self.since)?,
            until: time(&self.until)?,
            follow: self.follow,
        };
        logs::read(&containers, &state.id, &wanted, &mut |entry| {
            let stamp = if self.timestamps {
                format!("{} ", entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"))
            } else {
                String::new()
            };
            let line = format!("{stamp}{}", entry.log);
            match entry.stream {
                Stream::Stdout => app.output.data(&line)?,
                Stream::Stderr => app.output.note_bytes(line.as_bytes()),
            }
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
