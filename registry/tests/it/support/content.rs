//! Content to push.

use serde_json::{Value, json};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};

use super::server::{Answer, Caller, answer};

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Describes bytes as a manifest does.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// An image manifest over a config and layers.
pub(crate) fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| descriptor(OCI_LAYER_GZIP, layer))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config),
        "layers": layers,
    })
}

/// An index over manifests.
pub(crate) fn index(manifests: &[&[u8]]) -> Value {
    let manifests: Vec<Value> = manifests
        .iter()
        .map(|bytes| descriptor(OCI_MANIFEST, bytes))
        .collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

/// A document's bytes, indented, so that a server that writes documents anew is found out.
pub(crate) fn indented(document: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(document).unwrap()
}

impl Caller<'_> {
    /// Pushes the blobs of an image and returns its manifest, to be pushed.
    pub(crate) async fn push_blobs(&self, name: &str) -> Value {
        self.push_blob(name, b"{}").await;
        self.push_blob(name, b"layer").await;
        image(b"{}", &[b"layer"])
    }

    /// Pushes a blob at once.
    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = answer(self.ask("POST", &path).body(bytes.to_vec())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Puts a manifest's bytes; the type is the one inside.
    pub(crate) async fn put_manifest(&self, name: &str, reference: &str, bytes: &[u8]) -> Answer {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        let media_type = document["mediaType"].as_str().unwrap().to_owned();
        let path = format!("/v2/{name}/manifests/{reference}");
        answer(
            self.ask("PUT", &path)
                .header("content-type", media_type)
                .body(bytes.to_vec()),
        )
        .await
    }

    /// Pushes a small image whose content depends on `seed`, and returns its manifest's bytes.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, seed: &str) -> Vec<u8> {
        let config = format!("{{\"os\":\"linux\",\"seed\":\"{seed}\"}}");
        let layer = format!("layer {seed}");
        self.push_blob(name, config.as_bytes()).await;
        self.push_blob(name, layer.as_bytes()).await;
        let manifest = serde_json::to_vec(&image(config.as_bytes(), &[layer.as_bytes()])).unwrap();
        let answer = self.put_manifest(name, tag, &manifest).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        manifest
    }

    /// Begins an upload and returns its address.
    pub(crate) async fn begin(&self, name: &str) -> String {
        let answer = self.post(&format!("/v2/{name}/blobs/uploads/")).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Sends a chunk, with its place if one is given.
    pub(crate) async fn patch(&self, upload: &str, place: Option<&str>, bytes: &[u8]) -> Answer {
        let mut request = self.ask("PATCH", upload).body(bytes.to_vec());
        if let Some(place) = place {
            request = request.header("content-range", place);
        }
        answer(request).await
    }
}
