//! What `inspect` says of an image, with docker's keys.

use serde_json::{Value, json};

use super::catalog::{Catalog, Image};
use super::snapshot::Snapshots;
use crate::config::Settings;
use crate::error::Result;
use crate::store::Store;

/// Describes an image.
///
/// # Errors
/// [`crate::error::Kind::Damaged`] when its configuration cannot be read.
pub fn describe(store: &Store, settings: &Settings, image: &Image) -> Result<Value> {
    let catalog = Catalog::of(store);
    let config = catalog.config(image)?;
    let references: Vec<_> = catalog
        .references()?
        .into_iter()
        .filter(|reference| reference.image == image.id)
        .collect();
    let names: Vec<_> = references
        .iter()
        .filter_map(|reference| reference.parsed().ok())
        .collect();
    let familiar = |by_digest: bool| -> Vec<String> {
        names
            .iter()
            .filter(|name| name.digest.is_some() == by_digest)
            .map(|name| name.familiar(settings))
            .collect()
    };
    let tagged = references
        .iter()
        .filter(|reference| !reference.name.contains('@'))
        .map(|r| r.tagged_at)
        .max();
    let snapshots = Snapshots::of(store);
    let mut folders = image
        .chain_ids
        .iter()
        .rev()
        .map(|id| snapshots.layer_files(id).display().to_string());
    let upper = folders.next().unwrap_or_default();
    let lower = folders.collect::<Vec<_>>().join(":");
    let data = if lower.is_empty() {
        json!({"UpperDir": upper})
    } else {
        json!({"LowerDir": lower, "UpperDir": upper})
    };
    let mut described = json!({
        "Id": image.id,
        "RepoTags": familiar(false),
        "RepoDigests": familiar(true),
        "Parent": "",
        "Comment": config.comment,
        "Created": config.created,
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Config": config.config,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size_bytes,
        "GraphDriver": {"Data": data, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": tagged.map_or("0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())},
    });
    if let Some(members) = described.as_object_mut().filter(|_| !config.variant.is_empty()) {
        members.insert("Variant".to_owned(), json!(config.variant));
    }
    Ok(described)
}
