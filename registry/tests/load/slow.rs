//! Clients that take their time.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;

use crate::gauge::{allow_many_sockets, descriptors, descriptors_fall_to, open_objects, until};
use crate::raw::{Raw, head, is_served};
use crate::support::content::sha256;
use crate::support::server::Server;

const SCOPE: &[&str] = &["repository:a/b:pull,push"];

/// Sends single bytes until the server has had enough; returns how long that took.
async fn trickle(connection: &mut Raw) -> Duration {
    let began = Instant::now();
    let mut scratch = [0; 1024];
    while connection.try_send("x").await {
        let read = tokio::time::timeout(Duration::from_millis(50), connection.stream.read(&mut scratch));
        if let Ok(Ok(0) | Err(_)) = read.await {
            break;
        }
        assert!(began.elapsed() < crate::raw::PATIENCE, "nobody cuts it");
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_after_the_time_for_heads() {
    let server = Server::with("limits.header_timeout = \"1s\"");
    let mut slow = Raw::connect(server.address()).await;
    slow.send("GET /healthz HTTP/1.1\r\nHost: registry\r\nX-Slow: ")
        .await;
    assert!(trickle(&mut slow).await >= Duration::from_millis(900));
    is_served(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_heads_that_never_end_keeps_nobody_out() {
    allow_many_sockets();
    let server = Server::with("limits.connections = 50");
    let before = descriptors(server.pid());
    let mut flood = Vec::new();
    for _ in 0..500 {
        let mut slow = Raw::connect(server.address()).await;
        slow.try_send("GET /healthz HTTP/1.1\r\nX-Slow: ").await;
        flood.push(slow);
        if flood.len() % 50 == 0 {
            is_served(&server).await;
        }
    }
    // One more than there are places waits for its turn.
    assert!(descriptors(server.pid()) <= before + 51);
    is_served(&server).await;
    drop(flood);
    descriptors_fall_to(server.pid(), before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_ends_is_cut_and_keeps_nobody_out() {
    let (folder, trusted) = crate::certificates::pair("localhost");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let settings = format!(
        "tls_cert = {cert:?}\ntls_key = {key:?}\nlimits.connections = 20\nlimits.header_timeout = \"2s\""
    );
    let server = Server::with(&settings);
    let mut flood = Vec::new();
    for _ in 0..60 {
        let mut slow = Raw::connect(server.address()).await;
        // The beginning of a ClientHello that announces 512 bytes.
        slow.try_send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await;
        flood.push(slow);
    }
    let url = format!("https://localhost:{}/healthz", server.address().port());
    let client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .build()
        .unwrap();
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    for slow in &mut flood {
        assert_eq!(slow.drain().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_408_and_what_came_of_it_is_kept() {
    let server = Server::with("limits.body_window = \"2s\"");
    let admin = server.admin();
    let token = admin.token(SCOPE).await;
    let upload = admin.begin("a/b").await;
    let content = vec![7; 5000];
    let mut slow = Raw::connect(server.address()).await;
    slow.send(head("PATCH", &upload, &token, &["Content-Length: 5000"]))
        .await;
    slow.send(&content[..1500]).await;
    let answer = slow.answer().await;
    assert_eq!(answer.status, 408, "{answer:?}");
    let (code, message) = answer.error();
    assert_eq!(code, "BLOB_UPLOAD_INVALID");
    assert!(message.contains("1024 bytes a second"), "{message}");
    let standing = admin.get(&upload).await;
    assert_eq!((standing.status, standing.header("range")), (204, "0-1499"));
    let rest = admin.patch(&upload, Some("1500-4999"), &content[1500..]).await;
    assert_eq!(rest.status, 202, "{rest:?}");
    let closed = admin
        .ask("PUT", &format!("{upload}?digest={}", sha256(&content)))
        .send()
        .await
        .unwrap();
    assert_eq!(closed.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_read_in_sips_or_not_at_all_is_cut() {
    let server = Server::with("limits.body_window = \"2s\"\nlimits.idle_timeout = \"3s\"");
    let admin = server.admin();
    let blob = vec![3; 24 << 20];
    let digest = admin.push_blob("a/b", &blob).await;
    let token = admin.token(SCOPE).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let mut still = Raw::connect_reading_little(server.address()).await;
    let mut sips = Raw::connect_reading_little(server.address()).await;
    for connection in [&mut still, &mut sips] {
        connection.send(head("GET", &path, &token, &[])).await;
    }
    let open = || open_objects(server.pid());
    until(|| open() == 2, || "the answers did not begin".to_owned()).await;
    let began = Instant::now();
    let mut sip = [0; 16];
    let mut taken = 0;
    while open() > 0 {
        taken += sips.stream.read(&mut sip).await.unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < crate::raw::PATIENCE, "{} are open", open());
    }
    is_served(&server).await;
    taken += sips.drain().await;
    assert!(taken < blob.len() && still.drain().await < blob.len());
}

/// A client that reads slowly but steadily is none of the above.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_read_slowly_comes_whole() {
    let server = Server::with("limits.body_window = \"1s\"\nlimits.idle_timeout = \"2s\"");
    let admin = server.admin();
    let blob = vec![3; 3 << 20];
    let digest = admin.push_blob("a/b", &blob).await;
    let token = admin.token(SCOPE).await;
    let mut slow = Raw::connect_reading_little(server.address()).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    slow.send(head("GET", &path, &token, &["Connection: close"]))
        .await;
    let (mut taken, mut piece) = (0, vec![0; 8 * 1024]);
    loop {
        let bytes = slow.stream.read(&mut piece).await.unwrap();
        if bytes == 0 {
            break;
        }
        taken += bytes;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(taken > blob.len(), "{taken}");
}
