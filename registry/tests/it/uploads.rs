//! Pushing blobs: every method, continued after cuts and restarts.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wharf_protocol::digest::{Algorithm, Digest};

use crate::support::content::sha256;
use crate::support::server::{Caller, Server, answer};

async fn finish(
    caller: &Caller<'_>,
    upload: &str,
    digest: &Digest,
    bytes: &[u8],
) -> crate::support::server::Answer {
    answer(
        caller
            .ask("PUT", &format!("{upload}?digest={digest}"))
            .body(bytes.to_vec()),
    )
    .await
}

#[tokio::test]
async fn a_blob_is_pushed_by_one_post() {
    let server = Server::start();
    let admin = server.admin();
    let digest = sha256(b"hello");
    let path = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    let pushed = answer(admin.ask("POST", &path).body("hello")).await;
    assert_eq!(pushed.status, 201);
    assert_eq!(pushed.header("location"), format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(pushed.header("docker-content-digest"), digest.as_str());
    assert_eq!(admin.get(pushed.header("location")).await.body, "hello");
}

#[tokio::test]
async fn a_session_begins_at_0_0_with_a_uuid() {
    let server = Server::start();
    let begun = server.admin().post("/v2/a/b/blobs/uploads/").await;
    assert_eq!(begun.status, 202);
    let uuid = begun.header("docker-upload-uuid");
    assert!(uuid.parse::<uuid::Uuid>().is_ok(), "{uuid}");
    assert_eq!(begun.header("location"), format!("/v2/a/b/blobs/uploads/{uuid}"));
    assert_eq!(begun.header("range"), "0-0");
}

#[tokio::test]
async fn a_blob_is_pushed_by_post_and_put() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    let digest = sha256(b"hello");
    assert_eq!(finish(&admin, &upload, &digest, b"hello").await.status, 201);
    assert_eq!(admin.get(&format!("/v2/a/b/blobs/{digest}")).await.body, "hello");
    admin.get(&upload).await.is_refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks_with_and_without_their_place() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    let chunk = admin.patch(&upload, Some("0-4"), b"hello").await;
    assert_eq!((chunk.status, chunk.header("range")), (202, "0-4"));
    assert_eq!(chunk.header("location"), upload);
    let chunk = admin.patch(&upload, None, b", ").await;
    assert_eq!((chunk.status, chunk.header("range")), (202, "0-6"));
    let digest = sha256(b"hello, world");
    assert_eq!(finish(&admin, &upload, &digest, b"world").await.status, 201);
    assert_eq!(
        admin.get(&format!("/v2/a/b/blobs/{digest}")).await.body,
        "hello, world"
    );
}

#[tokio::test]
async fn a_closing_put_may_have_no_bytes() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    admin.patch(&upload, None, b"hello").await;
    assert_eq!(finish(&admin, &upload, &sha256(b"hello"), b"").await.status, 201);
}

