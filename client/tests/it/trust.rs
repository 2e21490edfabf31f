//! Whom the client believes, and where it keeps what it knows of itself.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::registry::{Answer, Registry};
use crate::support::server::Server;
use crate::support::wharf::{Wharf, ran};

/// A registry with a certificate of its own, and that certificate.
fn with_tls(wharf: &Wharf) -> (Server, PathBuf, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (wharf.path("cert.pem"), wharf.path("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start_with(&[
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ]);
    let host = format!("localhost:{}", server.host.rsplit(':').next().unwrap());
    (server, cert, host)
}

#[test]
fn an_authority_beside_the_hosts_name_is_believed() {
    let wharf = Wharf::new();
    let (server, cert, host) = with_tls(&wharf);
    let folder = wharf.path("config/docker/certs.d").join(&host);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(cert, folder.join("ca.crt")).unwrap();
    let said = wharf.run(&["login", "-u", "admin", "-p", &server.password(), &host]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_certificate_nobody_vouches_for_is_refused_and_plain_http_not_tried() {
    let wharf = Wharf::new();
    let (server, _, host) = with_tls(&wharf);
    let error = wharf.run(&["login", "-u", "admin", "-p", &server.password(), &host]);
    assert_eq!(error.code, Some(1));
    assert!(error.stderr.contains("certificate"), "{}", error.stderr);
    assert!(!wharf.path("docker/config.json").exists());
}

#[test]
fn a_helper_keeps_the_login_and_gives_it_back() {
    let wharf = Wharf::new();
    let registry = Registry::start(|request| {
        // `me:secret`
        if request.header("authorization") == Some("Basic bWU6c2VjcmV0") {
            return Answer::new(200, "{}");
        }
        Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let programs = wharf.path("bin");
    std::fs::create_dir_all(&programs).unwrap();
    let helper = programs.join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\ncase $1 in store) cat >{0} ;; get) [ -f {0} ] && cat {0} || {{ echo 'credentials not found in native keychain'; exit 1; }} ;; erase) rm {0} ;; esac\n",
        wharf.path("kept").display()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(wharf.path("docker")).unwrap();
    std::fs::write(wharf.path("docker/config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let run = |arguments: &[&str]| {
        let output = wharf.command(arguments).env("PATH", &path).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&["login", "-u", "me", "-p", "secret", &registry.host]);
    assert!(!said.contains("unencrypted"), "{said}");
    let config = std::fs::read_to_string(wharf.path("docker/config.json")).unwrap();
    assert!(!config.contains("bWU6c2VjcmV0"), "{config}");
    assert!(run(&["login", &registry.host]).contains("Authenticating with existing credentials"));
    run(&["logout", &registry.host]);
    assert!(!wharf.path("kept").exists());
}

#[test]
fn a_login_without_a_terminal_is_refused() {
    let wharf = Wharf::new();
    let error = wharf.fails(&["login", "127.0.0.1:1"]);
    assert_eq!(
        error,
        "Error: Cannot perform an interactive login from a non TTY device\n"
    );
}

#[test]
fn a_machine_that_knows_no_authority_speaks_to_a_registry_that_needs_none() {
    let (wharf, server) = (Wharf::new(), Server::start());
    let (none, nowhere) = (wharf.path("none.pem"), wharf.path("nowhere"));
    std::fs::write(&none, "").unwrap();
    std::fs::create_dir(&nowhere).unwrap();
    let mut login = wharf.command(&["login", "-u", "admin", "-p", &server.password(), &server.host]);
    let said = ran(login
        .env("SSL_CERT_FILE", none)
        .env("SSL_CERT_DIR", nowhere)
        .output()
        .unwrap());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}
