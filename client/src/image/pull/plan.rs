//! What a pull has to do, decided without doing anything.

use wharf_protocol::digest::Digest;
use wharf_protocol::manifest::Manifest;
use wharf_protocol::media_type;

use crate::error::{Error, Kind, Result};
use crate::image::catalog::Blob;
use crate::image::config::ImageConfig;
use crate::image::content::Content;
use crate::image::snapshot::{MAX_LAYERS, Snapshots};
use crate::store::Store;

/// What is here already.
#[derive(Debug)]
pub struct Inventory {
    content: Content,
    snapshots: Snapshots,
}

/// What can be asked of an inventory.
pub trait Present {
    /// Whether a blob is here.
    fn has_blob(&self, digest: &Digest) -> bool;
    /// Whether an unpacked layer is here.
    fn has_layer(&self, chain_id: &Digest) -> bool;
}

impl Inventory {
    /// What a store has.
    pub fn of(store: &Store) -> Self {
        Self {
            content: Content::of(store),
            snapshots: Snapshots::of(store),
        }
    }
}

impl Present for Inventory {
    fn has_blob(&self, digest: &Digest) -> bool {
        self.content.size(digest).is_some()
    }

    fn has_layer(&self, chain_id: &Digest) -> bool {
        // One that cannot be read is unpacked again.
        self.snapshots.layer(chain_id).is_ok_and(|layer| layer.is_some())
    }
}

/// What is to be done for one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Have,
    /// Its blob is to be fetched; its files are here, from a blob that was compressed otherwise.
    Fetch,
    /// Its blob is here and is to be unpacked.
    Unpack,
    /// Both, in one pass.
    FetchAndUnpack,
}

/// One layer of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlan {
    /// The compressed layer.
    pub blob: Blob,
    /// The digest that its uncompressed archive must have.
    pub diff_id: Digest,
    /// The digest of it and all below it.
    pub chain_id: Digest,
    /// The chain id below it.
    pub parent: Option<Digest>,
    /// What to do.
    pub step: Step,
}

/// What a pull has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The image's id: the digest of its configuration.
    pub image: Digest,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerPlan>,
}

/// Refuses a configuration that is not an image's: a chart's, an artifact's.
///
/// # Errors
/// [`Kind::Unsupported`] naming the type.
pub fn check_config_type(kind: &str) -> Result<()> {
    if matches!(kind, media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
        return Ok(());
    }
    Err(Error::engine(
        Kind::Unsupported,
        format!("what the name means is not a container image: its config is of type {kind:?}"),
    ))
}

/// Plans the pull of an image.
///
/// # Errors
/// [`Kind::Damaged`] when manifest and configuration disagree, [`Kind::Unsupported`] for a layer of a
/// type that cannot be unpacked.
pub fn plan(manifest: &Manifest, config: &ImageConfig, present: &impl Present) -> Result<Plan> {
    let image = manifest
        .config()
        .ok_or_else(|| Error::engine(Kind::Unsupported, "the manifest is not an image's"))?
        .digest
        .clone();
    let diff_ids = &config.rootfs.diff_ids;
    if manifest.layers().len() != diff_ids.len() {
        return Err(Error::engine(
            Kind::Damaged,
            format!(
                "the image is damaged: its manifest has {} layers and its configuration {}",
                manifest.layers().len(),
                diff_ids.len()
            ),
        ));
    }
    if diff_ids.len() > MAX_LAYERS {
        return Err(Error::engine(
            Kind::Unsupported,
            format!(
                "the image has {} layers, more than the {MAX_LAYERS} that can be stacked",
                diff_ids.len()
            ),
        ));
    }
    let mut layers = Vec::with_capacity(diff_ids.len());
    let mut parent: Option<Digest> = None;
    for ((descriptor, diff_id), chain_id) in manifest.layers().iter().zip(diff_ids).zip(config.chain_ids()) {
        check_layer_type(descriptor.media_type.as_str())?;
        let step = match (present.has_blob(&descriptor.digest), present.has_layer(&chain_id)) {
            (true, true) => Step::Have,
            (false, true) => Step::Fetch,
            (true, false) => Step::Unpack,
            (false, false) => Step::FetchAndUnpack,
        };
        layers.push(LayerPlan {
            blob: Blob {
                media_type: descriptor.media_type.to_string(),
                digest: descriptor.digest.clone(),
                size_bytes: descriptor.size,
            },
            diff_id: diff_id.clone(),
            chain_id: chain_id.clone(),
            parent: parent.replace(chain_id),
            step,
        });
    }
    Ok(Plan { image, layers })
}

