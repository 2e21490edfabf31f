//! `wharf ps`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::images::FORMAT as FORMAT_OF_TABLES;
use crate::app::App;
use crate::container::list::{self, Selection};
use crate::container::{Containers, lifecycle};
use crate::error::{Error, Kind, Result};
use crate::output::template::{self, Column};

const TABLE: &str =
    "{{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}";

const COLUMNS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

/// Flags of `wharf ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    #[arg(long, value_name = "string", help = FORMAT_OF_TABLES)]
    format: Option<String>,
    /// Show n last created containers (includes all states) (default -1)
    #[arg(short = 'n', long, value_name = "int", allow_hyphen_values = true)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

impl Ps {
    /// Lists containers.
    ///
    /// # Errors
    /// A filter or a template that is wrong.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let containers = Containers::new(app.store()?);
        let entries = lifecycle::repair(app, &containers)?;
        let last = if self.latest { Some(1) } else { self.last };
        let newest = last
            .filter(|last| *last >= 0)
            .map(|last| usize::try_from(last).unwrap_or(usize::MAX));
        let mut selection = Selection::new(self.all, newest);
        if last == Some(0) {
            return Err(Error::new(
                Kind::BadArguments,
                "--last 0 shows nothing: give a number above 0",
            ));
        }
        for filter in &self.filter {
            selection.filter(filter, &entries)?;
        }
        let rows: Vec<Value> = selection
            .of(entries)
            .iter()
            .map(|entry| list::row(&containers, entry, app.now(), self.no_trunc, self.size))
            .collect();
        let table = if self.size {
            format!("{TABLE}\\t{{{{.Size}}}}")
        } else {
            TABLE.to_owned()
        };
        let format = match (self.format.as_deref(), self.quiet) {
            (Some(format), false) => format,
            (Some(format), true) if !format.starts_with("table") => format,
            (_, true) => "{{.ID}}",
            (None, false) => "table",
        };
        app.output
            .data(&template::render_rows(format, &table, COLUMNS, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
