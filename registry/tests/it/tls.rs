//! The registry over TLS.

use crate::support::server::Server;

#[tokio::test]
async fn a_certificate_and_its_key_give_https_and_http2_by_alpn() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = format!("tls_cert = {cert:?}\ntls_key = {key:?}");
    let server = Server::with(&settings);
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/v2/", server.address().port());
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (401, http::Version::HTTP_2)
    );
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    let realm = format!("realm=\"https://localhost:{}/token\"", server.address().port());
    assert!(challenge.contains(&realm), "{challenge}");
    let plain = reqwest::get(format!("http://localhost:{}/v2/", server.address().port())).await;
    assert!(plain.is_err(), "{plain:?}");
}