fn check_layer_type(kind: &str) -> Result<()> {
    let known = matches!(
        kind,
        media_type::OCI_LAYER
            | media_type::OCI_LAYER_GZIP
            | media_type::OCI_LAYER_ZSTD
            | media_type::DOCKER_LAYER
            | media_type::DOCKER_LAYER_GZIP
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
    );
    if known {
        return Ok(());
    }
    Err(Error::engine(
        Kind::Unsupported,
        format!("a layer is of type {kind:?}, which cannot be unpacked"),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wharf_protocol::digest::Algorithm;
    use wharf_protocol::manifest::ManifestLimits;

    use super::*;
    use crate::image::config::RootFs;

    struct Known(Vec<Digest>, Vec<Digest>);

    impl Present for Known {
        fn has_blob(&self, digest: &Digest) -> bool {
            self.0.contains(digest)
        }

        fn has_layer(&self, chain_id: &Digest) -> bool {
            self.1.contains(chain_id)
        }
    }

    fn digest(text: String) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn image(layers: usize, diff_ids: usize) -> (Manifest, ImageConfig) {
        let layers: Vec<_> = (0..layers)
            .map(|n| {
                serde_json::json!({"mediaType": media_type::OCI_LAYER_GZIP, "size": 10,
                    "digest": digest(format!("blob {n}"))})
            })
            .collect();
        let document = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": {"mediaType": media_type::OCI_CONFIG, "size": 2, "digest": digest("config".into())},
            "layers": layers});
        let manifest =
            Manifest::parse(document.to_string().into(), None, &ManifestLimits::default()).unwrap();
        let diff_ids = (0..diff_ids).map(|n| digest(format!("diff {n}"))).collect();
        let config = ImageConfig {
            rootfs: RootFs {
                kind: "layers".into(),
                diff_ids,
            },
            ..ImageConfig::default()
        };
        (manifest, config)
    }

    #[test]
    fn manifest_and_configuration_must_agree() {
        let (manifest, config) = image(2, 3);
        let error = plan(&manifest, &config, &Known(Vec::new(), Vec::new())).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
    }

    #[test]
    fn a_chart_is_not_an_image() {
        let error = check_config_type("application/vnd.cncf.helm.config.v1+json").unwrap_err();
        assert!(error.to_string().contains("helm"), "{error}");
    }

    proptest! {
        #[test]
        fn every_layer_is_done_exactly_as_far_as_it_is_missing(
            has in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..20)
        ) {
            let (manifest, config) = image(has.len(), has.len());
            let chain = config.chain_ids();
            let blobs = (0..has.len()).filter(|n| has[*n].0).map(|n| digest(format!("blob {n}"))).collect();
            let layers = (0..has.len()).filter(|n| has[*n].1).map(|n| chain[n].clone()).collect();
            let plan = plan(&manifest, &config, &Known(blobs, layers)).unwrap();
            prop_assert_eq!(plan.layers.len(), has.len());
            let mut below = None;
            for (layer, (blob, unpacked)) in plan.layers.iter().zip(has) {
                let step = match (blob, unpacked) {
                    (true, true) => Step::Have,
                    (false, true) => Step::Fetch,
                    (true, false) => Step::Unpack,
                    (false, false) => Step::FetchAndUnpack,
                };
                prop_assert_eq!(layer.step, step);
                prop_assert_eq!(&layer.parent, &below);
                below = Some(layer.chain_id.clone());
            }
        }
    }
}
