//! Manifests and indexes (image-spec 1.1; Docker's schema 2): the bytes that arrived, and what was read from
//! them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};
use crate::media_type::{ManifestKind, MediaType};

/// What a hostile manifest may not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestLimits {
    /// Bytes of the whole document.
    pub max_bytes: usize,
    /// Descriptors of all its lists together.
    pub max_descriptors: usize,
    /// Objects and lists within each other.
    pub max_depth: usize,
}

impl Default for ManifestLimits {
    fn default() -> Self {
        ManifestLimits {
            max_bytes: 4 << 20,
            max_descriptors: 4096,
            max_depth: 32,
        }
    }
}

/// Why bytes are not a manifest that can be taken.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than [`ManifestLimits::max_bytes`].
    #[error("manifest has {size_bytes} bytes, more than the {max_bytes} allowed")]
    TooLarge {
        /// What it has.
        size_bytes: usize,
        /// What is allowed.
        max_bytes: usize,
    },
    /// More descriptors than [`ManifestLimits::max_descriptors`].
    #[error("manifest has {count} descriptors, more than the {max} allowed")]
    TooManyDescriptors {
        /// What it has.
        count: usize,
        /// What is allowed.
        max: usize,
    },
    /// Objects within each other deeper than [`ManifestLimits::max_depth`].
    #[error("manifest's JSON is nested deeper than {max}")]
    TooDeep {
        /// What is allowed.
        max: usize,
    },
    /// Not JSON, or not of the fields that a manifest has.
    #[error("manifest is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// A field has a value that its media type forbids.
    #[error("manifest's {field}: {problem}")]
    Field {
        /// The field's path in the document.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `Content-Type` and `mediaType` disagree (CVE-2021-41190).
    #[error("manifest's mediaType is {inside}, but its Content-Type is {outside}")]
    MediaTypeMismatch {
        /// The document's own word.
        inside: String,
        /// The header's word.
        outside: String,
    },
    /// Neither `Content-Type` nor `mediaType` says what it is.
    #[error("manifest has neither a Content-Type nor a mediaType")]
    NoMediaType,
    /// Docker's schema 1, which is not taken.
    #[error("Docker's manifest schema 1 is not supported: push the image in schema 2 or OCI form")]
    Schema1,
}

/// The platform that an index's entry is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, … (Go's names).
    #[serde(default)]
    pub architecture: String,
    /// `linux`, `windows`, …
    #[serde(default)]
    pub os: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// A pointer to content: its type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The content's media type.
    pub media_type: MediaType,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// Where else the content may be had; only for layers that may not be distributed.
    pub urls: Vec<String>,
    /// The type of the artifact that it points at.
    pub artifact_type: Option<String>,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
    /// The platform, in an index's entries.
    pub platform: Option<Platform>,
}

/// A manifest: its exact bytes, and what was read from them.
#[derive(Debug, Clone)]
pub struct Manifest {
    bytes: Bytes,
    media_type: MediaType,
    kind: ManifestKind,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// The document's fields. A field twice is an error: two readers would see two manifests.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: i64,
    urls: Option<Vec<String>>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    platform: Option<Platform>,
}

impl Manifest {
    /// Reads a manifest. `content_type` is the `Content-Type` that it came with, if any.
    ///
    /// # Errors
    /// See [`ManifestError`]; nothing of a manifest that is refused is kept.
    pub fn parse(
        bytes: Bytes,
        content_type: Option<&MediaType>,
        limits: &ManifestLimits,
    ) -> Result<Manifest, ManifestError> {
        if bytes.len() > limits.max_bytes {
            return Err(ManifestError::TooLarge {
                size_bytes: bytes.len(),
                max_bytes: limits.max_bytes,
            });
        }
        if depth(&bytes) > limits.max_depth {
            return Err(ManifestError::TooDeep {
                max: limits.max_depth,
            });
        }
        let document: Document = serde_json::from_slice(&bytes)?;
        let media_type = agreed_media_type(document.media_type.as_deref(), content_type)?;
        let kind = media_type.manifest_kind();
        document.check_shape(kind)?;
        document.check_count(limits)?;
        let mut layers = descriptors("layers", document.layers)?;
        layers.extend(descriptors("blobs", document.blobs)?);
        Ok(Manifest {
            config: document.config.map(|raw| raw.check("config")).transpose()?,
            layers,
            manifests: descriptors("manifests", document.manifests)?,
            subject: document.subject.map(|raw| raw.check("subject")).transpose()?,
            artifact_type: document.artifact_type.filter(|text| !text.is_empty()),
            annotations: document.annotations.unwrap_or_default(),
            bytes,
            media_type,
            kind,
        })
    }