#[tokio::test]
async fn a_chunk_out_of_order_is_refused_and_the_session_survives() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    admin.patch(&upload, Some("0-4"), b"hello").await;
    for place in ["0-4", "4-8", "6-10"] {
        let refused = admin.patch(&upload, Some(place), b"world").await;
        refused.is_refused(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(
            (refused.header("location"), refused.header("range")),
            (upload.as_str(), "0-4")
        );
    }
    let path = format!("{upload}?digest={}", sha256(b"helloworld"));
    let closing = |place| {
        admin
            .ask("PUT", &path)
            .header("content-range", place)
            .body("world")
    };
    answer(closing("6-10"))
        .await
        .is_refused(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(answer(closing("5-9")).await.status, 201);
}

#[tokio::test]
async fn a_chunk_that_is_not_as_long_as_its_place_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    admin
        .patch(&upload, Some("0-9"), b"hello")
        .await
        .is_refused(400, "SIZE_INVALID");
    admin
        .patch(&upload, Some("nonsense"), b"hello")
        .await
        .is_refused(400, "SIZE_INVALID");
    let chunked = |place| {
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("hel"), Ok("lo")]);
        admin
            .ask("PATCH", &upload)
            .header("content-range", place)
            .body(reqwest::Body::wrap_stream(pieces))
    };
    answer(chunked("0-9")).await.is_refused(400, "SIZE_INVALID");
    answer(chunked("0-1")).await.is_refused(400, "SIZE_INVALID");
    assert_eq!(admin.get(&upload).await.header("range"), "0-0");
    assert_eq!(answer(chunked("0-4")).await.header("range"), "0-4");
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_the_session_is_gone() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    admin.patch(&upload, None, b"hello").await;
    finish(&admin, &upload, &sha256(b"other"), b"")
        .await
        .is_refused(400, "DIGEST_INVALID");
    admin.get(&upload).await.is_refused(404, "BLOB_UPLOAD_UNKNOWN");
    let path = format!("/v2/a/b/blobs/uploads/?digest={}", sha256(b"other"));
    answer(admin.ask("POST", &path).body("hello"))
        .await
        .is_refused(400, "DIGEST_INVALID");
    assert_eq!(
        admin
            .head(&format!("/v2/a/b/blobs/{}", sha256(b"other")))
            .await
            .status,
        404
    );
    assert_eq!(
        admin
            .head(&format!("/v2/a/b/blobs/{}", sha256(b"hello")))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn digests_of_unknown_algorithms_are_400_wherever_they_stand() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    let md5 = "md5:d41d8cd98f00b204e9800998ecf8427e";
    for (method, path) in [
        ("PUT", format!("{upload}?digest={md5}")),
        ("PUT", upload.clone()),
        ("POST", format!("/v2/a/b/blobs/uploads/?digest={md5}")),
        ("POST", format!("/v2/a/b/blobs/uploads/?mount={md5}")),
        ("POST", "/v2/a/b/blobs/uploads/?digest-algorithm=md5".to_owned()),
        ("GET", format!("/v2/a/b/blobs/{md5}")),
        ("DELETE", format!("/v2/a/b/blobs/{md5}")),
        ("GET", format!("/v2/a/b/manifests/{md5}")),
        ("PUT", format!("/v2/a/b/manifests/{md5}")),
        ("DELETE", format!("/v2/a/b/manifests/{md5}")),
        ("GET", format!("/v2/a/b/referrers/{md5}")),
    ] {
        answer(admin.ask(method, &path))
            .await
            .is_refused(400, "DIGEST_INVALID");
    }
    assert_eq!(admin.get(&upload).await.status, 204);
}

#[tokio::test]
async fn a_sessions_state_is_told_and_it_can_be_cancelled() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    admin.patch(&upload, None, b"hello").await;
    let state = admin.get(&upload).await;
    assert_eq!(
        (state.status, state.header("range"), state.header("location")),
        (204, "0-4", upload.as_str())
    );
    assert_eq!(admin.delete(&upload).await.status, 204);
    admin.get(&upload).await.is_refused(404, "BLOB_UPLOAD_UNKNOWN");
    admin.delete(&upload).await.is_refused(404, "BLOB_UPLOAD_UNKNOWN");
    admin
        .patch(&upload, None, b"x")
        .await
        .is_refused(404, "BLOB_UPLOAD_UNKNOWN");
    finish(&admin, &upload, &sha256(b"x"), b"x")
        .await
        .is_refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_session_is_unknown_in_another_repository() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    let elsewhere = upload.replace("/a/b/", "/c/d/");
    admin.get(&elsewhere).await.is_refused(404, "BLOB_UPLOAD_UNKNOWN");
    admin
        .patch(&elsewhere, None, b"x")
        .await
        .is_refused(404, "BLOB_UPLOAD_UNKNOWN");
    admin
        .get("/v2/a/b/blobs/uploads/no-uuid")
        .await
        .is_refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_and_after_a_kill() {
    let mut server = Server::start();
    let upload = server.admin().begin("a/b").await;
    server.admin().patch(&upload, None, b"one, ").await;
    server.stop();
    server.start_again();
    assert_eq!(server.admin().get(&upload).await.header("range"), "0-4");
    server.admin().patch(&upload, Some("5-9"), b"two, ").await;
    server.kill();
    server.start_again();
    let digest = sha256(b"one, two, three");
    assert_eq!(
        finish(&server.admin(), &upload, &digest, b"three").await.status,
        201
    );
    assert_eq!(
        server.admin().get(&format!("/v2/a/b/blobs/{digest}")).await.body,
        "one, two, three"
    );
}

#[tokio::test]
async fn what_came_before_a_cut_is_kept_and_the_client_goes_on_at_once() {
    let server = Server::start();
    let admin = server.admin();
    let upload = admin.begin("a/b").await;
    let token = admin.token(&["repository:a/b:pull,push"]).await;
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\nhello"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // The server has read the bytes once the connection ends without more of them.
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    drop(socket);
    let state = admin.get(&upload).await;
    assert_eq!(state.status, 204);
    let kept = if state.header("range") == "0-4" { 5 } else { 0 };
    let digest = sha256(b"hello, world");
    let path = format!("{upload}?digest={digest}");
    let rest = &b"hello, world"[kept..];
    let place = format!("{kept}-11");
    let request = admin
        .ask("PUT", &path)
        .header("content-range", place)
        .body(rest.to_vec());
    assert_eq!(answer(request).await.status, 201);
}

