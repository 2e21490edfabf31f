use std::fs::File;
use std::io::Write as _;
use std::ops::Range;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

const LARGE_BYTES: usize = 5 * 1024 * 1024 + 17;

/// A server whose paths are: `/file/A-B` (bytes A to B of a large file), `/short` (a file that promises too much),
/// `/text` (bytes in memory), `/refuse` (an answer without reading the body), `/count` (reads the body), `/wait` (an
/// answer that comes once told).
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    content: Arc<Vec<u8>>,
    _certificate: Option<tempfile::TempDir>,
    waiting: Arc<Waiting>,
}

/// A request that is under way, and the permission to answer it.
#[derive(Default)]
struct Waiting {
    began: tokio::sync::Notify,
    answer_now: tokio::sync::Notify,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_certificate(folder.path());
        Self::start_with(Limits::default(), Some(folder)).await
    }

    async fn start_with(limits: Limits, certificate: Option<tempfile::TempDir>) -> Self {
        let tls = certificate.as_ref().map(|folder| {
            Tls::load(&folder.path().join("cert.pem"), &folder.path().join("key.pem")).unwrap()
        });
        let content: Arc<Vec<u8>> = Arc::new(
            (0..LARGE_BYTES)
                .map(|n| u8::try_from(n % 249).unwrap() + 1)
                .collect(),
        );
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let (file, waiting) = (Arc::new(file), Arc::<Waiting>::default());
        let waits = Arc::clone(&waiting);
        let router = Router::new()
            .fallback(move |request: Request| answer(request, Arc::clone(&file), Arc::clone(&waits)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let running =
            tokio::spawn(
                async move { serve(listener, tls, limits, Traffic::default(), router, shutdown).await },
            );
        Self {
            address,
            stop: Some(stop),
            running,
            content,
            _certificate: certificate,
            waiting,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and returns all that comes until the server closes.
    async fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_all(&mut stream).await
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.content[range]
    }
}

fn write_certificate(folder: &std::path::Path) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
}

async fn answer(request: Request, file: Arc<File>, waiting: Arc<Waiting>) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(range) = path.strip_prefix("/file/") {
        let (start, end) = range.split_once('-').unwrap();
        let body = FileBody::new(file, start.parse().unwrap()..end.parse().unwrap());
        return Response::new(Body::new(body));
    }
    let text = match path.as_str() {
        "/short" => {
            let promised = u64::try_from(LARGE_BYTES).unwrap() + 100;
            return Response::new(Body::new(FileBody::new(file, 0..promised)));
        }
        "/count" => {
            let mut body = request.into_body().into_data_stream();
            let mut bytes = 0;
            loop {
                match body.next().await {
                    Some(Ok(piece)) => bytes += piece.len(),
                    Some(Err(error)) => break format!("cut: {}", error.into_inner()),
                    None => break bytes.to_string(),
                }
            }
        }
        "/wait" => {
            waiting.began.notify_one();
            waiting.answer_now.notified().await;
            "waited".to_owned()
        }
        "/peer" => format!("{:?}", request.extensions().get::<Peer>()),
        _ => "text".to_owned(),
    };
    Response::new(Body::from(text))
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    // A reset is an end too: what came before it is what counts.
    let _ = tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .expect("the server closes the connection");
    all
}

