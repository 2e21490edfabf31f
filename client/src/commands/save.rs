//! `wharf save`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::archive::{cannot_open, save};

/// Flags of `wharf save`.
#[derive(Debug, Args)]
pub struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    images: Vec<String>,
}

impl Save {
    /// Writes images into an archive.
    ///
    /// # Errors
    /// As [`save::save`].
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let Some(path) = self.output else {
            if app.output.data_is_terminal() {
                return Err(Error::new(
                    Kind::BadArguments,
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ));
            }
            save::save(
                app,
                &self.images,
                BufWriter::with_capacity(256 << 10, app.output.clone()),
            )?;
            return Ok(ExitCode::SUCCESS);
        };
        let path = Path::new(&path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}", crate::app::random_hex::<8>()));
        let shown = path.display().to_string();
        let file = File::create_new(&temporary).map_err(|error| cannot_open(&shown, &error))?;
        let mut writer = BufWriter::with_capacity(256 << 10, file);
        let saved = save::save(app, &self.images, &mut writer).and_then(|()| {
            writer
                .flush()
                .and_then(|()| std::fs::rename(&temporary, path))
                .map_err(|error| Error::io(format!("write {shown}"), error))
        });
        if saved.is_err() {
            // Half an archive is of no use to anybody.
            drop(std::fs::remove_file(&temporary));
        }
        saved.map(|()| ExitCode::SUCCESS)
    }
}
