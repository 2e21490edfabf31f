//! What clients may not do, each refused by the limit's name.

use serde_json::json;
use wharf_protocol::media_type::OCI_LAYER_GZIP;

use crate::support::content::{descriptor, image, sha256};
use crate::support::server::{Answer, Server, answer};

fn message(answer: &Answer) -> String {
    answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn too_many_open_uploads_are_429_and_room_comes_back() {
    let server = Server::with("limits.uploads_per_user = 2");
    server.add_user("bob");
    let bob = server.user("bob");
    let first = bob.begin("bob/a").await;
    bob.begin("bob/b").await;
    let refused = bob.post("/v2/bob/c/blobs/uploads/").await;
    refused.is_refused(429, "TOOMANYREQUESTS");
    assert!(message(&refused).contains("limits.uploads_per_user"));
    assert!(!refused.header("retry-after").is_empty());
    server.admin().begin("bob/c").await;
    assert_eq!(bob.delete(&first).await.status, 204);
    bob.begin("bob/c").await;
}

#[tokio::test]
async fn a_manifest_with_too_many_descriptors_or_too_deep_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let mut document = image(b"{}", &[]);
    document["layers"] = json!(vec![descriptor(OCI_LAYER_GZIP, b"layer"); 4096]);
    let refused = admin
        .put_manifest("a/b", "t", &serde_json::to_vec(&document).unwrap())
        .await;
    refused.is_refused(400, "MANIFEST_INVALID");
    assert!(message(&refused).contains("4096"), "{}", message(&refused));
    let mut deep = serde_json::to_string(&image(b"{}", &[])).unwrap();
    deep.truncate(deep.len() - 1);
    deep.push_str(&format!(",\"x\":{}{}}}", "[".repeat(32), "]".repeat(32)));
    let refused = admin.put_manifest("a/b", "t", deep.as_bytes()).await;
    refused.is_refused(400, "MANIFEST_INVALID");
    assert!(message(&refused).contains("32"), "{}", message(&refused));
}

#[tokio::test]
async fn huge_headers_are_431_in_one_line_or_in_many() {
    let server = Server::start();
    let ask = || server.nobody().ask("GET", "/healthz");
    let one = ask().header("x-filler", "x".repeat(40 << 10));
    let larger = ask().header("x-filler", "x".repeat(400 << 10));
    let many = (0..300).fold(ask(), |request, n| request.header(format!("x-{n}"), "y"));
    for request in [one, larger, many] {
        let refused = answer(request).await;
        refused.is_refused(431, "UNSUPPORTED");
        assert!(message(&refused).contains("limits.header_bytes"));
        assert_eq!(refused.header("docker-distribution-api-version"), "registry/2.0");
    }
    assert_eq!(server.nobody().get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_session_expires_with_its_setting_only() {
    let server = Server::with("upload_life = \"60s\"");
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    assert_eq!(admin.patch(&upload, None, b"x").await.status, 202);
    assert_eq!(admin.get(&upload).await.status, 204);
}

#[tokio::test]
async fn a_blob_may_be_pushed_by_many_at_once() {
    let server = Server::start();
    let admin = server.admin();
    let bytes = vec![7; 300_000];
    let pushes = (0..8).map(|_| {
        let path = format!("/v2/a/b/blobs/uploads/?digest={}", sha256(&bytes));
        answer(admin.ask("POST", &path).body(bytes.clone()))
    });
    let answers = futures_util::future::join_all(pushes).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    assert_eq!(
        std::fs::read_dir(server.data_dir().join("storage/blobs"))
            .unwrap()
            .count(),
        1
    );
}
