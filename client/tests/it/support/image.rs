//! Images made for a test, good ones and bad ones.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::json;
use wharf::image::tar::{Entry, Kind, Writer};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::media_type;

/// An image as a registry holds it.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    /// The digests of the compressed layers, the lowest first.
    pub(crate) layers: Vec<String>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

/// A tar stream of files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, bytes) in files {
        let mut entry = Entry::new(*path, Kind::File);
        entry.size = bytes.len() as u64;
        writer.append(&entry, *bytes).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, the same ones for a seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// An image of these uncompressed layers.
pub(crate) fn of_layers(layers: &[Vec<u8>]) -> Image {
    of_layers_for("amd64", layers)
}

pub(crate) fn of_layers_for(architecture: &str, layers: &[Vec<u8>]) -> Image {
    let compressed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    of_parts(architecture, &compressed, &diff_ids)
}

/// An image of compressed layers and the diff ids that it claims for them.
pub(crate) fn of_parts(architecture: &str, compressed: &[Vec<u8>], diff_ids: &[String]) -> Image {
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["true"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes();
    let layers: Vec<String> = compressed.iter().map(|layer| digest(layer)).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": {"mediaType": media_type::OCI_CONFIG, "digest": digest(&config), "size": config.len()},
        "layers": compressed.iter().zip(&layers).map(|(layer, digest)| json!({
            "mediaType": media_type::OCI_LAYER_GZIP, "digest": digest, "size": layer.len(),
        })).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes();
    let mut blobs: BTreeMap<String, Vec<u8>> =
        layers.iter().cloned().zip(compressed.iter().cloned()).collect();
    blobs.insert(digest(&config), config);
    Image {
        blobs,
        manifest,
        layers,
    }
}
