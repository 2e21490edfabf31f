//! Pushing an image: the blobs that the registry lacks, side by side, then the manifest, byte for byte as
//! it is here.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;

use super::catalog::{Blob, Catalog, Image, Reference};
use super::content::Content;
use super::name::Name;
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::output::progress::Progress;
use crate::remote::uploads::{Pushed, Upload};
use crate::remote::{Registry, RemoteError};

/// How many blobs are sent side by side.
const SIDE_BY_SIDE: usize = 4;

/// The largest manifest that is sent.
const MAX_MANIFEST_BYTES: u64 = 8 << 20;

/// Pushes what a name means here to the name's registry; returns the manifest.
///
/// # Errors
/// [`Kind::NotFound`] when the name means nothing here; [`Kind::Denied`] when the registry wants another
/// login; [`Kind::Damaged`] when the store lacks a blob that the registry lacks too.
pub async fn push(app: &App, registry: &Registry, name: &Name, progress: &Progress) -> Result<Blob> {
    let store = app.store()?;
    let _hold = store.hold()?;
    let (catalog, content) = (Catalog::of(store), Content::of(store));
    let missing = || {
        Error::new(
            Kind::NotFound,
            format!(
                "An image does not exist locally with the tag: {}",
                name.familiar_repository(&app.settings)
            ),
        )
    };
    let reference = catalog.reference(name)?.ok_or_else(missing)?;
    let image = catalog.image(&reference.image)?.ok_or_else(missing)?;
    let manifest = content.read(&reference.manifest.digest, MAX_MANIFEST_BYTES)?;
    let neighbours = neighbours(&catalog, name)?;
    let layers = layers_of(&manifest, &image);
    let rows = rows_of(&catalog, &image, layers.len());
    push_layers(
        registry,
        name,
        &content,
        &neighbours,
        layers.iter().zip(&rows),
        progress,
    )
    .await?;
    let config = Blob {
        media_type: String::new(),
        digest: image.id.clone(),
        size_bytes: content.size(&image.id).unwrap_or(0),
    };
    let upload = upload_of(&content, &config, mount_from(&neighbours, &image.id));
    registry
        .push_blob(&name.repository, &upload)
        .await
        .map_err(|error| denied(name, error))?;
    registry
        .put_manifest(
            &name.repository,
            &name.reference(),
            &reference.manifest.media_type,
            Bytes::from(manifest),
        )
        .await
        .map_err(|error| denied(name, error))?;
    let by_digest = name.at_digest(reference.manifest.digest.clone());
    let known = Reference {
        name: by_digest.to_string(),
        target: reference.manifest.digest.clone(),
        tagged_at: app.now(),
        ..reference.clone()
    };
    catalog.put_reference(&by_digest, &known)?;
    Ok(reference.manifest)
}

/// Pushes layers side by side; a row of progress each.
async fn push_layers(
    registry: &Registry,
    name: &Name,
    content: &Content,
    neighbours: &[Neighbour],
    layers: impl Iterator<Item = (&Blob, &String)> + Clone,
    progress: &Progress,
) -> Result<()> {
    for (_, row) in layers.clone() {
        progress.state(row, "Preparing");
    }
    let pushes = layers.map(|(blob, row)| {
        let upload = upload_of(content, blob, mount_from(neighbours, &blob.digest));
        async move {
            let pushed = registry
                .push_blob(&name.repository, &upload)
                .await
                .map_err(|error| denied(name, error))?;
            let state = match pushed {
                Pushed::Exists => "Layer already exists".to_owned(),
                Pushed::Mounted(from) => format!("Mounted from {from}"),
                Pushed::Sent => "Pushed".to_owned(),
            };
            progress.state(row, &state);
            Ok::<(), Error>(())
        }
    });
    stream::iter(pushes)
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// The layers that a manifest names. Two names may mean one image by manifests whose layers are compressed
/// differently, so the manifest decides and not the image's record.
fn layers_of(manifest: &[u8], image: &Image) -> Vec<Blob> {
    let limits = wharf_protocol::manifest::ManifestLimits::default();
    wharf_protocol::manifest::Manifest::parse(Bytes::copy_from_slice(manifest), None, &limits).map_or_else(
        |_| image.layers.clone(),
        |manifest| {
            let blob = |layer: &wharf_protocol::manifest::Descriptor| Blob {
                media_type: layer.media_type.to_string(),
                digest: layer.digest.clone(),
                size_bytes: layer.size,
            };
            manifest.layers().iter().map(blob).collect()
        },
    )
}

/// What docker calls each layer while it is pushed: the first digits of its diff id.
fn rows_of(catalog: &Catalog, image: &Image, count: usize) -> Vec<String> {
    let diff_ids = catalog
        .config(image)
        .map(|config| config.rootfs.diff_ids)
        .unwrap_or_default();
    (0..count)
        .map(|n| {
            diff_ids
                .get(n)
                .or(image.chain_ids.get(n))
                .map_or("", |digest| digest.short())
                .to_owned()
        })
        .collect()
}

fn upload_of(content: &Content, blob: &Blob, mount_from: Option<RepositoryName>) -> Upload {
    Upload {
        digest: blob.digest.clone(),
        path: content.path(&blob.digest),
        size_bytes: content.size(&blob.digest).unwrap_or(blob.size_bytes),
        mount_from,
    }
}

/// A repository and blobs that it is known to hold.
type Neighbour = (RepositoryName, Vec<Digest>);

/// The repositories of the same registry that are known to hold images, and the blobs of these.
fn neighbours(catalog: &Catalog, name: &Name) -> Result<Vec<Neighbour>> {
    let mut found = Vec::new();
    for reference in catalog.references()? {
        let Ok(other) = reference.parsed() else { continue };
        // Only a name by digest was ever at the registry.
        if other.digest.is_none() || other.host != name.host || other.repository == name.repository {
            continue;
        }
        let Some(image) = catalog.image(&reference.image)? else {
            continue;
        };
        let mut blobs: Vec<Digest> = image.layers.into_iter().map(|layer| layer.digest).collect();
        blobs.push(image.id);
        found.push((other.repository, blobs));
    }
    Ok(found)
}

fn mount_from(neighbours: &[Neighbour], digest: &Digest) -> Option<RepositoryName> {
    neighbours
        .iter()
        .find(|(_, blobs)| blobs.contains(digest))
        .map(|(repository, _)| repository.clone())
}

fn denied(name: &Name, error: RemoteError) -> Error {
    match error {
        RemoteError::Unauthorized { message } | RemoteError::Denied { message } => Error::new(
            Kind::Denied,
            format!("denied: requested access to the resource is denied ({message})"),
        )
        .hint(format!(
            "Log in with an account that may push to {}: wharf login {}",
            name.repository, name.host
        )),
        other => other.into(),
    }
}
