//! Names, tags, digests, references, media types and paths: what is read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_protocol::digest::Digest;
use wharf_protocol::media_type::MediaType;
use wharf_protocol::name::{RepositoryName, Tag};
use wharf_protocol::path::Path;
use wharf_protocol::reference::{ImageReference, Reference};

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 255);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(text.len() <= 128);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.as_str(), text);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(image) = text.parse::<ImageReference>() {
        let again: ImageReference = image.to_string().parse().expect("what is written can be read");
        assert_eq!(again, image);
    }
    if let Ok(media_type) = text.parse::<MediaType>() {
        let again: MediaType = media_type
            .to_string()
            .parse()
            .expect("what is written can be read");
        assert_eq!(again, media_type);
    }
    if let Ok(path) = Path::parse(text) {
        let again = Path::parse(&path.build()).expect("what is built can be read");
        assert_eq!(again, path);
    }
});
