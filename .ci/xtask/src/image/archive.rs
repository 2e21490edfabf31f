//! An OCI layout in a tar, as `skopeo copy oci-archive:…` and `wharf load` read it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::{Layer, LayerBuilder, gzip};

/// An image: its layers from the bottom up, and the `config` object of its configuration.
pub struct Image {
    /// From the bottom up.
    pub layers: Vec<Layer>,
    /// What runs: `Entrypoint`, `Cmd`, `User`, `Env` and the like.
    pub config: Value,
}

/// Writes `image` under `name` to an OCI archive. The archive appears whole or not at all.
pub fn write_archive(archive: &Path, name: &str, image: &Image) -> Result<()> {
    let doing = || format!("cannot write {}", archive.display());
    let bytes = pack(name, image)?;
    if let Some(folder) = archive.parent() {
        std::fs::create_dir_all(folder).with_context(doing)?;
    }
    let staged = archive.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&staged, bytes)
        .and_then(|()| std::fs::rename(&staged, archive))
        .with_context(doing)
}

fn pack(name: &str, image: &Image) -> Result<Vec<u8>> {
    let mut layout = Layout::default();
    let mut diff_ids = Vec::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let tar = layer.tar();
        diff_ids.push(digest(tar));
        layers.push(layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar)?));
    }
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture(),
        "os": "linux",
        "config": image.config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = layout.blob(
        "application/vnd.oci.image.config.v1+json",
        config.to_string().into_bytes(),
    );
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let manifest = layout.blob(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    layout.finish(name, manifest)
}

/// The blobs so far, in the order they will stand in the archive.
#[derive(Default)]
struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
}

impl Layout {
    /// Keeps a blob and returns its descriptor.
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        if !self.blobs.iter().any(|(known, _)| *known == digest) {
            self.blobs.push((digest, bytes));
        }
        descriptor
    }

    fn finish(self, name: &str, mut manifest: Value) -> Result<Vec<u8>> {
        let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
        if let Some(fields) = manifest.as_object_mut() {
            let names = json!({
                "org.opencontainers.image.ref.name": tag,
                "io.containerd.image.name": name,
            });
            fields.insert("annotations".to_owned(), names);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [manifest],
        });
        let mut archive = LayerBuilder::default();
        archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.file("index.json", 0o644, index.to_string().as_bytes())?;
        for (digest, bytes) in &self.blobs {
            archive.file(&format!("blobs/{}", digest.replace(':', "/")), 0o644, bytes)?;
        }
        Ok(archive.finish()?.into_tar())
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// This machine's architecture by the name that images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn image() -> Image {
        let mut layer = LayerBuilder::default();
        layer.file("/bin/x", 0o755, b"x").unwrap();
        Image {
            layers: vec![layer.finish().unwrap()],
            config: json!({ "Cmd": ["/bin/x"] }),
        }
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        });
        entries.collect()
    }

    #[test]
    fn the_same_files_give_the_same_archive() {
        assert_eq!(pack("x:1", &image()).unwrap(), pack("x:1", &image()).unwrap());
    }

    #[test]
    fn every_descriptor_names_a_blob_that_is_there_and_whole() {
        let files = files(&pack("x:1", &image()).unwrap());
        let blob = |descriptor: &Value| {
            let digest_said = descriptor["digest"].as_str().unwrap();
            let bytes = &files[&format!("blobs/{}", digest_said.replace(':', "/"))];
            assert_eq!(digest(bytes), digest_said);
            assert_eq!(descriptor["size"].as_u64().unwrap(), bytes.len() as u64);
            bytes.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        let layer = blob(&manifest["layers"][0]);
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(layer.as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&tar));
        assert_eq!(config["config"]["Cmd"][0], "/bin/x");
        assert_eq!(
            index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
            "1"
        );
    }

    #[test]
    fn an_archive_that_cannot_be_written_is_named() {
        let error = write_archive(Path::new("/proc/no/x.tar"), "x:1", &image()).unwrap_err();
        assert!(format!("{error:#}").contains("/proc/no/x.tar"));
    }
}
