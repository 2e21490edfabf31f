//! Referrers.

use serde_json::{Value, json};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::media_type::{OCI_INDEX, OCI_MANIFEST};

use crate::support::content::{descriptor, image, index, sha256};
use crate::support::server::{Caller, Server};

/// Pushes a manifest about a subject and returns its bytes.
async fn refer(caller: &Caller<'_>, subject: &[u8], artifact_type: Option<&str>, note: &str) -> Vec<u8> {
    caller.push_blob("a/b", b"{}").await;
    let mut document = image(b"{}", &[]);
    document["subject"] = descriptor(OCI_MANIFEST, subject);
    document["annotations"] = json!({ "note": note });
    if let Some(artifact_type) = artifact_type {
        document["artifactType"] = json!(artifact_type);
    }
    let bytes = serde_json::to_vec(&document).unwrap();
    let put = caller.put_manifest("a/b", sha256(&bytes).as_str(), &bytes).await;
    assert_eq!(
        (put.status, put.header("oci-subject")),
        (201, sha256(subject).as_str())
    );
    bytes
}

#[tokio::test]
async fn the_answer_is_always_an_index() {
    let server = Server::start();
    let admin = server.admin();
    let digest = sha256(b"nothing");
    for name in ["a/b", "no/such"] {
        let answer = admin.get(&format!("/v2/{name}/referrers/{digest}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, OCI_INDEX));
        assert_eq!(
            answer.json(),
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] })
        );
    }
    admin
        .get("/v2/a/b/referrers/sha256:x")
        .await
        .is_refused(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn referrers_are_described_with_type_annotations_and_size() {
    let server = Server::start();
    let admin = server.admin();
    let subject = admin.push_image("a/b", "t", "1").await;
    let typed = refer(&admin, &subject, Some("application/vnd.example.sbom"), "typed").await;
    let untyped = refer(&admin, &subject, None, "untyped").await;
    let mut list = index(&[]);
    list["subject"] = descriptor(OCI_MANIFEST, &subject);
    let list = serde_json::to_vec(&list).unwrap();
    admin.put_manifest("a/b", "index", &list).await;
    let answer = admin
        .get(&format!("/v2/a/b/referrers/{}", sha256(&subject)))
        .await
        .json();
    let find = |bytes: &[u8]| {
        let digest = json!(sha256(bytes));
        let all = answer["manifests"].as_array().unwrap();
        assert_eq!(all.len(), 3);
        all.iter().find(|one| one["digest"] == digest).unwrap().clone()
    };
    let one = find(&typed);
    assert_eq!(one["artifactType"], "application/vnd.example.sbom");
    assert_eq!(one["annotations"], json!({ "note": "typed" }));
    assert_eq!(
        (one["mediaType"].clone(), one["size"].clone()),
        (json!(OCI_MANIFEST), json!(typed.len()))
    );
    assert_eq!(
        find(&untyped)["artifactType"],
        "application/vnd.oci.image.config.v1+json"
    );
    assert_eq!(find(&list)["artifactType"], Value::Null);
}

#[tokio::test]
async fn the_filter_is_applied_and_said_so() {
    let server = Server::start();
    let admin = server.admin();
    let subject = admin.push_image("a/b", "t", "1").await;
    let sbom = refer(&admin, &subject, Some("application/vnd.example.sbom"), "1").await;
    refer(&admin, &subject, Some("application/vnd.example.signature"), "2").await;
    let path = format!(
        "/v2/a/b/referrers/{}?artifactType=application/vnd.example.sbom",
        sha256(&subject)
    );
    let answer = admin.get(&path).await;
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    assert_eq!(answer.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(answer.json()["manifests"][0]["digest"], json!(sha256(&sbom)));
}

#[tokio::test]
async fn pages_of_referrers_are_linked() {
    let server = Server::start();
    let admin = server.admin();
    let subject = admin.push_image("a/b", "t", "1").await;
    let mut expected = Vec::new();
    for n in 0..5 {
        let bytes = refer(&admin, &subject, Some("application/vnd.example"), &n.to_string()).await;
        expected.push(json!(sha256(&bytes)));
    }
    expected.sort_by_key(ToString::to_string);
    let mut next = format!(
        "/v2/a/b/referrers/{}?n=2&artifactType=application%2Fvnd.example",
        sha256(&subject)
    );
    let mut seen = Vec::new();
    loop {
        let page = admin.get(&next).await;
        let manifests = page.json()["manifests"].as_array().unwrap().clone();
        assert!(manifests.len() <= 2);
        seen.extend(manifests.iter().map(|one| one["digest"].clone()));
        let link = page.header("link");
        if link.is_empty() {
            break;
        }
        next = link
            .strip_prefix('<')
            .and_then(|link| link.split('>').next())
            .unwrap()
            .to_owned();
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_deleted_referrer_is_no_longer_listed() {
    let server = Server::start();
    let admin = server.admin();
    let subject = admin.push_image("a/b", "t", "1").await;
    let referrer = refer(&admin, &subject, None, "1").await;
    assert_eq!(
        admin
            .delete(&format!("/v2/a/b/manifests/{}", sha256(&referrer)))
            .await
            .status,
        202
    );
    let answer = admin
        .get(&format!("/v2/a/b/referrers/{}", sha256(&subject)))
        .await;
    assert_eq!(answer.json()["manifests"], json!([]));
}

/// distribution-spec, "Referrers Tag Schema": what clients keep that know no referrers API.
#[tokio::test]
async fn a_referrers_tag_is_kept_as_written_and_adds_only_what_really_refers() {
    let server = Server::start();
    let admin = server.admin();
    let subject = admin.push_image("a/b", "t", "1").await;
    let stranger = admin.push_image("a/b", "stranger", "2").await;
    let referrer = refer(&admin, &subject, Some("application/vnd.example"), "real").await;
    let list = serde_json::to_vec(&index(&[&referrer, &stranger])).unwrap();
    let tag = sha256(&subject).as_str().replace(':', "-");
    let pushed = admin.put_manifest("a/b", &tag, &list).await;
    assert_eq!(pushed.status, 201);
    assert!(pushed.header("warning").contains(&tag), "{pushed:?}");
    assert_eq!(admin.get(&format!("/v2/a/b/manifests/{tag}")).await.body, list);
    let listed = admin
        .get(&format!("/v2/a/b/referrers/{}", sha256(&subject)))
        .await
        .json();
    let digests: Vec<_> = listed["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["digest"].clone())
        .collect();
    assert_eq!(digests, [json!(sha256(&referrer))]);
}

#[tokio::test]
async fn a_sha512_subject_has_referrers_and_a_tag_of_64_digits() {
    let server = Server::start();
    let admin = server.admin();
    let config = admin.push_blob("a/b", b"{}").await;
    let subject = serde_json::to_vec(&image(b"{}", &[])).unwrap();
    let digest = Digest::of(Algorithm::Sha512, &subject);
    assert_eq!(
        admin.put_manifest("a/b", digest.as_str(), &subject).await.status,
        201,
        "{config}"
    );
    let mut document = image(b"{}", &[]);
    document["subject"] = descriptor(OCI_MANIFEST, &subject);
    document["subject"]["digest"] = json!(digest);
    let referrer = serde_json::to_vec(&document).unwrap();
    let by = Digest::of(Algorithm::Sha512, &referrer);
    let put = admin.put_manifest("a/b", by.as_str(), &referrer).await;
    assert_eq!((put.status, put.header("oci-subject")), (201, digest.as_str()));
    let listed = admin.get(&format!("/v2/a/b/referrers/{digest}")).await.json();
    assert_eq!(listed["manifests"][0]["digest"], json!(by));
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    let tag: String = digest
        .as_str()
        .replace(':', "-")
        .chars()
        .take("sha512-".len() + 64)
        .collect();
    let mut list = index(&[&referrer]);
    list["manifests"][0]["digest"] = json!(by);
    let list = serde_json::to_vec(&list).unwrap();
    let put = admin.put_manifest("a/b", &tag, &list).await;
    assert_eq!(
        (put.status, put.header("warning").contains(&tag)),
        (201, true),
        "{put:?}"
    );
    assert_eq!(admin.get(&format!("/v2/a/b/manifests/{tag}")).await.body, list);
    // The referrer's other name, by SHA-256, is not in the repository.
    let other = Digest::of(Algorithm::Sha256, &subject);
    assert_eq!(
        admin.get(&format!("/v2/a/b/referrers/{other}")).await.json()["manifests"],
        json!([])
    );
}
