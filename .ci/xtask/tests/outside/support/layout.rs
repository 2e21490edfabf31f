//! OCI layouts in folders, written blob by blob: images as no builder at hand would make them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xtask::image::LayerBuilder;

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout in the making.
pub(crate) struct Layout {
    folder: PathBuf,
    named: Vec<Value>,
}

impl Layout {
    /// Begins a layout in a folder, which must not exist.
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            folder: folder.to_owned(),
            named: Vec::new(),
        }
    }

    /// Keeps a blob and returns its descriptor.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        fs::write(self.folder.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// Keeps an image of these uncompressed layers for `architecture` and returns its descriptor.
    pub(crate) fn image(&self, architecture: &str, tars: &[Vec<u8>]) -> Value {
        let layers: Vec<Value> = tars.iter().map(|tar| self.blob(LAYER, tar)).collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
        self.image_of(architecture, &layers, &diff_ids)
    }

    /// As [`Layout::image`], of layers that may be anywhere and in any form.
    pub(crate) fn image_of(&self, architecture: &str, layers: &[Value], diff_ids: &[String]) -> Value {
        let config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": architecture,
            "os": "linux",
            "config": { "Cmd": ["/hello"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": diff_ids.iter().map(|_| json!({ "created_by": "a test" })).collect::<Vec<_>>(),
        });
        let config = self.document(CONFIG, &config);
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers });
        let mut descriptor = self.document(IMAGE, &manifest);
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptor
    }

    /// Keeps an index of these manifests and returns its descriptor.
    pub(crate) fn index(&self, manifests: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.document(INDEX, &index)
    }

    /// Gives a manifest a name and returns where other programs find it: `oci:FOLDER:NAME`.
    pub(crate) fn name(&mut self, mut manifest: Value, name: &str) -> String {
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        self.named.push(manifest);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.named });
        fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
        format!("oci:{}:{name}", self.folder.display())
    }
}

/// A layer of one file.
pub(crate) fn layer(path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut layer = LayerBuilder::default();
    layer.file(path, 0o755, bytes).unwrap();
    layer.finish().unwrap().tar().to_vec()
}

/// Writes `sha256:…` of these bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
