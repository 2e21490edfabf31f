//! Compare and swap: tags and manifests that change only if they are what the request says.

use serde_json::json;
use wharf_protocol::media_type::OCI_MANIFEST;

use crate::support::content::{image, indented, sha256};
use crate::support::server::{Server, answer};

#[tokio::test]
async fn a_tag_is_compared_and_swapped() {
    let server = Server::start();
    let admin = server.admin();
    let first = indented(&admin.push_blobs("a/b").await);
    let second = serde_json::to_vec(&image(b"{}", &[b"layer"])).unwrap();
    let put = |bytes: &[u8], name: &str, value: String| {
        let request = admin
            .ask("PUT", "/v2/a/b/manifests/latest")
            .header("content-type", OCI_MANIFEST);
        answer(request.header(name.to_owned(), value).body(bytes.to_vec()))
    };
    let quoted = |bytes: &[u8]| format!("\"{}\"", sha256(bytes));
    put(&first, "if-match", quoted(&first))
        .await
        .is_refused(412, "DENIED");
    assert_eq!(put(&first, "if-none-match", "*".to_owned()).await.status, 201);
    let lost = put(&second, "if-none-match", "*".to_owned()).await;
    lost.is_refused(412, "DENIED");
    assert_eq!(
        lost.json()["errors"][0]["detail"]["current"],
        json!(sha256(&first))
    );
    put(&second, "if-match", quoted(&second))
        .await
        .is_refused(412, "DENIED");
    assert_eq!(put(&second, "if-match", quoted(&first)).await.status, 201);
    let delete = |tag: String| {
        answer(
            admin
                .ask("DELETE", "/v2/a/b/manifests/latest")
                .header("if-match", tag),
        )
    };
    delete(quoted(&first)).await.is_refused(412, "DENIED");
    assert_eq!(delete(quoted(&second)).await.status, 202);
}

#[tokio::test]
async fn every_tag_of_one_push_must_be_where_the_request_says_or_none_moves() {
    let server = Server::start();
    let admin = server.admin();
    let first = indented(&admin.push_blobs("a/b").await);
    let second = serde_json::to_vec(&image(b"{}", &[b"layer"])).unwrap();
    admin.put_manifest("a/b", "x", &first).await;
    let put = |tags: &str, header: &'static str, value: String| {
        let path = format!("/v2/a/b/manifests/{}?{tags}", sha256(&second));
        let request = admin.ask("PUT", &path).header("content-type", OCI_MANIFEST);
        answer(request.header(header, value).body(second.clone()))
    };
    let quoted = |bytes: &[u8]| format!("\"{}\"", sha256(bytes));
    for refused in [
        put("tag=x&tag=y", "if-match", quoted(&first)).await,
        put("tag=x&tag=y", "if-none-match", "*".to_owned()).await,
        put("", "if-match", "*".to_owned()).await,
    ] {
        refused.is_refused(412, "DENIED");
        assert!(refused.header("oci-tag").is_empty());
    }
    assert_eq!(admin.get("/v2/a/b/tags/list").await.json()["tags"], json!(["x"]));
    assert_eq!(admin.get("/v2/a/b/manifests/x").await.body, first);
    assert_eq!(
        put("tag=y&tag=z", "if-none-match", "*".to_owned()).await.status,
        201
    );
    assert_eq!(put("tag=x", "if-match", quoted(&first)).await.status, 201);
    assert_eq!(
        put("", "if-none-match", "*".to_owned()).await.status,
        412,
        "the manifest itself"
    );
}

#[tokio::test]
async fn a_manifest_is_deleted_by_digest_only_where_the_request_says_it_is() {
    let server = Server::start();
    let admin = server.admin();
    let pushed = admin.push_image("a/b", "t", "1").await;
    let path = format!("/v2/a/b/manifests/{}", sha256(&pushed));
    let delete =
        |header: &'static str, value: String| answer(admin.ask("DELETE", &path).header(header, value));
    let quoted = format!("\"{}\"", sha256(&pushed));
    delete("if-none-match", "*".to_owned())
        .await
        .is_refused(412, "DENIED");
    delete("if-match", format!("\"{}\"", sha256(b"other")))
        .await
        .is_refused(412, "DENIED");
    delete("if-match", "not a tag".to_owned())
        .await
        .is_refused(400, "UNSUPPORTED");
    assert_eq!(admin.get(&path).await.status, 200);
    assert_eq!(delete("if-match", quoted.clone()).await.status, 202);
    delete("if-match", quoted).await.is_refused(412, "DENIED");
    assert_eq!(admin.get("/v2/a/b/tags/list").await.json()["tags"], json!([]));
}

#[tokio::test]
async fn of_writers_who_race_for_a_tag_one_wins() {
    let server = Server::start();
    let admin = server.admin();
    let document = admin.push_blobs("a/b").await;
    let puts = (0..8).map(|n| {
        let mut document = document.clone();
        document["annotations"] = json!({ "n": n.to_string() });
        let request = admin
            .ask("PUT", "/v2/a/b/manifests/latest")
            .header("if-none-match", "*");
        answer(
            request
                .header("content-type", OCI_MANIFEST)
                .body(indented(&document)),
        )
    });
    let statuses: Vec<u16> = futures_util::future::join_all(puts)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 412).count(),
        7,
        "{statuses:?}"
    );
}
