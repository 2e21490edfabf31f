use proptest::prelude::*;

use super::*;
use crate::media_type::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};

fn descriptor(media_type: &str, content: &str) -> serde_json::Value {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    serde_json::json!({"mediaType": media_type, "digest": digest, "size": content.len()})
}

fn image() -> serde_json::Value {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, "{}"),
        "layers": [descriptor(OCI_LAYER_GZIP, "a"), descriptor(OCI_LAYER_GZIP, "b")],
        "annotations": {"k": "v"},
    })
}

fn parse(value: &serde_json::Value, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
    let content_type = content_type.map(|text| text.parse().unwrap());
    Manifest::parse(
        value.to_string().into(),
        content_type.as_ref(),
        &ManifestLimits::default(),
    )
}

fn field_of(result: Result<Manifest, ManifestError>) -> String {
    match result {
        Err(ManifestError::Field { field, .. }) => field,
        other => panic!("expected a wrong field, got {other:?}"),
    }
}

#[test]
fn the_bytes_are_kept_and_the_digest_is_over_them() {
    let text = image().to_string().replace("\":", "\": ");
    let manifest = Manifest::parse(text.clone().into(), None, &ManifestLimits::default()).unwrap();
    assert_eq!(manifest.bytes(), text.as_bytes());
    assert_eq!(
        manifest.digest(Algorithm::Sha256),
        Digest::of(Algorithm::Sha256, text.as_bytes())
    );
    assert_eq!(
        (manifest.layers().len(), manifest.kind()),
        (2, ManifestKind::Image)
    );
    assert_eq!(manifest.effective_artifact_type(), Some(OCI_CONFIG));
}

#[test]
fn header_and_document_must_agree() {
    assert!(parse(&image(), Some(OCI_MANIFEST)).is_ok());
    let error = parse(&image(), Some(DOCKER_MANIFEST)).unwrap_err();
    assert!(
        matches!(error, ManifestError::MediaTypeMismatch { .. }),
        "{error}"
    );
    let mut bare = image();
    bare.as_object_mut().unwrap().remove("mediaType");
    assert!(parse(&bare, Some(OCI_MANIFEST)).is_ok());
    assert!(matches!(parse(&bare, None), Err(ManifestError::NoMediaType)));
}

#[test]
fn one_document_is_never_an_image_and_an_index() {
    let mut both = image();
    both["manifests"] = serde_json::json!([]);
    assert_eq!(field_of(parse(&both, None)), "manifests");
    both["mediaType"] = OCI_INDEX.into();
    assert_eq!(field_of(parse(&both, None)), "layers");
}

#[test]
fn a_field_given_twice_is_refused() {
    let twice = image().to_string().replacen('{', r#"{"layers":[],"#, 1);
    let result = Manifest::parse(twice.into(), None, &ManifestLimits::default());
    assert!(matches!(result, Err(ManifestError::Json(_))));
}

#[test]
fn wrong_fields_are_named() {
    let mut wrong = image();
    wrong["layers"][1]["digest"] = "sha256:0".into();
    assert_eq!(field_of(parse(&wrong, None)), "layers[1].digest");
    let mut wrong = image();
    wrong["config"]["size"] = (-1).into();
    assert_eq!(field_of(parse(&wrong, None)), "config.size");
    let mut wrong = image();
    wrong["schemaVersion"] = 1.into();
    assert_eq!(field_of(parse(&wrong, None)), "schemaVersion");
}

#[test]
fn each_limit_is_refused_by_its_name() {
    let limits = ManifestLimits {
        max_bytes: 10,
        ..ManifestLimits::default()
    };
    let result = Manifest::parse(image().to_string().into(), None, &limits);
    assert!(matches!(
        result,
        Err(ManifestError::TooLarge { max_bytes: 10, .. })
    ));
    let limits = ManifestLimits {
        max_descriptors: 2,
        ..ManifestLimits::default()
    };
    let result = Manifest::parse(image().to_string().into(), None, &limits);
    assert!(matches!(
        result,
        Err(ManifestError::TooManyDescriptors { count: 3, max: 2 })
    ));
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let result = Manifest::parse(deep.into(), None, &ManifestLimits::default());
    assert!(matches!(result, Err(ManifestError::TooDeep { max: 32 })));
}

#[test]
fn brackets_inside_strings_are_not_depth() {
    assert_eq!(depth(br#"{"a":"[[[[\"{{{{"}"#), 1);
    assert_eq!(depth(br#"[[],[{}]]"#), 3);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Manifest::parse(bytes.into(), None, &ManifestLimits::default());
    }

    #[test]
    fn no_damaged_manifest_panics(at in 0usize..700, byte in any::<u8>()) {
        let mut bytes = image().to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(manifest) = Manifest::parse(bytes.clone().into(), None, &ManifestLimits::default()) {
            prop_assert_eq!(&manifest.bytes()[..], &bytes[..]);
        }
    }
}
