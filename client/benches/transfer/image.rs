//! The image that travels: an OCI layout of one big layer and three small ones.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use wharf::image::tar::{Entry, Kind, Writer};
use wharf_protocol::digest::{Algorithm, Digest, Hasher};

/// What the layout calls it.
pub(crate) const NAME: &str = "bench.example/app:1";

struct Layer {
    diff_id: String,
    digest: String,
    size: usize,
}

pub(crate) fn write(layout: &Path, megabytes: usize) {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let mut layers = vec![layer(&blobs, 0, megabytes)];
    layers.extend((1..4).map(|seed| layer(&blobs, seed, 1)));
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = json!({"architecture": wharf::ARCHITECTURE, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let (config, config_size) = put(&blobs, config.to_string().as_bytes());
    let described: Vec<_> = layers
        .iter()
        .map(|layer| {
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer.digest, "size": layer.size})
        })
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": described});
    let (manifest, size) = put(&blobs, manifest.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": size,
        "annotations": {"org.opencontainers.image.ref.name": NAME}}]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// A layer of files of one megabyte, of which every second block can be compressed.
fn layer(blobs: &Path, seed: u64, megabytes: usize) -> Layer {
    let mut writer = Writer::new(Hashing {
        inner: GzEncoder::new(Vec::new(), Compression::fast()),
        hash: Hasher::new(Algorithm::Sha256),
    });
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![b'x'; 1 << 20];
    for number in 0..megabytes {
        for (block, chunk) in bytes.chunks_mut(4096).enumerate() {
            for word in chunk.chunks_mut(8).filter(|_| block % 2 == 0) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
        }
        let mut entry = Entry::new(format!("layer-{seed}/file-{number}"), Kind::File);
        entry.size = 1 << 20;
        writer.append(&entry, &bytes[..]).unwrap();
    }
    let Hashing { inner, hash } = writer.finish().unwrap();
    let (digest, size) = put(blobs, &inner.finish().unwrap());
    Layer {
        diff_id: hash.finish().to_string(),
        digest,
        size,
    }
}

fn put(blobs: &Path, bytes: &[u8]) -> (String, usize) {
    let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
    fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
    (digest, bytes.len())
}

struct Hashing<W> {
    inner: W,
    hash: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
