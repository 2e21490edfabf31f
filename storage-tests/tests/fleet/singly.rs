//! One registry over each pair of stores of which one is not the default.

use storage_tests::content::content;
use storage_tests::fleet::client::{answer, image, sha256};
use storage_tests::fleet::{Fleet, Plan};
use wharf_protocol::digest::{Algorithm, Digest};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn s3_with_sqlite_serves_all_from_push_to_delete_and_after_a_restart() {
    serves(Plan::new().await.with_sqlite().start(1).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_postgres_serves_all_from_push_to_delete_and_after_a_restart() {
    serves(Plan::new().await.on_disk().start(1).await).await;
}

async fn serves(mut fleet: Fleet) {
    let admin = fleet.admin();
    let (config, layer) = (content(1, 300), content(2, 10 * MIB + 3));
    admin.push_blob("team/app", &config).await;
    let mut upload = admin.begin("team/app").await;
    for piece in layer.chunks(6 * MIB) {
        let taken = admin.patch(&upload, piece).await.expect(202);
        taken.header("location").clone_into(&mut upload);
    }
    let _ = admin.finish(&upload, &sha256(&layer), b"").await.expect(201);
    admin.push_blob("team/app", b"").await;
    let long = Digest::of(Algorithm::Sha512, &config);
    let upload = admin.begin("team/app").await;
    let _ = admin.finish(&upload, &long, &config).await.expect(201);
    let manifest = image(&config, &[&layer]);
    let _ = admin
        .put_manifest("team/app", "1", &manifest, &[])
        .await
        .expect(201);

    is_served(&fleet, &layer, &manifest).await;
    several_ranges_are_served(&fleet, &layer).await;
    fleet.replicas[0].terminate();
    let ended = fleet.replicas[0].wait().await;
    assert!(ended.success, "{}", ended.log);
    fleet.start(0).await;
    is_served(&fleet, &layer, &manifest).await;
    let got = fleet
        .admin()
        .get(&format!("/v2/team/app/blobs/{long}"))
        .await
        .expect(200);
    assert!(got.body == config);

    for path in [
        format!("/v2/team/app/manifests/{}", sha256(&manifest)),
        format!("/v2/team/app/blobs/{}", sha256(&layer)),
    ] {
        let _ = fleet.admin().send("DELETE", &path).await.expect(202);
        let _ = fleet.admin().get(&path).await.expect(404);
    }
}

async fn is_served(fleet: &Fleet, layer: &[u8], manifest: &[u8]) {
    let admin = fleet.admin();
    let got = admin.get("/v2/team/app/manifests/1").await.expect(200);
    assert!(got.body == manifest);
    let got = admin
        .get(&format!("/v2/team/app/blobs/{}", sha256(layer)))
        .await
        .expect(200);
    assert!(got.body == layer);
    let empty = admin
        .get(&format!("/v2/team/app/blobs/{}", sha256(b"")))
        .await
        .expect(200);
    assert_eq!((empty.body.len(), empty.header("content-length")), (0, "0"));
}

/// RFC 9110, 14.6: the parts of `multipart/byteranges`, each with its bytes and where they stand.
async fn several_ranges_are_served(fleet: &Fleet, layer: &[u8]) {
    let path = format!("/v2/team/app/blobs/{}", sha256(layer));
    let request = fleet.admin().ask("GET", &path);
    let request = request.header("range", "bytes=0-9,1000-1999,5000000-");
    let got = answer(request).await.unwrap().expect(206);
    assert_eq!(got.header("content-length"), got.body.len().to_string());
    let kind = got.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let boundary = boundary.trim_matches('"');
    let mut expected = Vec::new();
    for range in [0..10, 1000..2000, 5_000_000..layer.len()] {
        let place = format!("{}-{}/{}", range.start, range.end - 1, layer.len());
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {place}\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&layer[range]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    // A part's header names may be written in any case, and the first line break is none of the body's.
    let head = |body: &[u8]| String::from_utf8_lossy(&body[..200]).to_lowercase();
    let leading = if got.body.starts_with(b"\r\n") { 0 } else { 2 };
    assert_eq!(head(&got.body), head(&expected[leading..]));
    assert!(got.body.len() == expected.len() - leading && got.body.ends_with(&expected[5_000_000..]));
}
