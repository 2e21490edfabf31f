//! Media types (RFC 6838) and the ones that manifests and layers have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The empty JSON object, config of an artifact that has none.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The artifact manifest of image-spec 1.1's release candidates.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, plain tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer that may not be distributed.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// A media type without parameters, in lowercase: `type/subtype`, each part an RFC 6838 restricted name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Arc<str>);

/// Why a text is not a [`MediaType`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a media type: expected TYPE/SUBTYPE")]
pub struct MediaTypeError {
    text: String,
}

/// What shape a manifest of some media type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// A config and layers.
    Image,
    /// Other manifests.
    Index,
    /// Blobs and a subject: the legacy artifact manifest.
    Artifact,
    /// Docker's schema 1, signed or not, which nothing here reads.
    DockerSchema1,
    /// A media type that no document here names.
    Other,
}

impl MediaType {
    /// The text, `type/subtype`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a manifest of this type holds.
    #[must_use]
    pub fn manifest_kind(&self) -> ManifestKind {
        match self.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => ManifestKind::Image,
            OCI_INDEX | DOCKER_LIST => ManifestKind::Index,
            OCI_ARTIFACT => ManifestKind::Artifact,
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => ManifestKind::DockerSchema1,
            _ => ManifestKind::Other,
        }
    }

    /// Whether a layer of this type may be absent from the registry that holds the manifest.
    ///
    /// Docker's foreign layers, and the image specification's non-distributable ones.
    #[must_use]
    pub fn is_non_distributable(&self) -> bool {
        self.0
            .starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
            || self.as_str() == DOCKER_FOREIGN_LAYER
            || self.as_str() == "application/vnd.docker.image.rootfs.foreign.diff.tar"
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    /// Reads a `Content-Type` or `mediaType`; parameters are dropped.
    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let well_formed = essence.len() <= 255
            && essence
                .split_once('/')
                .is_some_and(|(kind, sub)| is_restricted(kind) && is_restricted(sub));
        if well_formed {
            Ok(MediaType(essence.to_ascii_lowercase().into()))
        } else {
            Err(MediaTypeError {
                text: text.chars().take(100).collect(),
            })
        }
    }
}

/// RFC 6838, section 4.2: `restricted-name`.
fn is_restricted(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 127
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        let plain: MediaType = OCI_MANIFEST.parse().unwrap();
        let dressed: MediaType = "Application/vnd.OCI.image.manifest.v1+json ; charset=utf-8"
            .parse()
            .unwrap();
        assert_eq!(plain, dressed);
        assert_eq!(plain.manifest_kind(), ManifestKind::Image);
    }

    #[test]
    fn texts_without_a_slash_or_with_spaces_are_refused() {
        for text in ["", "json", "/", "a/", "/b", "a b/c", "a/b/c", "a/b\r\nX: y"] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn foreign_layers_are_known() {
        for text in [
            DOCKER_FOREIGN_LAYER,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        ] {
            assert!(text.parse::<MediaType>().unwrap().is_non_distributable());
        }
        assert!(!OCI_LAYER.parse::<MediaType>().unwrap().is_non_distributable());
    }
}
