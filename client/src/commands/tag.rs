//! `wharf tag`.

use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::catalog::{Catalog, Reference};
use crate::image::name::Name;

/// Arguments of `wharf tag`.
#[derive(Debug, Args)]
pub struct Tag {
    source: String,
    target: String,
}

impl Tag {
    /// Lets a second name mean an image.
    ///
    /// # Errors
    /// A malformed name, an image that does not exist.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let malformed = |text: &str, error: &Error| {
            Error::new(
                Kind::BadArguments,
                format!(
                    "Error parsing reference: \"{text}\" is not a valid repository/tag: {}",
                    error.text()
                ),
            )
        };
        let target =
            Name::parse(&self.target, &app.settings).map_err(|error| malformed(&self.target, &error))?;
        if target.digest.is_some() {
            return Err(Error::new(
                Kind::BadArguments,
                "refusing to create a tag with a digest reference",
            ));
        }
        let target = target.or_latest();
        let store = app.store()?;
        let _hold = store.hold()?;
        let catalog = Catalog::of(store);
        let (image, source) = catalog.find(&self.source, &app.settings).map_err(|error| {
            if error.kind() == Kind::BadArguments {
                malformed(&self.source, &error)
            } else {
                error
            }
        })?;
        let known = source
            .as_ref()
            .and_then(|name| catalog.reference(name).ok().flatten());
        let manifest = known.map_or(image.manifest, |reference| reference.manifest);
        let reference = Reference {
            name: target.to_string(),
            image: image.id,
            target: manifest.digest.clone(),
            manifest,
            tagged_at: app.now(),
        };
        catalog.put_reference(&target, &reference)?;
        Ok(ExitCode::SUCCESS)
    }
}
