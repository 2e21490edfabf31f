//! `wharf images`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Result;
use crate::image::catalog::Catalog;
use crate::image::list::{self, Listed};
use crate::output::{template, units};

/// The help text of `--format` where tables are offered.
pub(crate) const FORMAT: &str = "Format output using a custom template:\n\
    'table':            Print output in table format with column headers (default)\n\
    'table TEMPLATE':   Print output in table format using the given Go template\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const COLUMNS: &[template::Column] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// Flags of `wharf images`.
#[derive(Debug, Args)]
pub struct Images {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    #[arg(long, value_name = "string", help = FORMAT)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    repository: Option<String>,
}

impl Images {
    /// Prints the images. There are no intermediate ones, so `--all` shows the same.
    ///
    /// # Errors
    /// An unknown filter, a wrong template.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let catalog = Catalog::of(app.store()?);
        let mut filters = self.filter.clone();
        filters.extend(
            self.repository
                .iter()
                .map(|pattern| format!("reference={pattern}")),
        );
        let listed = list::filter(list::all(&catalog)?, &filters, &catalog, &app.settings)?;
        let rows: Vec<Value> = listed.iter().flat_map(|listed| self.rows(app, listed)).collect();
        let (format, table) = match self.format.as_deref() {
            _ if self.quiet && self.format.is_none() => ("{{.ID}}", TABLE),
            None if self.digests => ("table", TABLE_WITH_DIGESTS),
            None => ("table", TABLE),
            Some(format) => (format, TABLE),
        };
        app.output
            .data(&template::render_rows(format, table, COLUMNS, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn rows(&self, app: &App, listed: &Listed) -> Vec<Value> {
        let id = if self.no_trunc {
            listed.image.id.as_str()
        } else {
            listed.image.id.short()
        };
        let created = listed.created().filter(|created| created.as_second() > 0);
        let since = created.map_or("N/A".to_owned(), |created| units::ago(created, app.now()));
        let at = created.map_or("N/A".to_owned(), |created| {
            created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
        });
        let size = units::size(listed.image.size_bytes, 3);
        listed
            .rows(&app.settings)
            .into_iter()
            .map(|row| {
                json!({
                    "Containers": "N/A", "CreatedAt": at, "CreatedSince": since, "Digest": row.digest,
                    "ID": id, "Repository": row.repository, "SharedSize": "N/A", "Size": size,
                    "Tag": row.tag, "UniqueSize": "N/A", "VirtualSize": size,
                })
            })
            .collect()
    }
}
