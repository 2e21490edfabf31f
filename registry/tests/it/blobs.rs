//! Reading and deleting blobs.

use crate::support::content::sha256;
use crate::support::server::{ADMIN_PASSWORD, Answer, Server, answer};

/// A part of a multipart answer: its place and its bytes.
type Part = (String, Vec<u8>);

/// Takes a `multipart/byteranges` answer apart, as strictly as its grammar (RFC 2046) is.
fn parts(answer: &Answer) -> Vec<Part> {
    assert_eq!(answer.status, 206, "{:?}", answer.headers);
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("content-range"), "");
    let boundary = answer
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut rest = answer.body.as_ref();
    let mut parts = Vec::new();
    let mut line = format!("--{boundary}\r\n");
    while let Some(part) = rest.strip_prefix(line.as_bytes()) {
        let head_end = part.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&part[..head_end]).unwrap();
        let place = head
            .strip_prefix("Content-Type: application/octet-stream\r\nContent-Range: ")
            .unwrap();
        let (first, last) = place
            .strip_prefix("bytes ")
            .and_then(|place| place.split('/').next()?.split_once('-'))
            .unwrap();
        let length = last.parse::<usize>().unwrap() + 1 - first.parse::<usize>().unwrap();
        let (content, after) = part[head_end + 4..].split_at(length);
        parts.push((place.to_owned(), content.to_vec()));
        rest = after;
        line = format!("\r\n--{boundary}\r\n");
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
    parts
}

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
    for range in ["bytes=10-", "bytes=500-0", "bytes=-0", "bytes=10-11,20-"] {
        let answer = answer(admin.ask("GET", &path).header("range", range)).await;
        answer.is_refused(416, "SIZE_INVALID");
        assert_eq!(answer.header("content-range"), "bytes */10");
    }
    for range in ["bytes=x-y", "lines=0-3", "bytes", "bytes=0-1,x"] {
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

#[tokio::test]
async fn several_ranges_are_one_multipart_answer_in_the_order_they_were_asked_for() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let several = answer(admin.ask("GET", &path).header("range", "bytes=6-7, 0-1,90-95,-1")).await;
    let part = |place: &str, bytes: &str| (place.to_owned(), bytes.as_bytes().to_vec());
    assert_eq!(
        parts(&several),
        [
            part("bytes 6-7/10", "67"),
            part("bytes 0-1/10", "01"),
            part("bytes 9-9/10", "9")
        ]
    );
    assert_eq!(several.header("docker-content-digest"), digest.as_str());
    assert_eq!(several.header("etag"), format!("\"{digest}\""));
    let one_left = answer(admin.ask("GET", &path).header("range", "bytes=90-,2-3")).await;
    assert_eq!(
        (
            one_left.status,
            one_left.body.as_ref(),
            one_left.header("content-range")
        ),
        (206, b"23".as_slice(), "bytes 2-3/10")
    );
    let head = answer(admin.ask("HEAD", &path).header("range", "bytes=0-1,4-5")).await;
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    let changed = admin
        .ask("GET", &path)
        .header("range", "bytes=0-1,4-5")
        .header("if-range", "\"other\"");
    assert_eq!(answer(changed).await.status, 200);
}

#[tokio::test]
async fn excessive_ranges_are_answered_by_the_whole() {
    let server = Server::start();
    let admin = server.admin();
    let bytes = vec![7; 10_000];
    let digest = admin.push_blob("a/b", &bytes).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let many: String = (0..1025).map(|n| format!("{}-{},", 2 * n, 2 * n)).collect();
    for range in ["0-,0-", "-9999,0-9998", "0-9,5-14,10-19,15-24", &many] {
        let whole = answer(admin.ask("GET", &path).header("range", format!("bytes={range}"))).await;
        assert_eq!((whole.status, whole.body.len()), (200, 10_000), "{range}");
    }
}

