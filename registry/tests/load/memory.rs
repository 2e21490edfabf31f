//! Requests that ask for much: each is bounded, whoever asks and however often.

use std::time::Duration;

use crate::gauge::{allow_many_sockets, forget_peak, peak_bytes};
use crate::raw::{Raw, chunk, head, is_served};
use crate::support::server::{Server, answer};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_thousands_of_connections_cost_no_more_than_their_limit() {
    allow_many_sockets();
    let server = Server::start();
    is_served(&server).await;
    let before = forget_peak(server.pid());
    let mut flood = Vec::new();
    for _ in 0..2000 {
        let mut connection = Raw::connect(server.address()).await;
        connection
            .send(format!(
                "GET /healthz HTTP/1.1\r\nX-Filler: {}",
                "x".repeat(31 << 10)
            ))
            .await;
        flood.push(connection);
    }
    is_served(&server).await;
    let grown = peak_bytes(server.pid()) - before;
    eprintln!("{} KiB a connection", grown / 1024 / 2000);
    assert!(grown < 2000 * 96 * 1024, "{grown} bytes");
    // One byte over the limit, and the answer says which.
    let mut last = flood.pop().unwrap();
    last.send("x".repeat(2 << 10)).await;
    let refused = last.answer().await;
    assert_eq!(refused.status, 431);
    assert!(refused.error().1.contains("limits.header_bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_at_their_limit_all_at_once_share_the_memory_for_bodies() {
    allow_many_sockets();
    let server = Server::with("limits.buffer_bytes = \"16MiB\"");
    let admin = server.admin();
    admin.push_image("a/b", "t", "1").await;
    let token = admin.token(&["repository:a/b:pull,push"]).await;
    let before = forget_peak(server.pid());
    let mut flood = Vec::new();
    let almost = vec![b' '; (4 << 20) - 1];
    for number in 0..40 {
        let mut connection = Raw::connect(server.address()).await;
        let lines = [
            "Content-Type: application/vnd.oci.image.manifest.v1+json",
            "Content-Length: 4194304",
        ];
        let path = format!("/v2/a/b/manifests/t{number}");
        connection.send(head("PUT", &path, &token, &lines)).await;
        let almost = almost.clone();
        flood.push(tokio::spawn(async move {
            connection.try_send(&almost).await;
            // Those that found no room are told soon; the others hold theirs until then.
            let told = connection.stream.readable();
            if tokio::time::timeout(Duration::from_secs(7), told).await.is_err() {
                connection.try_send(" ").await;
            }
            connection.answer().await
        }));
    }
    let mut refused = 0;
    for answer in futures_util::future::join_all(flood).await {
        let answer = answer.unwrap();
        match answer.status {
            429 => {
                assert!(answer.error().1.contains("limits.buffer_bytes"), "{answer:?}");
                assert!(!answer.header("retry-after").is_empty());
                refused += 1;
            }
            status => assert_eq!((status, answer.error().0.as_str()), (400, "MANIFEST_INVALID")),
        }
    }
    assert!(refused > 0);
    let grown = peak_bytes(server.pid()) - before;
    // 160 MiB were sent. What was given back may stay with the allocator.
    assert!(grown < 96 * MIB, "{grown} bytes");
    admin.push_image("a/b", "after", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_ends_at_its_limit() {
    let server = Server::start();
    let token = server.admin().token(&["repository:a/b:pull,push"]).await;
    let before = forget_peak(server.pid());
    let piece = chunk(&vec![b' '; 256 << 10]);
    for (method, path, status) in [
        ("PUT", "/v2/a/b/manifests/t", 413),
        ("POST", "/token", 400),
        // What needs no body does not wait for one.
        ("GET", "/v2/a/b/tags/list", 404),
    ] {
        let mut connection = Raw::connect(server.address()).await;
        let lines = [
            "Content-Type: application/vnd.oci.image.manifest.v1+json",
            "Transfer-Encoding: chunked",
        ];
        connection.send(head(method, path, &token, &lines)).await;
        let mut sent = 0;
        while sent < 512 && connection.try_send(&piece).await {
            sent += 1;
        }
        let answer = connection.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("connection"), "close");
    }
    let grown = peak_bytes(server.pid()) - before;
    assert!(grown < 32 * MIB, "{grown} bytes");
}

/// A query that fills a head, scopes and tags without number, a page larger than any.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_head_can_ask_for_is_bounded() {
    let server = Server::start();
    let admin = server.admin();
    admin.push_image("a/b", "t", "1").await;
    let long = "x".repeat(30 << 10);
    for path in [
        format!("/v2/a/b/tags/list?last={long}"),
        format!("/v2/_catalog?n=99999999999&last={long}"),
        "/v2/a/b/tags/list?n=18446744073709551615".to_owned(),
        format!("/v1/search?q={long}"),
    ] {
        let answer = answer(admin.ask("GET", &path)).await;
        assert!(matches!(answer.status, 200 | 400), "{path}: {answer:?}");
        assert!(answer.body.len() < 64 << 10);
    }
    let scopes = "&scope=repository:a/b:pull".repeat(1000);
    let refused = admin.get(&format!("/token?service=wharf-registry{scopes}")).await;
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("limits.token_scopes"));
    // Requests without number on one connection come one after the other.
    let mut many = Raw::connect(server.address()).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n".repeat(2000);
    let before = forget_peak(server.pid());
    many.send(request).await;
    for _ in 0..2000 {
        assert_eq!(many.answer().await.status, 200);
    }
    assert!(peak_bytes(server.pid()) - before < 8 * MIB);
}

/// A client of HTTP/2 that opens a hundred streams on large blobs and takes next to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn streams_without_number_share_the_memory_for_pieces_and_are_cut() {
    let (folder, trusted) = crate::certificates::pair("localhost");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let settings = format!(
        "tls_cert = {cert:?}\ntls_key = {key:?}\nanonymous = \"pull\"\nlimits.body_window = \"3s\"\n\
         limits.idle_timeout = \"3s\""
    );
    let server = Server::with(&settings);
    let base = format!("https://localhost:{}", server.address().port());
    let client = || {
        reqwest::Client::builder()
            .tls_certs_only([trusted.clone()])
            .http2_initial_stream_window_size(1)
            .build()
            .unwrap()
    };
    let blob = vec![1; 8 << 20];
    let digest = crate::support::content::sha256(&blob);
    let pushed = client()
        .post(format!("{base}/v2/a/b/blobs/uploads/?digest={digest}"))
        .basic_auth("admin", Some(crate::support::server::ADMIN_PASSWORD))
        .body(blob)
        .send()
        .await
        .unwrap();
    assert_eq!(pushed.status(), 201);
    let before = forget_peak(server.pid());
    let (mut clients, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let client = client();
        let url = format!("{base}/v2/a/b/blobs/{digest}");
        let asked = (0..90).map(|_| client.get(&url).send());
        for answer in futures_util::future::join_all(asked).await {
            let answer = answer.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.version()),
                (200, http::Version::HTTP_2)
            );
            answers.push(answer);
        }
        clients.push(client);
    }
    let good = reqwest::Client::builder()
        .tls_certs_only([trusted.clone()])
        .build()
        .unwrap();
    let served = good.get(format!("{base}/healthz")).send().await.unwrap();
    assert_eq!(served.status(), 200);
    let grown = peak_bytes(server.pid()) - before;
    eprintln!("{} MiB for {} streams", grown / MIB, answers.len());
    assert!(grown < 160 * MIB, "{grown} bytes");
    // Nobody reads them: the server ends them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    crate::gauge::until(
        || crate::gauge::open_objects(server.pid()) == 0,
        || "the streams are still open".to_owned(),
    )
    .await;
    for answer in answers {
        assert!(answer.bytes().await.is_err());
    }
}
