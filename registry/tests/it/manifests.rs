//! Manifests and tags.

use serde_json::{Value, json};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};

use crate::support::content::{descriptor, image, indented, index, sha256};
use crate::support::server::{Server, answer};

#[tokio::test]
async fn exact_bytes_come_back_by_tag_and_by_digest() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = indented(&admin.push_blobs("a/b").await);
    let digest = sha256(&pushed);
    let put = admin.put_manifest("a/b", "v1", &pushed).await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.header("docker-content-digest"), digest.as_str());
    assert_eq!(admin.get(put.header("location")).await.body, pushed);
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let get = admin.get(&path).await;
        assert_eq!((get.status, get.body.as_ref()), (200, pushed.as_slice()));
        for answer in [get, admin.head(&path).await] {
            assert_eq!(answer.header("content-type"), OCI_MANIFEST);
            assert_eq!(answer.header("content-length"), pushed.len().to_string());
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        }
        let known = admin
            .ask("GET", &path)
            .header("if-none-match", format!("\"{digest}\""));
        assert_eq!(answer(known).await.status, 304);
    }
}

#[tokio::test]
async fn what_is_stored_is_answered_whatever_is_accepted() {
    let server = Server::start();
    let admin = server.admin();
    let manifest = indented(&admin.push_blobs("a/b").await);
    admin.put_manifest("a/b", "child", &manifest).await;
    let pushed = indented(&index(&[&manifest]));
    assert_eq!(admin.put_manifest("a/b", "multi", &pushed).await.status, 201);
    for accept in [
        &["application/json"][..],
        &[OCI_MANIFEST],
        &[DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST],
        &[],
    ] {
        let mut request = admin.ask("GET", "/v2/a/b/manifests/multi");
        for accept in accept {
            request = request.header("accept", *accept);
        }
        let answer = answer(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, OCI_INDEX));
        assert_eq!(answer.body, pushed);
    }
}

#[tokio::test]
async fn the_digest_in_the_path_must_agree() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = indented(&admin.push_blobs("a/b").await);
    admin
        .put_manifest("a/b", sha256(b"other").as_str(), &pushed)
        .await
        .is_refused(400, "DIGEST_INVALID");
    assert_eq!(
        admin
            .put_manifest("a/b", sha256(&pushed).as_str(), &pushed)
            .await
            .status,
        201
    );
}

/// CVE-2021-41190: one document under two media types.
#[tokio::test]
async fn cve_2021_41190_the_media_types_outside_and_inside_must_agree() {
    let server = Server::start();
    let admin = server.admin();
    let document = admin.push_blobs("a/b").await;
    let put = |content_type: Option<&str>, document: &Value| {
        let mut request = admin.ask("PUT", "/v2/a/b/manifests/t").body(indented(document));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type.to_owned());
        }
        answer(request)
    };
    put(Some(OCI_INDEX), &document)
        .await
        .is_refused(400, "MANIFEST_INVALID");
    put(Some("application/json"), &document)
        .await
        .is_refused(400, "MANIFEST_INVALID");
    let mut both = document.clone();
    both["manifests"] = json!([]);
    put(Some(OCI_MANIFEST), &both)
        .await
        .is_refused(400, "MANIFEST_INVALID");
    assert_eq!(
        put(Some(&format!("{OCI_MANIFEST}; charset=utf-8")), &document)
            .await
            .status,
        201
    );
    assert_eq!(
        admin.get("/v2/a/b/manifests/t").await.header("content-type"),
        OCI_MANIFEST
    );
    assert_eq!(put(None, &document).await.status, 201);
    let mut untyped = document;
    untyped.as_object_mut().unwrap().remove("mediaType");
    put(None, &untyped).await.is_refused(400, "MANIFEST_INVALID");
    assert_eq!(put(Some(OCI_MANIFEST), &untyped).await.status, 201);
}

