//! Certificates that change while the server runs.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::server::Server;

/// Makes a certificate and its key in a folder, and a root that trusts it.
pub(crate) fn pair(name: &str) -> (TempDir, reqwest::Certificate) {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = made(name);
    std::fs::write(folder.path().join("cert.pem"), &cert).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    (folder, reqwest::Certificate::from_pem(cert.as_bytes()).unwrap())
}

fn made(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Replaces a file as certificate tools do: a whole new one takes the old one's name.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Whether a new connection is served with this certificate.
async fn serves(server: &Server, trusted: &reqwest::Certificate) -> bool {
    let client = reqwest::Client::builder()
        .tls_certs_only([trusted.clone()])
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/healthz", server.address().port());
    client.get(url).send().await.is_ok()
}

/// Waits until a log line about the certificate has come `times` times.
async fn logged(server: &Server, line: &str, times: usize) {
    let began = Instant::now();
    while server.log().matches(line).count() < times {
        assert!(began.elapsed() < crate::raw::PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_used_and_a_half_changed_pair_is_not() {
    let (folder, first) = pair("localhost");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let server = Server::with(&format!("tls_cert = {cert:?}\ntls_key = {key:?}"));
    assert!(serves(&server, &first).await);
    let url = format!("https://localhost:{}/healthz", server.address().port());
    let kept = reqwest::Client::builder()
        .tls_certs_only([first.clone()])
        .http1_only()
        .pool_max_idle_per_host(1)
        .build()
        .unwrap();
    assert_eq!(
        kept.get(&url).send().await.unwrap().bytes().await.unwrap(),
        "ok\n"
    );

    // Half of the new pair: the old one stays in use, and the log says why.
    let (second_cert, second_key) = made("localhost");
    replace(&cert, &second_cert);
    logged(&server, "the changed certificate is not used", 1).await;
    assert!(serves(&server, &first).await);

    // Half of a file.
    let half = &second_cert.as_bytes()[..second_cert.len() / 2];
    std::fs::write(&cert, half).unwrap();
    logged(&server, "the changed certificate is not used", 2).await;
    assert!(serves(&server, &first).await);

    // The whole new pair: new connections have it, the one that is open goes on.
    replace(&key, &second_key);
    replace(&cert, &second_cert);
    logged(&server, "the certificate was reloaded", 1).await;
    let second = reqwest::Certificate::from_pem(second_cert.as_bytes()).unwrap();
    assert!(serves(&server, &second).await);
    assert!(!serves(&server, &first).await);
    assert_eq!(kept.get(&url).send().await.unwrap().status(), 200);
}
