//! How a server ends, and what it says meanwhile.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::content::sha256;
use crate::support::server::{Server, answer};

#[tokio::test]
async fn sigterm_and_sigint_end_it_with_success() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        let ended = server.end(signal);
        assert!(ended.success, "{}", ended.log);
        assert_eq!(ended.stdout, "");
        assert!(ended.log.contains("stopped"), "{}", ended.log);
    }
}

#[tokio::test]
async fn a_request_that_runs_is_answered_before_the_end() {
    let mut server = Server::start();
    let token = server.admin().token(&["repository:a/b:pull,push"]).await;
    let upload = server.admin().begin("a/b").await;
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let digest = sha256(b"hello");
    let head = format!(
        "PUT {upload}?digest={digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // The server says this when it begins to read the body: the request runs.
    let mut proceed = [0; 25];
    socket.read_exact(&mut proceed).await.unwrap();
    assert_eq!(&proceed, b"HTTP/1.1 100 Continue\r\n\r\n");
    let pid = server.pid().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    while !server.log().contains("SIGTERM: stopping") {
        tokio::task::yield_now().await;
    }
    socket.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 201"), "{rest}");
    server.end("CONT");
    server.start_again();
    assert_eq!(
        server.admin().get(&format!("/v2/a/b/blobs/{digest}")).await.body,
        "hello"
    );
}

#[tokio::test]
async fn everything_pushed_is_there_after_a_kill() {
    let mut server = Server::start();
    let manifest = server.admin().push_image("a/b", "t", "1").await;
    server.kill();
    server.start_again();
    assert_eq!(server.admin().get("/v2/a/b/manifests/t").await.body, manifest);
    assert_eq!(
        server
            .admin()
            .get(&format!("/v2/a/b/blobs/{}", sha256(b"layer 1")))
            .await
            .body,
        "layer 1"
    );
}

#[tokio::test]
async fn the_access_log_has_a_line_a_request_with_its_id() {
    let server = Server::with("access_log = true\nlog_format = \"json\"");
    let answer = answer(server.admin().ask("GET", "/v2/a/b/tags/list")).await;
    let id = answer.header("x-request-id");
    let log = server.log();
    let line = log.lines().find(|line| line.contains(id)).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (line["fields"]["status"].clone(), line["fields"]["path"].clone()),
        (404.into(), "/v2/a/b/tags/list".into())
    );
}

#[tokio::test]
async fn passwords_and_tokens_are_never_logged() {
    let server = Server::with("access_log = true\nlog = \"trace\"");
    let token = server.admin().token(&["repository:a/b:pull"]).await;
    server.bearer(&token).get("/v2/a/b/tags/list").await;
    server.user_with("admin", "a wrong password").get("/v2/").await;
    let robot = server.secret(&["robot", "add", "ci"]);
    let key = server.secret(&["key", "add", "admin", "--scope", "**:pull"]);
    let offline = server.admin().get("/token?offline_token=true").await.json();
    let refresh = offline["refresh_token"].as_str().unwrap();
    for (name, secret) in [("robot/ci", &robot), ("admin", &key), ("robot/no", &robot)] {
        server.user_with(name, secret).get("/token").await;
    }
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refreshed = crate::support::server::answer(server.nobody().ask("POST", "/token").body(form)).await;
    assert_eq!(refreshed.status, 200);
    let log = server.log();
    let passwords = [crate::support::server::ADMIN_PASSWORD, "a wrong password"];
    for secret in passwords.into_iter().chain([&*token, &*robot, &*key, refresh]) {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[tokio::test]
async fn with_a_delay_it_is_first_unready_and_still_takes_requests() {
    let mut server = Server::with("stop_delay = \"10m\"");
    assert_eq!(server.nobody().get("/readyz").await.status, 200);
    let pid = server.pid().to_string();
    let told = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.unwrap().success());
    let begun = std::time::Instant::now();
    let unready = loop {
        let answer = server.nobody().get("/readyz").await;
        if answer.status == 503 {
            break answer;
        }
        assert!(begun.elapsed().as_secs() < 60, "{answer:?}");
    };
    assert_eq!(
        (unready.header("connection"), &unready.body[..]),
        ("close", &b"stopping\n"[..])
    );
    // Each on a connection of its own, that came after the signal.
    assert_eq!(server.nobody().get("/healthz").await.status, 200);
    server.admin().push_image("a/b", "t", "1").await;
    let read = server.admin().get("/v2/a/b/manifests/t").await;
    assert_eq!((read.status, read.header("connection")), (200, "close"));
    let ended = server.end("TERM");
    assert!(ended.success && begun.elapsed().as_secs() < 60, "{}", ended.log);
}