/// Splits the next answer off: its head as text, and as many bytes of body as its Content-Length says.
fn next_answer<'a>(bytes: &mut &'a [u8]) -> (String, &'a [u8]) {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a whole head")
        + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a length");
    let length: usize = length.parse().unwrap();
    let body_end = (end + length).min(bytes.len());
    let body = &bytes[end..body_end];
    *bytes = &bytes[body_end..];
    (head, body)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn last_get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_files_and_texts_come_in_order_and_byte_for_byte() {
    let server = Server::start(Limits::default()).await;
    let whole = format!("/file/0-{LARGE_BYTES}");
    let request =
        get(&whole) + &get("/text") + &get("/file/7-8") + &get("/file/100-2000000") + &last_get("/text");
    let answer = server.exchange(request.as_bytes()).await;
    let mut rest = answer.as_slice();
    assert!(next_answer(&mut rest).1 == server.slice(0..LARGE_BYTES));
    assert_eq!(next_answer(&mut rest).1, b"text");
    assert_eq!(next_answer(&mut rest).1, server.slice(7..8));
    assert!(next_answer(&mut rest).1 == server.slice(100..2_000_000));
    assert_eq!(next_answer(&mut rest).1, b"text");
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_sends_no_file_and_leaves_the_connection_in_step() {
    let server = Server::start(Limits::default()).await;
    let head = "HEAD /file/0-1000 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    let answer = server.exchange((head + &last_get("/file/5-9")).as_bytes()).await;
    let text_end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert!(String::from_utf8_lossy(&answer[..text_end]).contains("content-length: 1000"));
    let mut rest = &answer[text_end..];
    assert_eq!(next_answer(&mut rest).1, server.slice(5..9));
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_part_of_a_file_is_an_empty_body() {
    let server = Server::start(Limits::default()).await;
    let answer = server
        .exchange((get("/file/9-9") + &last_get("/text")).as_bytes())
        .await;
    let mut rest = answer.as_slice();
    assert_eq!(next_answer(&mut rest).1, b"");
    assert_eq!(next_answer(&mut rest).1, b"text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_shorter_than_promised_ends_the_connection_and_no_zeros_are_sent() {
    let server = Server::start(Limits::default()).await;
    let answer = server.exchange((get("/short") + &get("/text")).as_bytes()).await;
    let mut rest = answer.as_slice();
    let (head, body) = next_answer(&mut rest);
    assert!(head.contains(&format!("content-length: {}", LARGE_BYTES + 100)));
    assert!(body == server.slice(0..LARGE_BYTES), "{} bytes", body.len());
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_harms_nobody() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(get(&format!("/file/0-{LARGE_BYTES}")).as_bytes())
        .await
        .unwrap();
    stream.read_exact(&mut [0; 5000]).await.unwrap();
    drop(stream);
    let answer = server.exchange(last_get("/file/0-9").as_bytes()).await;
    assert_eq!(next_answer(&mut answer.as_slice()).1, server.slice(0..9));
}

/// What the invariant in `Shared::http1` is about: with either of the two settings, hyper copies the placeholders and
/// this test's server sends zeros. It proves that the tests above would notice.
#[tokio::test(flavor = "multi_thread")]
async fn the_forbidden_settings_would_send_zeros() {
    for forbidden in ["pipeline_flush", "writev"] {
        let file = Arc::new(tempfile::tempfile().unwrap());
        file.as_ref().write_all(&[7; 100]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let wire = Wire::default();
        let io = TokioIo::new(Plain::new(stream, wire.clone()));
        let service = hyper::service::service_fn(move |_| {
            let body = FileBody::new(Arc::clone(&file), 0..100);
            async move { Ok::<_, Infallible>(http::Response::new(body)) }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        match forbidden {
            "writev" => builder.writev(false),
            _ => builder.pipeline_flush(true),
        };
        tokio::spawn(WIRE.scope(wire, async move { builder.serve_connection(io, service).await }));
        client.write_all(last_get("/").as_bytes()).await.unwrap();
        let answer = read_all(&mut client).await;
        assert_eq!(next_answer(&mut answer.as_slice()).1, [0; 100], "{forbidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_protocol_is_negotiated_and_files_are_read() {
    let server = Server::start_tls().await;
    for (http1_only, version) in [(true, http::Version::HTTP_11), (false, http::Version::HTTP_2)] {
        let mut client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        if http1_only {
            client = client.http1_only();
        }
        let client = client.build().unwrap();
        let url = format!("https://{}/file/3-{LARGE_BYTES}", server.address);
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.version(), version);
        assert_eq!(
            answer.content_length(),
            Some(u64::try_from(LARGE_BYTES).unwrap() - 3)
        );
        assert!(answer.bytes().await.unwrap() == server.slice(3..LARGE_BYTES));
        let short = client
            .get(format!("https://{}/short", server.address))
            .send()
            .await
            .unwrap();
        assert!(short.bytes().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_told_who_calls() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.connect().await;
    let expected = format!(
        "{:?}",
        Some(Peer {
            address: stream.local_addr().unwrap(),
            tls: false
        })
    );
    stream.write_all(last_get("/peer").as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert_eq!(
        String::from_utf8_lossy(next_answer(&mut answer.as_slice()).1),
        expected
    );
}

fn short_limits() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        body_rate_window: Duration::from_secs(1),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_cut() {
    let server = Server::start(Limits {
        idle_timeout: Duration::from_secs(3600),
        ..short_limits()
    })
    .await;
    assert_eq!(server.exchange(b"GET / HTTP/1.1\r\nHost:").await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_before_and_after_a_request() {
    let server = Server::start(Limits {
        header_timeout: Duration::from_secs(3600),
        ..short_limits()
    })
    .await;
    assert_eq!(server.exchange(b"").await, b"");
    let answer = server.exchange(get("/text").as_bytes()).await;
    assert_eq!(next_answer(&mut answer.as_slice()).1, b"text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut() {
    let server = Server::start(Limits {
        connections: 1,
        ..short_limits()
    })
    .await;
    let mut stream = server.connect().await;
    let request = get(&format!("/file/0-{LARGE_BYTES}")).repeat(8);
    stream.write_all(request.as_bytes()).await.unwrap();
    // There is room for another connection only once this one is cut.
    server.exchange(last_get("/text").as_bytes()).await;
    // What the kernel's buffers took comes, then the end; not all.
    assert!(read_all(&mut stream).await.len() < 8 * LARGE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_an_error_for_its_reader() {
    let server = Server::start(short_limits()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"PUT /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000\r\n\r\nabc")
        .await
        .unwrap();
    let answer = read_all(&mut stream).await;
    let text = String::from_utf8_lossy(next_answer(&mut answer.as_slice()).1).into_owned();
    assert_eq!(
        text,
        "cut: the request's body came more slowly than 1024 bytes a second over 1s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_over_the_limit_is_431_and_one_under_it_is_not() {
    let server = Server::start(Limits::default()).await;
    for (bytes, status) in [(32 * 1024 - 100, "200"), (32 * 1024, "431"), (300 * 1024, "431")] {
        let many = (0..bytes / 1024)
            .map(|n| format!("h{n}: {}\r\n", "x".repeat(1016)))
            .collect::<String>();
        let request = format!("GET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{many}\r\n");
        let answer = server.exchange(request.as_bytes()).await;
        let head = String::from_utf8_lossy(&answer);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{bytes}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start(Limits::default()).await;
    let mut request = b"PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n".to_vec();
    request.resize(request.len() + 30_000_000, b'x');
    let answer = server.exchange(&request).await;
    assert_eq!(next_answer(&mut answer.as_slice()).1, b"text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_waits_for_one_that_has_a_request() {
    let server = Server::start(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut busy = server.connect().await;
    busy.write_all(last_get("/wait").as_bytes()).await.unwrap();
    server.waiting.began.notified().await;
    let mut second = server.connect().await;
    second.write_all(last_get("/text").as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), second.readable()).await;
    assert!(early.is_err());
    server.waiting.answer_now.notify_one();
    let waited = read_all(&mut busy).await;
    assert_eq!(next_answer(&mut waited.as_slice()).1, b"waited");
    let answer = read_all(&mut second).await;
    assert_eq!(next_answer(&mut answer.as_slice()).1, b"text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_takes_the_place_of_the_one_that_is_idle_for_longest() {
    let server = Server::start(Limits {
        connections: 3,
        ..Limits::default()
    })
    .await;
    let mut busy = server.connect().await;
    busy.write_all(last_get("/wait").as_bytes()).await.unwrap();
    server.waiting.began.notified().await;
    let (mut older, mut younger) = (server.connect().await, server.connect().await);
    for connection in [&mut older, &mut younger] {
        connection.write_all(get("/text").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"text") {
            connection.read_buf(&mut answer).await.unwrap();
        }
    }
    let answer = server.exchange(last_get("/text").as_bytes()).await;
    assert_eq!(next_answer(&mut answer.as_slice()).1, b"text");
    assert_eq!(read_all(&mut older).await, b"");
    younger.write_all(last_get("/text").as_bytes()).await.unwrap();
    let answer = read_all(&mut younger).await;
    assert_eq!(next_answer(&mut answer.as_slice()).1, b"text");
    server.waiting.answer_now.notify_one();
    let waited = read_all(&mut busy).await;
    assert_eq!(next_answer(&mut waited.as_slice()).1, b"waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_a_little_now_and_then_is_cut() {
    let server = Server::start(Limits {
        body_rate_bytes: 1 << 40,
        ..short_limits()
    })
    .await;
    let mut stream = server.connect().await;
    let request = get(&format!("/file/0-{LARGE_BYTES}")).repeat(8);
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut taken, mut piece) = (0, vec![0; 16 * 1024]);
    // Never still for as long as the idle time-out, but below the rate.
    while taken < 8 * LARGE_BYTES {
        match stream.read(&mut piece).await {
            Ok(bytes) if bytes > 0 => taken += bytes,
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(taken < 8 * LARGE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_requests_end_and_closes_idle_connections() {
    let mut server = Server::start(Limits::default()).await;
    let (mut idle, mut fresh, mut busy) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    idle.write_all(get("/text").as_bytes()).await.unwrap();
    let mut head = [0; 20];
    idle.read_exact(&mut head).await.unwrap();
    busy.write_all(get("/wait").as_bytes()).await.unwrap();
    server.waiting.began.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
    read_all(&mut idle).await;
    assert_eq!(read_all(&mut fresh).await, b"");
    assert!(TcpStream::connect(server.address).await.is_err());
    server.waiting.answer_now.notify_one();
    assert_eq!(
        next_answer(&mut read_all(&mut busy).await.as_slice()).1,
        b"waited"
    );
    server.running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_in_time_even_if_a_request_does_not() {
    let limits = Limits {
        drain_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut server = Server::start(limits).await;
    let mut busy = server.connect().await;
    busy.write_all(get("/wait").as_bytes()).await.unwrap();
    server.waiting.began.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server.running)
        .await
        .unwrap()
        .unwrap();
}

#[test]
fn a_certificate_that_does_not_fit_is_refused_by_name() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_certificate(one.path());
    write_certificate(other.path());
    let (cert, key) = (one.path().join("cert.pem"), other.path().join("key.pem"));
    assert!(matches!(
        Tls::load(&cert, &key).unwrap_err(),
        TlsError::Unusable { .. }
    ));
    let missing = Tls::load(&one.path().join("none.pem"), &key)
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none.pem"), "{missing}");
}