#[tokio::test]
async fn sha512_works_by_every_method_without_a_hint() {
    let server = Server::start();
    let admin = server.admin();
    let of = |bytes: &[u8]| Digest::of(Algorithm::Sha512, bytes);
    let path = format!("/v2/a/b/blobs/uploads/?digest={}", of(b"post"));
    assert_eq!(answer(admin.ask("POST", &path).body("post")).await.status, 201);
    let upload = admin.begin("a/b").await;
    assert_eq!(finish(&admin, &upload, &of(b"put"), b"put").await.status, 201);
    let upload = admin.begin("a/b").await;
    admin.patch(&upload, None, b"chu").await;
    assert_eq!(finish(&admin, &upload, &of(b"chunks"), b"nks").await.status, 201);
    let hinted = admin.post("/v2/a/b/blobs/uploads/?digest-algorithm=sha512").await;
    admin.patch(hinted.header("location"), None, b"hint").await;
    assert_eq!(
        finish(&admin, hinted.header("location"), &of(b"hint"), b"")
            .await
            .status,
        201
    );
    for bytes in ["post", "put", "chunks", "hint"] {
        let answer = admin
            .get(&format!("/v2/a/b/blobs/{}", of(bytes.as_bytes())))
            .await;
        assert_eq!((answer.status, answer.body.as_ref()), (200, bytes.as_bytes()));
    }
}

#[tokio::test]
async fn a_sha512_blob_is_mounted_and_where_it_is_not_there_uploaded() {
    let server = Server::start();
    let admin = server.admin();
    let digest = Digest::of(Algorithm::Sha512, b"layer");
    let path = format!("/v2/a/source/blobs/uploads/?digest={digest}");
    assert_eq!(answer(admin.ask("POST", &path).body("layer")).await.status, 201);
    let mount = |from: &str| format!("/v2/a/target/blobs/uploads/?mount={digest}&from={from}");
    let begun = admin.post(&mount("a/none")).await;
    assert_eq!(begun.status, 202);
    let closed = finish(&admin, begun.header("location"), &digest, b"layer").await;
    assert_eq!(closed.status, 201);
    let other = mount("a/source").replace("target", "other");
    assert_eq!(admin.post(&other).await.status, 201);
    for name in ["target", "other"] {
        let answer = admin.get(&format!("/v2/a/{name}/blobs/{digest}")).await;
        assert_eq!((answer.status, answer.body.as_ref()), (200, b"layer".as_slice()));
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
    }
}

#[tokio::test]
async fn a_chunk_may_come_without_its_length() {
    let server = Server::start();
    let admin = server.admin();
    let pieces = |text: &'static [&'static str]| {
        let pieces = futures_util::stream::iter(text.iter().map(|piece| Ok::<_, std::io::Error>(*piece)));
        reqwest::Body::wrap_stream(pieces)
    };
    let upload = admin.begin("a/b").await;
    let chunk = answer(admin.ask("PATCH", &upload).body(pieces(&["hel", "lo"]))).await;
    assert_eq!((chunk.status, chunk.header("range")), (202, "0-4"));
    assert!(!chunk.header("docker-upload-uuid").is_empty());
    let digest = sha256(b"hello, world");
    let close = admin.ask("PUT", &format!("{upload}?digest={digest}"));
    assert_eq!(answer(close.body(pieces(&[", wor", "ld"]))).await.status, 201);
    let path = format!("/v2/c/d/blobs/uploads/?digest={digest}");
    let whole = admin.ask("POST", &path).body(pieces(&["hello, ", "world"]));
    assert_eq!(answer(whole).await.status, 201);
}

#[tokio::test]
async fn an_empty_blob_works_by_every_method() {
    let server = Server::start();
    let admin = server.admin();
    let digest = sha256(b"");
    admin.push_blob("a/post", b"").await;
    let upload = admin.begin("a/put").await;
    assert_eq!(finish(&admin, &upload, &digest, b"").await.status, 201);
    let upload = admin.begin("a/patch").await;
    admin.patch(&upload, None, b"").await;
    assert_eq!(finish(&admin, &upload, &digest, b"").await.status, 201);
    for name in ["post", "put", "patch"] {
        let answer = admin.get(&format!("/v2/a/{name}/blobs/{digest}")).await;
        assert_eq!(
            (answer.status, answer.header("content-length"), answer.body.len()),
            (200, "0", 0)
        );
    }
}