#[tokio::test]
async fn references_must_be_in_this_repository_and_each_missing_one_is_named() {
    let server = Server::start();
    let admin = server.admin();
    admin.push_blob("c/d", b"{}").await;
    let pushed = indented(&image(b"{}", &[b"layer"]));
    let refused = admin.put_manifest("a/b", "t", &pushed).await;
    refused.is_refused(400, "MANIFEST_BLOB_UNKNOWN");
    let named: Vec<_> = refused.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["detail"]["digest"].clone())
        .collect();
    assert_eq!(named, [json!(sha256(b"{}")), json!(sha256(b"layer"))]);
    let missing_child = indented(&index(&[b"no such manifest"]));
    admin
        .put_manifest("a/b", "t", &missing_child)
        .await
        .is_refused(400, "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_subject_and_foreign_layers_need_not_exist() {
    let server = Server::start();
    let admin = server.admin();
    let mut document = admin.push_blobs("a/b").await;
    let subject = descriptor(OCI_MANIFEST, b"not here");
    document["subject"] = subject.clone();
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let layers = document["layers"].as_array_mut().unwrap();
    layers.push(descriptor(foreign, b"elsewhere"));
    layers.push(descriptor(
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        b"elsewhere too",
    ));
    let put = admin.put_manifest("a/b", "t", &indented(&document)).await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.header("oci-subject"), subject["digest"]);
}

#[tokio::test]
async fn sparse_indexes_and_images_are_taken_by_a_setting() {
    let server = Server::with("sparse_manifests = true");
    let admin = server.admin();
    let pushed = indented(&index(&[b"elsewhere"]));
    assert_eq!(admin.put_manifest("a/b", "index", &pushed).await.status, 201);
    admin.push_blob("a/b", b"{}").await;
    let pushed = indented(&image(b"{}", &[b"layer"]));
    assert_eq!(admin.put_manifest("a/b", "image", &pushed).await.status, 201);
    assert_eq!(admin.get("/v2/a/b/manifests/image").await.body, pushed);
    let layer = format!("/v2/a/b/blobs/{}", sha256(b"layer"));
    admin.get(&layer).await.is_refused(404, "BLOB_UNKNOWN");
    // The blob that comes later is the image's, as if it had been there.
    admin.push_blob("a/b", b"layer").await;
    admin.delete(&layer).await.is_refused(405, "UNSUPPORTED");
}

/// cosign's signatures, attestations and SBOMs are tags that hold their subject's digest.
#[tokio::test]
async fn cosigns_tags_live_and_die_with_their_subject() {
    let server = Server::start();
    let admin = server.admin();
    let subject = sha256(&admin.push_image("a/b", "v1", "1").await);
    let base = subject.as_str().replace(':', "-");
    let mut attached = Vec::new();
    for attachment in ["sig", "att", "sbom"] {
        let bytes = admin
            .push_image("a/b", &format!("{base}.{attachment}"), attachment)
            .await;
        attached.push(sha256(&bytes));
    }
    assert_eq!(admin.delete("/v2/a/b/manifests/v1").await.status, 202);
    for attachment in ["sig", "att", "sbom"] {
        let path = format!("/v2/a/b/manifests/{base}.{attachment}");
        assert_eq!(admin.get(&path).await.status, 200);
    }
    let path = format!("/v2/a/b/manifests/{subject}");
    assert_eq!(admin.delete(&path).await.status, 202);
    assert_eq!(admin.get("/v2/a/b/tags/list").await.json()["tags"], json!([]));
    for digest in attached {
        admin
            .get(&format!("/v2/a/b/manifests/{digest}"))
            .await
            .is_refused(404, "MANIFEST_UNKNOWN");
    }
}

#[tokio::test]
async fn docker_and_artifact_manifests_are_taken_and_others_by_a_setting() {
    let own = "application/vnd.example.thing+json";
    let server = Server::with(&format!("media_types = [\"{own}\"]"));
    let admin = server.admin();
    let mut document = admin.push_blobs("a/b").await;
    document["mediaType"] = json!(DOCKER_MANIFEST);
    let manifest = indented(&document);
    assert_eq!(admin.put_manifest("a/b", "docker", &manifest).await.status, 201);
    let mut list = index(&[&manifest]);
    list["mediaType"] = json!(DOCKER_LIST);
    assert_eq!(
        admin.put_manifest("a/b", "list", &indented(&list)).await.status,
        201
    );
    let artifact = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/vnd.example",
        "blobs": [descriptor(OCI_LAYER_GZIP, b"layer")],
    });
    assert_eq!(
        admin
            .put_manifest("a/b", "artifact", &indented(&artifact))
            .await
            .status,
        201
    );
    let thing = json!({ "mediaType": own, "anything": 1 });
    assert_eq!(
        admin.put_manifest("a/b", "thing", &indented(&thing)).await.status,
        201
    );
    let other = json!({ "mediaType": "application/vnd.other+json" });
    admin
        .put_manifest("a/b", "other", &indented(&other))
        .await
        .is_refused(400, "MANIFEST_INVALID");
    let schema1 =
        json!({ "mediaType": "application/vnd.docker.distribution.manifest.v1+json", "schemaVersion": 1 });
    admin
        .put_manifest("a/b", "old", &indented(&schema1))
        .await
        .is_refused(400, "MANIFEST_INVALID");
}

