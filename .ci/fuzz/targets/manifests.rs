//! Manifests, under any media type: the bytes stay, the limits hold.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wharf_protocol::digest::Algorithm;
use wharf_protocol::manifest::{Manifest, ManifestLimits};
use wharf_protocol::media_type::MediaType;

const LIMITS: ManifestLimits = ManifestLimits {
    max_bytes: 4096,
    max_descriptors: 16,
    max_depth: 12,
};

fuzz_target!(|input: (Option<&str>, &[u8])| {
    let (content_type, bytes) = input;
    let content_type: Option<MediaType> = content_type.and_then(|text| text.parse().ok());
    let Ok(manifest) = Manifest::parse(Bytes::copy_from_slice(bytes), content_type.as_ref(), &LIMITS) else {
        return;
    };
    assert_eq!(manifest.bytes().as_ref(), bytes);
    assert!(bytes.len() <= LIMITS.max_bytes);
    assert!(manifest.layers().len() + manifest.manifests().len() <= LIMITS.max_descriptors);
    // Read again as what it was read as, it is the same.
    let media_type = manifest.media_type().clone();
    let again = Manifest::parse(manifest.bytes().clone(), Some(&media_type), &LIMITS);
    let again = again.expect("its own media type agrees with it");
    assert_eq!(
        again.digest(Algorithm::Sha512),
        manifest.digest(Algorithm::Sha512)
    );
    assert_eq!(again.kind(), manifest.kind());
});
