//! What somebody who pushes a manifest should know though it was taken.

use std::fmt;

use wharf_protocol::manifest::Manifest;
use wharf_protocol::media_type::{ManifestKind, MediaType};
use wharf_protocol::name::{RepositoryName, Tag};

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// The manifest's type was withdrawn before image-spec 1.1.
    Withdrawn(MediaType),
    /// A layer's type is deprecated (image-spec 1.1, "Non-Distributable Layers").
    NonDistributable(MediaType),
    /// A list of referrers is kept by hand, in a tag (distribution-spec, "Referrers Tag Schema").
    ReferrersTag {
        /// The repository.
        name: RepositoryName,
        /// The tag.
        tag: Tag,
    },
}

impl Advice {
    /// Returns what there is to say of a manifest's type, to those who pull it as well.
    pub fn of_type(media_type: &MediaType) -> Option<Self> {
        (media_type.manifest_kind() == ManifestKind::Artifact).then(|| Self::Withdrawn(media_type.clone()))
    }

    /// Returns what there is to say of a push, each thing once.
    pub(super) fn of_push(name: &RepositoryName, tags: &[Tag], manifest: &Manifest) -> Vec<Self> {
        let mut advice: Vec<Self> = Self::of_type(manifest.media_type()).into_iter().collect();
        for layer in manifest.layers() {
            let deprecated = Self::NonDistributable(layer.media_type.clone());
            if layer.media_type.is_non_distributable() && !advice.contains(&deprecated) {
                advice.push(deprecated);
            }
        }
        let by_hand = tags.iter().filter(|tag| is_referrers_tag(tag));
        advice.extend(by_hand.map(|tag| Self::ReferrersTag {
            name: name.clone(),
            tag: tag.clone(),
        }));
        advice
    }
}

/// Whether a tag is made of a digest, which has no more than 64 of its digits there.
fn is_referrers_tag(tag: &Tag) -> bool {
    tag.as_str().split_once('-').is_some_and(|(algorithm, digits)| {
        ["sha256", "sha512"].contains(&algorithm)
            && digits.len() == 64
            && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn(media_type) => write!(
                f,
                "manifests of the type {media_type} were withdrawn from the image specification: push an image \
                 manifest with an artifactType"
            ),
            Self::NonDistributable(media_type) => write!(
                f,
                "layers of the type {media_type} are deprecated: this registry does not hold what they name"
            ),
            Self::ReferrersTag { name, tag } => write!(
                f,
                "the tag {tag} keeps referrers by hand: this registry lists them itself under \
                 /v2/{name}/referrers/"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referrers_tag_is_an_algorithm_and_64_digits() {
        let is = |text: &str| is_referrers_tag(&text.parse().unwrap());
        let digits = "0123456789abcdef".repeat(4);
        assert!(is(&format!("sha256-{digits}")));
        assert!(is(&format!("sha512-{digits}")));
        assert!(!is(&format!("sha256-{digits}.sig")));
        assert!(!is(&format!("sha1-{digits}")));
        assert!(!is(&format!("sha512-{digits}{digits}")
            .chars()
            .take(128)
            .collect::<String>()));
        assert!(!is("latest") && !is("sha256-1"));
    }
}
