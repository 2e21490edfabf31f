//! `wharf import`.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::archive::{cannot_open, import};
use crate::image::name::Name;
use crate::image::platform;

/// Flags of `wharf import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    source: String,
    repository: Option<String>,
}

impl Import {
    /// Makes an image of a file system's archive and prints its id.
    ///
    /// # Errors
    /// As [`import::import`].
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        if self.source.starts_with("http://") || self.source.starts_with("https://") {
            return Err(Error::new(
                Kind::Unsupported,
                "importing from a URL is not supported by wharf yet",
            )
            .hint("Fetch it first: curl -L URL | wharf import -"));
        }
        let name = self
            .repository
            .as_deref()
            .map(|name| Name::parse(name, &app.settings))
            .transpose()?;
        if name.as_ref().is_some_and(|name| name.digest.is_some()) {
            return Err(Error::new(Kind::BadArguments, "cannot import digest reference"));
        }
        let mut stream: Box<dyn Read> = if self.source == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&self.source).map_err(|error| cannot_open(&self.source, &error))?)
        };
        let options = import::Options {
            changes: self.change,
            message: self
                .message
                .unwrap_or_else(|| format!("Imported from {}", self.source)),
            name: name.map(Name::or_latest),
            platform: self.platform.as_deref().map(platform::parse).transpose()?,
        };
        let image = import::import(app, &mut stream, &options)?;
        app.output.line(image.id.as_str())?;
        Ok(ExitCode::SUCCESS)
    }
}