    /// The bytes as they arrived.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Computes the digest of the bytes.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Digest {
        Digest::of(algorithm, &self.bytes)
    }

    /// The media type that header and document agree on.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// What shape it has.
    #[must_use]
    pub fn kind(&self) -> ManifestKind {
        self.kind
    }

    /// The image's configuration; every image has one.
    #[must_use]
    pub fn config(&self) -> Option<&Descriptor> {
        self.config.as_ref()
    }

    /// The layers, base first; of a legacy artifact, its blobs.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// The manifests of an index.
    #[must_use]
    pub fn manifests(&self) -> &[Descriptor] {
        &self.manifests
    }

    /// The manifest that this one is about.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// The document's own `artifactType`.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// What a referrers list calls it: its `artifactType`, else an image's config's media type
    /// (distribution-spec, "Listing Referrers").
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        self.artifact_type().or_else(|| match self.kind {
            ManifestKind::Image => self.config.as_ref().map(|config| config.media_type.as_str()),
            _ => None,
        })
    }

    /// Free text by key.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }
}

impl Document {
    fn check_shape(&self, kind: ManifestKind) -> Result<(), ManifestError> {
        let field = |field: &str, problem: &str| {
            Err(ManifestError::Field {
                field: field.to_owned(),
                problem: problem.to_owned(),
            })
        };
        match kind {
            ManifestKind::DockerSchema1 => return Err(ManifestError::Schema1),
            ManifestKind::Image | ManifestKind::Index if self.schema_version != Some(2) => {
                return field("schemaVersion", "must be 2");
            }
            ManifestKind::Image if self.manifests.is_some() => {
                return field("manifests", "belongs to an index, not to an image");
            }
            ManifestKind::Image if self.config.is_none() => return field("config", "is missing"),
            ManifestKind::Image if self.layers.is_none() => return field("layers", "is missing"),
            ManifestKind::Index if self.layers.is_some() => {
                return field("layers", "belongs to an image, not to an index");
            }
            ManifestKind::Index if self.config.is_some() => {
                return field("config", "belongs to an image, not to an index");
            }
            ManifestKind::Index if self.manifests.is_none() => return field("manifests", "is missing"),
            _ => {}
        }
        Ok(())
    }

    fn check_count(&self, limits: &ManifestLimits) -> Result<(), ManifestError> {
        let list = |list: &Option<Vec<RawDescriptor>>| list.as_ref().map_or(0, Vec::len);
        let count = list(&self.layers)
            + list(&self.blobs)
            + list(&self.manifests)
            + usize::from(self.config.is_some())
            + usize::from(self.subject.is_some());
        if count > limits.max_descriptors {
            return Err(ManifestError::TooManyDescriptors {
                count,
                max: limits.max_descriptors,
            });
        }
        Ok(())
    }
}

impl RawDescriptor {
    fn check(self, field: &str) -> Result<Descriptor, ManifestError> {
        let wrong = |name: &str, problem: String| ManifestError::Field {
            field: format!("{field}.{name}"),
            problem,
        };
        let media_type = self
            .media_type
            .ok_or_else(|| wrong("mediaType", "is missing".to_owned()))?;
        Ok(Descriptor {
            media_type: media_type
                .parse()
                .map_err(|e| wrong("mediaType", format!("{e}")))?,
            digest: self.digest.parse().map_err(|e| wrong("digest", format!("{e}")))?,
            size: u64::try_from(self.size)
                .ok()
                .ok_or_else(|| wrong("size", format!("{} is negative", self.size)))?,
            urls: self.urls.unwrap_or_default(),
            artifact_type: self.artifact_type,
            annotations: self.annotations.unwrap_or_default(),
            platform: self.platform,
        })
    }
}

fn descriptors(field: &str, list: Option<Vec<RawDescriptor>>) -> Result<Vec<Descriptor>, ManifestError> {
    let numbered = list.unwrap_or_default().into_iter().enumerate();
    numbered
        .map(|(i, raw)| raw.check(&format!("{field}[{i}]")))
        .collect()
}

fn agreed_media_type(inside: Option<&str>, outside: Option<&MediaType>) -> Result<MediaType, ManifestError> {
    let inside = inside.filter(|text| !text.is_empty());
    let parsed = inside
        .map(str::parse::<MediaType>)
        .transpose()
        .map_err(|e| ManifestError::Field {
            field: "mediaType".to_owned(),
            problem: e.to_string(),
        })?;
    match (parsed, outside) {
        (None, None) => Err(ManifestError::NoMediaType),
        (Some(inside), None) => Ok(inside),
        (None, Some(outside)) => Ok(outside.clone()),
        (Some(inside), Some(outside)) if inside == *outside => Ok(inside),
        (Some(inside), Some(outside)) => Err(ManifestError::MediaTypeMismatch {
            inside: inside.to_string(),
            outside: outside.to_string(),
        }),
    }
}

/// How deep objects and lists stand within each other, told before anything is built from them.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                now += 1;
                deepest = deepest.max(now);
            }
            (false, b'}' | b']') => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
