//! Clients that go away in the middle.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::gauge::{descriptors, descriptors_fall_to};
use crate::raw::{Raw, head};
use crate::support::content::sha256;
use crate::support::server::{Caller, Server};

const SCOPE: &[&str] = &["repository:a/b:pull,push"];

/// How a client goes.
#[derive(Debug, Clone, Copy)]
enum Gone {
    Reset,
    /// Its side of the connection is closed, and it still listens.
    HalfClosed,
    /// The network is gone: no sign at all.
    Silent,
}

const WAYS: [Gone; 3] = [Gone::Reset, Gone::HalfClosed, Gone::Silent];

/// Lets a client vanish; what must be kept for it to look alive is returned.
async fn vanish(mut connection: Raw, how: Gone) -> Option<Raw> {
    match how {
        Gone::Reset => {
            connection.reset();
            None
        }
        Gone::HalfClosed => {
            connection.stream.shutdown().await.unwrap();
            Some(connection)
        }
        Gone::Silent => Some(connection),
    }
}

/// A server that gives silent clients up soon, with one blob in it, and its descriptors at rest.
async fn start() -> (Server, usize) {
    let server = Server::with("limits.body_window = \"2s\"\nlimits.idle_timeout = \"3s\"");
    server.admin().push_blob("a/b", &vec![5; 32 << 20]).await;
    crate::raw::is_served(&server).await;
    let mut least = descriptors(server.pid());
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        least = least.min(descriptors(server.pid()));
    }
    (server, least)
}

/// Goes on with an upload from where the server says it stands, and finishes it.
async fn resume(caller: &Caller<'_>, upload: &str, content: &[u8]) {
    // The writer before may take a moment to be given up: until then the session is busy, and says when to ask again.
    let mut appended = None;
    for _ in 0..100 {
        let standing = caller.get(upload).await;
        assert_eq!(standing.status, 204, "{standing:?}");
        let end: usize = standing
            .header("range")
            .strip_prefix("0-")
            .unwrap()
            .parse()
            .unwrap();
        let from = if end == 0 { 0 } else { end + 1 };
        let place = format!("{from}-{}", content.len() - 1);
        let answer = caller.patch(upload, Some(&place), &content[from..]).await;
        match answer.status {
            202 => {
                appended = Some(from);
                break;
            }
            429 => assert!(!answer.header("retry-after").is_empty()),
            // It moved between the two requests.
            416 => {}
            _ => panic!("{answer:?}"),
        }
    }
    assert!(appended.is_some(), "the session stays busy");
    let close = format!("{upload}?digest={}", sha256(content));
    let closed = crate::support::server::answer(caller.ask("PUT", &close)).await;
    assert_eq!(closed.status, 201, "{closed:?}");
    let path = format!("/v2/a/b/blobs/{}", sha256(content));
    assert!(caller.get(&path).await.body == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_client_vanished_goes_on_from_where_it_stands() {
    let (server, rest) = start().await;
    for (number, how) in WAYS.into_iter().enumerate() {
        for method in ["PATCH", "PUT"] {
            let admin = server.admin();
            let token = admin.token(SCOPE).await;
            let upload = admin.begin("a/b").await;
            let mut content = vec![u8::try_from(number).unwrap(); 3 << 20];
            content.extend_from_slice(method.as_bytes());
            let path = match method {
                "PUT" => format!("{upload}?digest={}", sha256(&content)),
                _ => upload.clone(),
            };
            let mut connection = Raw::connect(server.address()).await;
            let length = format!("Content-Length: {}", content.len());
            connection.send(head(method, &path, &token, &[&length])).await;
            connection.send(&content[..2 << 20]).await;
            let kept = vanish(connection, how).await;
            resume(&admin, &upload, &content).await;
            drop((kept, admin));
            descriptors_fall_to(server.pid(), rest).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_leave_no_descriptor_and_no_bytes_behind() {
    let (server, rest) = start().await;
    let token = server.admin().token(SCOPE).await;
    let content = vec![9; 3 << 20];
    let digest = sha256(&content);
    let blob = format!("/v2/a/b/blobs/{}", sha256(&vec![5; 32 << 20]));
    let length = format!("Content-Length: {}", content.len());
    for how in WAYS {
        let mut kept = Vec::new();
        for _ in 0..20 {
            let mut get = Raw::connect_reading_little(server.address()).await;
            get.send(head("GET", &blob, &token, &[])).await;
            get.stream.readable().await.unwrap();
            kept.push(vanish(get, how).await);
            for (method, path) in [
                ("POST", format!("/v2/a/b/blobs/uploads/?digest={digest}")),
                ("PUT", "/v2/a/b/manifests/t".to_owned()),
            ] {
                let mut push = Raw::connect(server.address()).await;
                push.send(head(method, &path, &token, &[&length])).await;
                push.send(&content[..1 << 20]).await;
                kept.push(vanish(push, how).await);
            }
        }
        crate::raw::is_served(&server).await;
        // Silent ones keep their end open; the server gives up all the same.
        descriptors_fall_to(server.pid(), rest).await;
        drop(kept);
    }
    let storage = server.data_dir().join("storage");
    let files = |folder: &str| std::fs::read_dir(storage.join(folder)).unwrap().count();
    assert_eq!((files("blobs"), files("uploads")), (1, 0));
}
