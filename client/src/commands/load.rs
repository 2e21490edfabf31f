//! `wharf load`.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::archive::{cannot_open, load};

/// Flags of `wharf load`.
#[derive(Debug, Args)]
pub struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    /// Loads the images of an archive.
    ///
    /// # Errors
    /// As [`load::load`].
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let mut source: Box<dyn Read> = match &self.input {
            Some(path) => Box::new(File::open(path).map_err(|error| cannot_open(path, &error))?),
            None if std::io::stdin().is_terminal() => {
                return Err(Error::new(
                    Kind::BadArguments,
                    "requested load from stdin, but stdin is empty",
                ));
            }
            None => Box::new(std::io::stdin()),
        };
        for loaded in load::load(app, &mut source)? {
            for name in &loaded.names {
                app.output
                    .line(&format!("Loaded image: {}", name.familiar(&app.settings)))?;
            }
            if loaded.names.is_empty() {
                app.output
                    .line(&format!("Loaded image ID: {}", loaded.image.id))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