/// What a lazy puller asks for: as many chunks as it may, and large ones, time after time on one connection.
#[tokio::test]
async fn a_thousand_parts_and_large_ones_come_whole_over_one_connection() {
    let server = Server::start();
    let admin = server.admin();
    let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();
    let digest = admin.push_blob("a/b", &bytes).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let many: Vec<(usize, usize)> = (0..1024).map(|n| (n * 5000, n * 5000 + n)).collect();
    let large = vec![(1, 2_500_000), (2_500_002, 2_500_002), (3_000_000, 5_999_999)];
    for asked in [many, large] {
        let ranges: Vec<String> = asked
            .iter()
            .map(|(first, last)| format!("{first}-{last}"))
            .collect();
        let request = admin
            .ask("GET", &path)
            .header("range", format!("bytes={}", ranges.join(",")));
        let parts = parts(&answer(request).await);
        assert_eq!(parts.len(), asked.len());
        for ((first, last), (place, content)) in asked.iter().zip(parts) {
            assert_eq!(place, format!("bytes {first}-{last}/6000000"));
            assert!(content == bytes[*first..=*last], "{place}");
        }
        assert_eq!(admin.get(&path).await.body, bytes);
    }
}

#[tokio::test]
async fn a_storage_without_addresses_is_not_redirected_to() {
    let server = Server::with("redirects = [\"**\", \"a/**@127.0.0.0/8\"]");
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"hello").await;
    let answer = admin.get(&format!("/v2/a/b/blobs/{digest}")).await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, b"hello".as_slice()));
    assert!(server.log().contains("nothing is redirected"), "{}", server.log());
}

#[tokio::test]
async fn a_fault_of_ours_tells_the_client_a_request_id_and_the_log_why() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/b", b"hello").await;
    for object in std::fs::read_dir(server.data_dir().join("storage/blobs")).unwrap() {
        std::fs::remove_file(object.unwrap().path()).unwrap();
    }
    let failed = admin.get(&format!("/v2/a/b/blobs/{digest}")).await;
    failed.is_refused(500, "UNKNOWN");
    let id = failed.header("x-request-id").to_owned();
    assert_eq!(
        failed.json()["errors"][0]["detail"],
        serde_json::json!({ "request_id": id })
    );
    let log = server.log();
    let line = log.lines().find(|line| line.contains(&id)).unwrap();
    assert!(line.contains("missing"), "{line}");
}

/// Where the kernel cannot send a file by itself, its bytes are read.
#[tokio::test]
async fn several_ranges_come_over_tls_by_http1_and_http2() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::with(&format!("tls_cert = {cert:?}\ntls_key = {key:?}"));
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = || reqwest::Client::builder().tls_certs_only([trusted.clone()]);
    let url = format!("https://localhost:{}/v2/a/b/blobs", server.address().port());
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n / 5).to_le_bytes()[0]).collect();
    let digest = sha256(&bytes);
    for (client, version) in [
        (client().http1_only().build().unwrap(), http::Version::HTTP_11),
        (client().build().unwrap(), http::Version::HTTP_2),
    ] {
        let ask = |method, path: &str| {
            let request = client.request(method, format!("{url}/{path}"));
            request.basic_auth("admin", Some(ADMIN_PASSWORD))
        };
        let push = ask(http::Method::POST, &format!("uploads/?digest={digest}"));
        assert_eq!(answer(push.body(bytes.clone())).await.status, 201);
        let request = ask(http::Method::GET, digest.as_str());
        let response = request
            .header("range", "bytes=0-9,500000-1599999,-1")
            .send()
            .await
            .unwrap();
        assert_eq!(response.version(), version);
        let several = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap(),
        };
        let contents: Vec<Vec<u8>> = parts(&several).into_iter().map(|(_, content)| content).collect();
        assert!(contents == [&bytes[..10], &bytes[500_000..1_600_000], &bytes[1_999_999..]]);
    }
}