#[tokio::test]
async fn a_mount_gives_201_where_the_caller_may_read_the_source() {
    let server = Server::start();
    let admin = server.admin();
    let digest = admin.push_blob("a/source", b"layer").await;
    let mounted = admin
        .post(&format!(
            "/v2/a/target/blobs/uploads/?mount={digest}&from=a/source"
        ))
        .await;
    assert_eq!(mounted.status, 201);
    assert_eq!(mounted.header("location"), format!("/v2/a/target/blobs/{digest}"));
    assert_eq!(mounted.header("docker-content-digest"), digest.as_str());
    assert_eq!(admin.get(mounted.header("location")).await.body, "layer");
    // distribution-spec, "Mounting a blob from another repository": automatic content discovery.
    assert_eq!(
        admin
            .post(&format!("/v2/a/third/blobs/uploads/?mount={digest}"))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_mount_of_what_is_not_there_or_not_readable_begins_an_upload() {
    let server = Server::start();
    server.add_user("bob");
    let digest = server.admin().push_blob("alice/source", b"layer").await;
    let bob = server.user("bob");
    for from in ["&from=alice/source", "&from=alice/none", ""] {
        let answer = bob
            .post(&format!("/v2/bob/target/blobs/uploads/?mount={digest}{from}"))
            .await;
        assert_eq!(answer.status, 202, "{from}");
        assert!(!answer.header("docker-upload-uuid").is_empty());
    }
    assert_eq!(
        bob.head(&format!("/v2/bob/target/blobs/{digest}")).await.status,
        404
    );
}

#[tokio::test]
async fn a_mounts_source_is_judged_by_the_callers_rules_not_by_the_token() {
    let server = Server::start();
    server.add_user("bob");
    let bob = server.user("bob");
    let digest = bob.push_blob("bob/source", b"layer").await;
    let token = bob.token(&["repository:bob/target:pull,push"]).await;
    let path = format!("/v2/bob/target/blobs/uploads/?mount={digest}&from=bob/source");
    assert_eq!(server.bearer(&token).post(&path).await.status, 201);
}

#[tokio::test]
async fn the_same_bytes_pushed_twice_are_one_blob() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["a/b", "a/b", "c/d"] {
        admin.push_blob(name, b"same").await;
    }
    let objects = std::fs::read_dir(server.data_dir().join("storage/blobs"))
        .unwrap()
        .count();
    assert_eq!(objects, 1);
}

/// Sends a head that waits for `100 Continue` and returns the first status line.
async fn expects_continue(server: &Server, line: &str, headers: &str) -> (tokio::net::TcpStream, String) {
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = format!("{line} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    socket.read_exact(&mut first).await.unwrap();
    (socket, String::from_utf8(first.to_vec()).unwrap())
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_that_expects_100_continue() {
    let server = Server::start();
    let token = server.admin().token(&["repository:a/b:pull,push"]).await;
    let login = format!("Authorization: Bearer {token}\r\n");
    let large = "Content-Length: 9000000\r\n";
    for (line, headers, status) in [
        ("PUT /v2/a/b/manifests/t", large.to_owned(), 401),
        ("PUT /v2/a/b/manifests/t", format!("{login}{large}"), 413),
        ("PUT /v2/A/manifests/t", format!("{login}{large}"), 400),
        ("PATCH /v2/a/b/blobs/uploads/none", format!("{login}{large}"), 404),
        (
            "POST /v2/a/b/blobs/uploads/?digest=md5:0",
            format!("{login}{large}"),
            400,
        ),
    ] {
        let (_socket, first) = expects_continue(&server, line, &headers).await;
        assert_eq!(first, format!("HTTP/1.1 {status}"), "{line}");
    }
    let path = format!("POST /v2/a/b/blobs/uploads/?digest={}", sha256(b"hello"));
    let (mut socket, first) =
        expects_continue(&server, &path, &format!("{login}Content-Length: 5\r\n")).await;
    assert_eq!(first, "HTTP/1.1 100");
    socket.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    while !rest.contains("HTTP/1.1 ") {
        let mut piece = [0; 100];
        let got = socket.read(&mut piece).await.unwrap();
        assert_ne!(got, 0, "{rest}");
        rest.push_str(std::str::from_utf8(&piece[..got]).unwrap());
    }
    assert!(rest.contains("HTTP/1.1 201"), "{rest}");
}
