//! OCI images written without an engine: the same files give the same bytes.
//!
//! `cargo x image` packs the registry; the tests pack other programs the same way.

mod archive;
mod layer;
mod registry;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use archive::{Image, write_archive};
pub use layer::{Layer, LayerBuilder, Owner};

use crate::workspace::Workspace;
use crate::{dist, say};

/// The name that the registry's image is tagged with, and that the chart asks for.
pub const REGISTRY_NAME: &str = concat!("wharf-registry:", env!("CARGO_PKG_VERSION"));

/// Writes the registry's OCI archive into [`Workspace::dist`] and returns its path. Without a
/// folder of programs the release programs are built first.
pub fn command(workspace: &Workspace, programs: Option<&Path>) -> Result<PathBuf> {
    let programs = match programs {
        Some(folder) => folder.to_owned(),
        None => dist::build(workspace)?,
    };
    let archive = workspace.dist().join("wharf-registry.oci.tar");
    registry_archive(&programs.join("wharf-registry"), &archive)?;
    say::line(&archive.display().to_string());
    Ok(archive)
}

/// Packs `program`, a `wharf-registry`, as an OCI archive at `archive`.
pub fn registry_archive(program: &Path, archive: &Path) -> Result<()> {
    write_archive(archive, REGISTRY_NAME, &registry::image(program)?)
}
