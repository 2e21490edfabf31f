//! Images in and out of files: `save` and `load` (docker's archive and OCI's layout are one archive that
//! both read), `import` (a file system's tar stream becomes an image of one layer).

pub mod change;
pub mod import;
pub mod load;
pub mod save;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use flate2::write::GzEncoder;
use serde_json::json;
use wharf_protocol::digest::{Algorithm, Digest, Hasher};
use wharf_protocol::manifest::{Manifest, ManifestLimits};
use wharf_protocol::media_type;

use super::catalog::{Blob, Catalog, Image, Reference};
use super::config::{ImageConfig, MAX_CONFIG_BYTES};
use super::content::Content;
use super::layer::{self, Pipeline};
use super::name::Name;
use super::pull::plan::{self, Inventory, Step};
use super::snapshot::{Layer, Snapshots};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// How hard layers are compressed that came uncompressed: quick rather than small.
const LEVEL: u32 = 3;

/// How much is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A layer that was compressed into the store.
#[derive(Debug, Clone)]
struct Spooled {
    blob: Blob,
    diff_id: Digest,
}

/// Compresses a tar stream, whatever it is compressed with already, into a blob of the store.
fn spool(content: &Content, stream: &mut dyn Read) -> Result<Spooled> {
    let mut scratch = content.scratch()?;
    let failed = |error: std::io::Error| Error::io("read a layer", error);
    let mut diff = Hasher::new(Algorithm::Sha256);
    let mut plain = layer::inflating(stream)?;
    let mut encoder = GzEncoder::new(&mut scratch, flate2::Compression::new(LEVEL));
    let mut buffer = vec![0_u8; PIECE_BYTES];
    loop {
        let count = plain.read(&mut buffer).map_err(failed)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        diff.update(piece);
        encoder
            .write_all(piece)
            .map_err(|error| Error::io("write a layer into the store", error))?;
    }
    encoder
        .finish()
        .map_err(|error| Error::io("write a layer into the store", error))?;
    let (digest, size_bytes) = scratch.keep()?;
    let blob = Blob {
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        digest,
        size_bytes,
    };
    Ok(Spooled {
        blob,
        diff_id: diff.finish(),
    })
}

/// Makes an OCI manifest of a configuration and layers that are in the store.
fn make_manifest(content: &Content, config: &[u8], layers: &[Blob]) -> Result<Digest> {
    let config_digest = content.put(config)?;
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {"mediaType": media_type::OCI_CONFIG, "digest": config_digest, "size": config.len()},
        "layers": layers,
    });
    content.put(manifest.to_string().as_bytes())
}

/// Lets an image exist whose manifest, configuration and layers are in the store, unpacking what is not.
fn assemble(store: &Store, manifest_digest: &Digest) -> Result<Image> {
    let (content, snapshots) = (Content::of(store), Snapshots::of(store));
    let limits = ManifestLimits::default();
    let limit_bytes = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX);
    let bytes = content.read(manifest_digest, limit_bytes)?;
    let manifest = Manifest::parse(bytes.into(), None, &limits)
        .map_err(|cause| Error::new(Kind::Damaged, "the archive's manifest is not valid").because(cause))?;
    let descriptor = manifest
        .config()
        .ok_or_else(|| Error::new(Kind::Unsupported, "the archive's manifest is not an image's"))?;
    plan::check_config_type(descriptor.media_type.as_str())?;
    let config = ImageConfig::parse(&content.read(&descriptor.digest, MAX_CONFIG_BYTES)?)?;
    let plan = plan::plan(&manifest, &config, &Inventory::of(store))?;
    let mut size_bytes = 0_u64;
    for layer in &plan.layers {
        match layer.step {
            Step::Have => {}
            Step::Unpack => unpack(&content, &snapshots, layer)?,
            Step::Fetch | Step::FetchAndUnpack => {
                return Err(Error::new(
                    Kind::Damaged,
                    format!("the archive lacks the layer {}", layer.blob.digest),
                ));
            }
        }
        let known = snapshots.layer(&layer.chain_id)?;
        size_bytes = size_bytes.saturating_add(known.map_or(0, |known| known.size_bytes));
    }
    let image = Image {
        id: plan.image.clone(),
        manifest: Blob {
            media_type: manifest.media_type().to_string(),
            digest: manifest_digest.clone(),
            size_bytes: u64::try_from(manifest.bytes().len()).unwrap_or(u64::MAX),
        },
        layers: plan.layers.iter().map(|layer| layer.blob.clone()).collect(),
        chain_ids: plan.layers.iter().map(|layer| layer.chain_id.clone()).collect(),
        size_bytes,
    };
    Catalog::of(store).put_image(&image)?;
    Ok(image)
}

/// Unpacks one layer whose blob is in the store.
fn unpack(content: &Content, snapshots: &Snapshots, plan: &plan::LayerPlan) -> Result<()> {
    let staged = snapshots.stage(&plan.chain_id)?;
    let pipeline = Pipeline::start(OwnedFd::from(staged.open_files()?), plan.blob.size_bytes)?;
    let file = content.open(&plan.blob.digest)?;
    // A thread of its own may block, which one that drives an async runtime may not.
    std::thread::scope(|scope| scope.spawn(|| feed(file, &pipeline)).join())
        .map_err(|_panic| Error::new(Kind::System, "a thread that unpacks a layer died"))??;
    let unpacked = pipeline.finish()?;
    if unpacked.diff_id != plan.diff_id {
        return Err(Error::new(
            Kind::Damaged,
            format!(
                "the layer {} unpacks to the diff id {} and should have {}",
                plan.blob.digest, unpacked.diff_id, plan.diff_id
            ),
        ));
    }
    let layer = Layer {
        chain_id: plan.chain_id.clone(),
        diff_id: unpacked.diff_id,
        parent: plan.parent.clone(),
        size_bytes: unpacked.size_bytes,
    };
    snapshots.commit_staged(staged, &layer)
}

fn feed(mut file: std::fs::File, pipeline: &Pipeline) -> Result<()> {
    loop {
        let mut piece = vec![0_u8; PIECE_BYTES];
        let count = file
            .read(&mut piece)
            .map_err(|error| Error::io("read a layer from the store", error))?;
        piece.truncate(count);
        if count == 0 || !pipeline.feed_blocking(piece.into()) {
            return Ok(());
        }
    }
}

/// Lets a name mean an image.
fn name_image(app: &App, name: &Name, image: &Image) -> Result<()> {
    let reference = Reference {
        name: name.to_string(),
        image: image.id.clone(),
        manifest: image.manifest.clone(),
        target: image.manifest.digest.clone(),
        tagged_at: app.now(),
    };
    Catalog::of(app.store()?).put_reference(name, &reference)
}

/// Docker's words for a file that cannot be opened.
pub(crate) fn cannot_open(path: &str, error: &std::io::Error) -> Error {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Error::new(Kind::System, format!("open {path}: {why}"))
}
