//! `import`: a file system's tar stream becomes an image of one layer.

use std::io::Read;

use wharf_protocol::manifest::Platform;

use super::{assemble, change, make_manifest, name_image, spool};
use crate::app::App;
use crate::error::{Error, Result};
use crate::image::catalog::Image;
use crate::image::config::{History, ImageConfig, RootFs, RunConfig};
use crate::image::content::Content;
use crate::image::name::Name;
use crate::image::platform;

/// What an import is told beside the stream.
#[derive(Debug, Default)]
pub struct Options {
    /// Instructions for the configuration.
    pub changes: Vec<String>,
    /// What the image's history says of it.
    pub message: String,
    /// The image's name.
    pub name: Option<Name>,
    /// What it is for, when not this machine.
    pub platform: Option<Platform>,
}

/// Makes an image of a tar stream, compressed or not.
///
/// # Errors
/// [`crate::error::Kind::Damaged`] for a stream that cannot be unpacked; nothing exists then.
pub fn import(app: &App, stream: &mut dyn Read, options: &Options) -> Result<Image> {
    let mut run = RunConfig::default();
    for instruction in &options.changes {
        change::apply(&mut run, instruction)?;
    }
    let store = app.store()?;
    let _hold = store.hold()?;
    let content = Content::of(store);
    let layer = spool(&content, stream)?;
    let platform = options.platform.clone().unwrap_or_else(platform::this_machine);
    let created = Some(app.now().to_string());
    let config = ImageConfig {
        created: created.clone(),
        comment: options.message.clone(),
        architecture: platform.architecture,
        variant: platform.variant.unwrap_or_default(),
        os: platform.os,
        config: run,
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: vec![layer.diff_id.clone()],
        },
        history: vec![History {
            created,
            comment: options.message.clone(),
            ..History::default()
        }],
        ..ImageConfig::default()
    };
    let config = serde_json::to_vec(&config).map_err(|error| Error::io("describe the image", error))?;
    let manifest = make_manifest(&content, &config, &[layer.blob])?;
    let image = assemble(store, &manifest)?;
    if let Some(name) = &options.name {
        name_image(app, name, &image)?;
    }
    Ok(image)
}