#[tokio::test]
async fn sha512_manifests_are_pushed_by_digest_and_a_tag_points_at_them() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = indented(&admin.push_blobs("a/b").await);
    let digest = Digest::of(Algorithm::Sha512, &pushed);
    let put = admin
        .put_manifest("a/b", &format!("{digest}?tag=x&tag=y"), &pushed)
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    let tags: Vec<_> = put
        .headers
        .get_all("oci-tag")
        .iter()
        .map(|tag| tag.to_str().unwrap())
        .collect();
    assert_eq!(tags, ["x", "y"]);
    for reference in ["x", "y", digest.as_str()] {
        let answer = admin.get(&format!("/v2/a/b/manifests/{reference}")).await;
        assert_eq!(
            (answer.status, answer.header("docker-content-digest")),
            (200, digest.as_str())
        );
    }
    assert_eq!(
        admin
            .head(&format!("/v2/a/b/manifests/{}", sha256(&pushed)))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn ten_tags_in_one_push_are_taken_and_too_many_are_414() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = indented(&admin.push_blobs("a/b").await);
    let query = |count: usize| {
        let tags: Vec<String> = (0..count).map(|n| format!("tag=t{n}")).collect();
        format!("{}?{}", sha256(&pushed), tags.join("&"))
    };
    assert_eq!(admin.put_manifest("a/b", &query(10), &pushed).await.status, 201);
    admin
        .put_manifest("a/b", &query(33), &pushed)
        .await
        .is_refused(414, "UNSUPPORTED");
    let twice = admin
        .put_manifest("a/b", &format!("{}?tag=z&tag=y&tag=z", sha256(&pushed)), &pushed)
        .await;
    let tags: Vec<_> = twice.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["z", "y"]);
    let bad = format!("{}?tag=.bad", sha256(&pushed));
    admin
        .put_manifest("a/b", &bad, &pushed)
        .await
        .is_refused(400, "MANIFEST_INVALID");
}

