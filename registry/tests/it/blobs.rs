//! Reading and deleting blobs.

use crate::support::content::sha256;
use crate::support::server::{Server, answer};

#[tokio::test]
async fn get_and_head_have_the_headers_of_the_contract() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"hello").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    for answer in [admin.get(&path).await, admin.head(&path).await] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-length"), "5");
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(answer.header("cache-control").contains("immutable"));
    }
    assert_eq!(admin.get(&path).await.body, "hello");
    assert_eq!(admin.head(&path).await.body, "");
}

#[tokio::test]
async fn one_range_is_206_in_each_of_its_forms() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    for (range, body, place) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ] {
        let answer = answer(admin.ask("GET", &path).header("range", range)).await;
        assert_eq!(
            (answer.status, answer.body.as_ref()),
            (206, body.as_bytes()),
            "{range}"
        );
        assert_eq!(answer.header("content-range"), place);
        assert_eq!(answer.header("content-length"), body.len().to_string());
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_met_is_416_and_one_that_cannot_be_read_is_ignored() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    for range in ["bytes=10-", "bytes=500-0", "bytes=-0"] {
        let answer = answer(admin.ask("GET", &path).header("range", range)).await;
        answer.is_refused(416, "SIZE_INVALID");
        assert_eq!(answer.header("content-range"), "bytes */10");
    }
    for range in ["bytes=x-y", "lines=0-3", "bytes", "bytes=0-1,4-5"] {
        let answer = answer(admin.ask("GET", &path).header("range", range)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 10), "{range}");
    }
}

#[tokio::test]
async fn if_range_holds_for_this_content_alone() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let ask = |tag: String| {
        admin
            .ask("GET", &path)
            .header("range", "bytes=0-3")
            .header("if-range", tag)
    };
    assert_eq!(answer(ask(format!("\"{digest}\""))).await.status, 206);
    assert_eq!(answer(ask("\"other\"".to_owned())).await.status, 200);
}

#[tokio::test]
async fn if_none_match_of_the_digest_is_304() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"hello").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let ask = |tag: &str| admin.ask("GET", &path).header("if-none-match", tag.to_owned());
    let same = answer(ask(&format!("\"{digest}\""))).await;
    assert_eq!(
        (same.status, same.body.len(), same.header("etag")),
        (304, 0, format!("\"{digest}\"").as_str())
    );
    assert_eq!(answer(ask("\"other\"")).await.status, 200);
}

#[tokio::test]
async fn a_blob_is_read_through_a_repository_that_holds_it_alone() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"hello").await;
    admin.push_blob("c/d", b"other").await;
    admin
        .get(&format!("/v2/c/d/blobs/{digest}"))
        .await
        .is_refused(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_blob_that_a_manifest_names_cannot_be_deleted() {
    let server = Server::start();
    let admin = server.admin();
    admin.push_image("a/b", "t", "1").await;
    let layer = format!("/v2/a/b/blobs/{}", sha256(b"layer 1"));
    admin.delete(&layer).await.is_refused(405, "UNSUPPORTED");
    assert_eq!(admin.delete("/v2/a/b/manifests/t").await.status, 202);
    admin.delete(&layer).await.is_refused(405, "UNSUPPORTED");
}

#[tokio::test]
async fn a_deleted_blob_is_gone_at_once_and_can_be_pushed_again() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"hello").await;
    admin.push_blob("c/d", b"hello").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(admin.delete(&path).await.status, 202);
    admin.get(&path).await.is_refused(404, "BLOB_UNKNOWN");
    admin.delete(&path).await.is_refused(404, "BLOB_UNKNOWN");
    assert_eq!(admin.get(&format!("/v2/c/d/blobs/{digest}")).await.status, 200);
    admin.push_blob("a/b", b"hello").await;
    assert_eq!(admin.get(&path).await.body, "hello");
}

#[tokio::test]
async fn with_deletes_off_everything_is_405() {
    let server = Server::with("deletes = false");
    let admin = server.admin();
    let manifest = admin.push_image("a/b", "t", "1").await;
    let digest = admin.push_blob("a/b", b"hello").await;
    for path in [
        format!("/v2/a/b/blobs/{digest}"),
        "/v2/a/b/manifests/t".to_owned(),
        format!("/v2/a/b/manifests/{}", sha256(&manifest)),
    ] {
        admin.delete(&path).await.is_refused(405, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn a_large_blob_comes_back_whole_and_in_parts() {
    let server = Server::start();
    let admin = server.admin();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let digest = admin.push_blob("a/b", &bytes).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(admin.get(&path).await.body, bytes);
    let part = answer(admin.ask("GET", &path).header("range", "bytes=1000000-3999999")).await;
    assert_eq!(
        (part.status, part.body.as_ref()),
        (206, &bytes[1_000_000..4_000_000])
    );
}
