//! `wharf search`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::app::App;
use crate::config::DOCKER_HUB;
use crate::error::{Error, Kind, Result};
use crate::image::pull;
use crate::output::{table, template};
use crate::remote::search::Found;

/// How many cells of a description are shown.
const DESCRIPTION_CELLS: usize = 45;

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

const COLUMNS: &[template::Column] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];

/// Flags of `wharf search`.
#[derive(Debug, Args)]
pub struct Search {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Max number of search results
    #[arg(long, value_name = "int")]
    limit: Option<u32>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    term: String,
}

impl Search {
    /// Prints what the registry finds, the best liked first.
    ///
    /// # Errors
    /// A limit out of range, an unknown filter, or what the registry answers.
    pub async fn execute(self, app: &App) -> Result<ExitCode> {
        let limit = match self.limit.unwrap_or(0) {
            0 => 25,
            limit @ 1..=100 => limit,
            other => {
                return Err(Error::engine(
                    Kind::BadArguments,
                    format!("limit {other} is outside the range of [1, 100]"),
                ));
            }
        };
        let (host, term) = match self.term.split_once('/') {
            Some((first, term)) if first.contains(['.', ':']) || first == "localhost" => (first, term),
            _ => (app.settings.default_registry.as_str(), self.term.as_str()),
        };
        let host = if host == DOCKER_HUB {
            "index.docker.io"
        } else {
            host
        };
        let registry = pull::registry_of(app, host)?;
        let mut found = app
            .until_interrupted(async { Ok(registry.search(term, limit).await?) })
            .await?;
        for filter in &self.filter {
            let keep = keep(filter)?;
            found.retain(|found| keep(found));
        }
        found.sort_by_key(|found| std::cmp::Reverse(found.star_count));
        let rows: Vec<Value> = found.iter().map(|found| self.row(found)).collect();
        let format = self.format.as_deref().unwrap_or("table");
        app.output
            .data(&template::render_rows(format, TABLE, COLUMNS, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn row(&self, found: &Found) -> Value {
        let description: String = found
            .description
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let description = if self.no_trunc {
            description
        } else {
            table::ellipsis(&description, DESCRIPTION_CELLS)
        };
        let mark = |set: bool| if set { "[OK]" } else { "" };
        json!({
            "Name": found.name, "Description": description, "StarCount": found.star_count.to_string(),
            "IsOfficial": mark(found.is_official), "IsAutomated": mark(found.is_automated),
        })
    }
}

type Keep = Box<dyn Fn(&Found) -> bool>;

fn keep(filter: &str) -> Result<Keep> {
    let wrong = || Error::engine(Kind::BadArguments, format!("invalid filter '{filter}'"));
    let (key, value) = filter.split_once('=').ok_or_else(wrong)?;
    Ok(match key {
        "stars" => {
            let least: u64 = value.parse().map_err(|_not_a_number| wrong())?;
            Box::new(move |found| found.star_count >= least)
        }
        "is-official" => {
            let wanted = crate::cli::walk::boolean(value).ok_or_else(wrong)?;
            Box::new(move |found| found.is_official == wanted)
        }
        "is-automated" => {
            let wanted = crate::cli::walk::boolean(value).ok_or_else(wrong)?;
            Box::new(move |found| found.is_automated == wanted)
        }
        _ => return Err(wrong()),
    })
}