#[tokio::test]
async fn what_is_deprecated_is_taken_with_a_warning() {
    let server = Server::start();
    let admin = server.admin();
    let mut document = admin.push_blobs("a/b").await;
    let plain = admin.put_manifest("a/b", "plain", &indented(&document)).await;
    assert_eq!((plain.status, plain.header("warning")), (201, ""));
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let layers = document["layers"].as_array_mut().unwrap();
    layers.extend([descriptor(foreign, b"one"), descriptor(foreign, b"two")]);
    let pushed = admin.put_manifest("a/b", "foreign", &indented(&document)).await;
    assert_eq!(pushed.status, 201);
    let warnings: Vec<_> = pushed.headers.get_all("warning").iter().collect();
    assert_eq!(warnings.len(), 1);
    let warning = pushed.header("warning");
    assert!(
        warning.starts_with("299 - \"layers of the type application/vnd.docker") && warning.ends_with('"'),
        "{warning}"
    );
    let artifact = json!({ "mediaType": "application/vnd.oci.artifact.manifest.v1+json" });
    let pushed = admin.put_manifest("a/b", "artifact", &indented(&artifact)).await;
    assert_eq!(pushed.status, 201);
    let pulled = admin.get("/v2/a/b/manifests/artifact").await;
    for answer in [pushed, pulled] {
        assert!(answer.header("warning").contains("withdrawn"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_deleted_tag_leaves_its_manifest_and_a_deleted_manifest_takes_its_tags() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = indented(&admin.push_blobs("a/b").await);
    let digest = sha256(&pushed);
    for tag in ["one", "two", "three"] {
        admin.put_manifest("a/b", tag, &pushed).await;
    }
    assert_eq!(admin.delete("/v2/a/b/manifests/one").await.status, 202);
    admin
        .get("/v2/a/b/manifests/one")
        .await
        .is_refused(404, "MANIFEST_UNKNOWN");
    admin
        .delete("/v2/a/b/manifests/one")
        .await
        .is_refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(
        admin.get(&format!("/v2/a/b/manifests/{digest}")).await.status,
        200
    );
    assert_eq!(
        admin.delete(&format!("/v2/a/b/manifests/{digest}")).await.status,
        202
    );
    for reference in ["two", "three", digest.as_str()] {
        admin
            .get(&format!("/v2/a/b/manifests/{reference}"))
            .await
            .is_refused(404, "MANIFEST_UNKNOWN");
    }
    admin
        .delete(&format!("/v2/a/b/manifests/{digest}"))
        .await
        .is_refused(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_moved_tag_is_answered_as_moved_at_once() {
    let server = Server::start();
    let admin = server.admin();
    for seed in ["1", "2", "3"] {
        let pushed = admin.push_image("a/b", "latest", seed).await;
        for _ in 0..2 {
            assert_eq!(admin.get("/v2/a/b/manifests/latest").await.body, pushed);
        }
    }
}

#[tokio::test]
async fn a_tag_that_cannot_be_is_404_to_read_and_400_to_write() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = admin.push_image("a/b", "t", "1").await;
    let (longest, longer) = ("t".repeat(128), "t".repeat(129));
    assert_eq!(admin.put_manifest("a/b", &longest, &pushed).await.status, 201);
    assert_eq!(
        admin.get(&format!("/v2/a/b/manifests/{longest}")).await.body,
        pushed
    );
    for tag in [".INVALID_NAME", "-x", "a%20b", &longer] {
        let path = format!("/v2/a/b/manifests/{tag}");
        admin.get(&path).await.is_refused(404, "MANIFEST_UNKNOWN");
        admin.delete(&path).await.is_refused(404, "MANIFEST_UNKNOWN");
        admin
            .put_manifest("a/b", tag, &pushed)
            .await
            .is_refused(400, "MANIFEST_INVALID");
    }
}

#[tokio::test]
async fn four_mib_are_taken_and_more_is_413_before_the_body_is_read() {
    let server = Server::start();
    let admin = server.admin();
    let mut document = admin.push_blobs("a/b").await;
    let rest = (4 << 20) - indented(&document).len();
    document["annotations"] = json!({ "k": "" });
    let frame = serde_json::to_vec(&document).unwrap().len();
    document["annotations"]["k"] = json!("x".repeat((4 << 20) - frame));
    let largest = serde_json::to_vec(&document).unwrap();
    assert_eq!(largest.len(), 4 << 20, "{rest}");
    assert_eq!(admin.put_manifest("a/b", "big", &largest).await.status, 201);
    assert_eq!(admin.get("/v2/a/b/manifests/big").await.body, largest);
    document["annotations"]["k"] = json!("x".repeat((4 << 20) - frame + 1));
    let refused = admin
        .put_manifest("a/b", "big", &serde_json::to_vec(&document).unwrap())
        .await;
    refused.is_refused(413, "MANIFEST_INVALID");
    assert!(
        refused.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("limits.manifest_bytes")
    );
    // The same where the length is not announced. On a connection of its own: the one before ends with its refusal.
    let admin = server.admin();
    let piece = vec![b' '; 1 << 20];
    let pieces = futures_util::stream::iter((0..5).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
    let request = admin
        .ask("PUT", "/v2/a/b/manifests/big")
        .header("content-type", OCI_MANIFEST)
        .body(reqwest::Body::wrap_stream(pieces));
    answer(request).await.is_refused(413, "MANIFEST_INVALID");
}

#[tokio::test]
async fn nothing_is_compressed_on_the_fly() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = admin.push_image("a/b", "t", "1").await;
    for path in ["/v2/a/b/manifests/t", "/v2/a/b/tags/list", "/v2/_catalog"] {
        let answer = answer(admin.ask("GET", path).header("accept-encoding", "gzip, br, zstd")).await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, ""),
            "{path}"
        );
    }
    assert_eq!(admin.get("/v2/a/b/manifests/t").await.body, pushed);
}
