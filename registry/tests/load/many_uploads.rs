//! A thousand uploads at once.

use crate::gauge::{allow_many_sockets, forget_peak, peak_bytes};
use crate::raw::{Raw, chunk, head};
use crate::support::content::sha256;
use crate::support::server::{Server, answer};

const UPLOADS: usize = 1000;

/// What an open upload may cost.
const BYTES_AN_UPLOAD: u64 = 64 * 1024;

/// What each upload sends before all of them are open, and after.
const HALF_BYTES: usize = 96 * 1024;

fn half(upload: usize, which: u8) -> Vec<u8> {
    let seed = upload.to_le_bytes();
    (0..HALF_BYTES)
        .map(|n| seed[n % 4] ^ which ^ n.to_le_bytes()[0])
        .collect()
}

/// All are open, each with bytes in and a connection that waits for more, when the memory is read; then all are
/// finished and each is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_open_uploads_cost_64_kib_each_at_most_and_all_are_finished() {
    allow_many_sockets();
    let server = Server::start();
    let admin = server.admin();
    let token = admin.token(&["repository:a/b:pull,push"]).await;
    // What is needed once whatever is done: caches, threads, statements.
    admin.push_blob("a/b", &vec![0; 4 << 20]).await;
    let before = forget_peak(server.pid());

    let mut uploads = Vec::new();
    for number in 0..UPLOADS {
        let place = admin.begin("a/b").await;
        let mut connection = Raw::connect(server.address()).await;
        connection
            .send(head("PATCH", &place, &token, &["Transfer-Encoding: chunked"]))
            .await;
        connection.send_chunk(&half(number, 1)).await;
        uploads.push((place, connection));
    }
    let refused = admin.post("/v2/a/b/blobs/uploads/").await;
    refused.is_refused(429, "TOOMANYREQUESTS");
    assert!(!refused.header("retry-after").is_empty());
    let document = refused.json();
    assert_eq!(document["errors"][0]["detail"]["limit"], UPLOADS);
    assert!(
        document["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("limits.uploads_per_user")
    );
    let open = peak_bytes(server.pid()) - before;

    for (number, (place, connection)) in uploads.iter_mut().enumerate() {
        let mut rest = chunk(&half(number, 2));
        rest.extend_from_slice(b"0\r\n\r\n");
        connection.send(rest).await;
        let appended = connection.answer().await;
        assert_eq!(appended.status, 202, "{appended:?}");
        let content = [half(number, 1), half(number, 2)].concat();
        let close = format!("{place}?digest={}", sha256(&content));
        connection
            .send(head("PUT", &close, &token, &["Content-Length: 0"]))
            .await;
        assert_eq!(connection.answer().await.status, 201);
        // The connection stays open: what it costs counts too.
    }
    let finished = peak_bytes(server.pid()) - before;
    eprintln!(
        "open: {} KiB an upload, finished: {}",
        open / 1024 / 1000,
        finished / 1024 / 1000
    );
    let most = BYTES_AN_UPLOAD * u64::try_from(UPLOADS).unwrap();
    assert!(
        open <= most && finished <= most,
        "{open} and {finished} bytes, more than {most}"
    );

    for number in [0, UPLOADS / 2, UPLOADS - 1] {
        let content = [half(number, 1), half(number, 2)].concat();
        let path = format!("/v2/a/b/blobs/{}", sha256(&content));
        assert!(answer(admin.ask("GET", &path)).await.body == content);
    }
    assert_eq!(admin.post("/v2/a/b/blobs/uploads/").await.status, 202);
}
