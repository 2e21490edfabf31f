//! What goes wrong at a start or in a request, and what the user is told.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::content::sha256;
use crate::support::server::Server;

/// Tries to start a server that can't.
fn refused(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf-registry"))
        .args(["serve", "--data-dir"])
        .arg(folder)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    output
}

#[track_caller]
fn says(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), &["--lisen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    says(&output, &["--lisen", "--listen"]);
}

#[test]
fn wrong_settings_are_named_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = refused(
        folder.path(),
        &[
            "--listen",
            "here",
            "--database",
            "mysql://x",
            "--storage",
            "ftp://y",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    says(
        &output,
        &[
            "listen: \"here\" (from --listen)",
            "database: \"mysql://x\"",
            "storage: \"ftp://y\"",
        ],
    );
}

#[test]
fn a_taken_port_is_named_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), &["--listen", &address]);
    says(&output, &["listen: ", &address, "in use", "give another address"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = refused(&file.join("data"), &["--listen", "127.0.0.1:0"]);
    says(&output, &["data_dir", file.to_str().unwrap(), "--data-dir"]);
}

#[test]
fn a_second_server_on_the_folder_is_kept_out() {
    let server = Server::start();
    let output = refused(&server.data_dir(), &["--listen", "127.0.0.1:0"]);
    says(
        &output,
        &[
            server.data_dir().to_str().unwrap(),
            "in use by another wharf-registry",
        ],
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let storage = format!("file:{}", server.data_dir().join("storage").display());
    says(
        &refused(
            elsewhere.path(),
            &["--listen", "127.0.0.1:0", "--storage", &storage],
        ),
        &["in use by another"],
    );
}

#[test]
fn a_corrupt_database_is_named_and_left_alone() {
    let mut server = Server::start();
    server.stop();
    let path = server.data_dir().join("registry.db");
    std::fs::write(
        &path,
        "this is no database, and it is long enough to have a header of one",
    )
    .unwrap();
    let _ = std::fs::remove_file(server.data_dir().join("registry.db-wal"));
    let output = refused(&server.data_dir(), &["--listen", "127.0.0.1:0"]);
    says(&output, &[path.to_str().unwrap(), "damaged"]);
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("this is no database")
    );
}

#[tokio::test]
async fn a_newer_database_is_named_and_left_alone() {
    use sqlx::Connection as _;
    let mut server = Server::start();
    server.stop();
    let path = server.data_dir().join("registry.db");
    let url = format!("sqlite:{}", path.display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE wharf_schema SET version = 1000")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    let output = refused(&server.data_dir(), &["--listen", "127.0.0.1:0"]);
    says(&output, &[path.to_str().unwrap(), "newer", "1000"]);
    let users = server.run(&["user", "ls"]);
    assert!(!users.status.success() && users.stdout.is_empty(), "{users:?}");
}

#[test]
fn a_missing_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = refused(
        folder.path(),
        &["--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"],
    );
    says(&output, &["tls_cert", "/no/cert.pem"]);
    says(
        &refused(folder.path(), &["--tls-cert", "/no/cert.pem"]),
        &["tls_key: not set, but tls_cert is"],
    );
}

#[test]
fn a_missing_password_file_and_an_empty_one_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--admin-password-file"];
    let missing = refused(folder.path(), &[&arguments[..], &["/no/pw"]].concat());
    says(&missing, &["admin_password_file", "/no/pw"]);
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    says(
        &refused(
            folder.path(),
            &[&arguments[..], &[empty.to_str().unwrap()]].concat(),
        ),
        &["1 to 1024 bytes"],
    );
}

#[test]
fn a_bucket_that_cannot_be_named_so_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = refused(
        folder.path(),
        &[
            "--listen",
            "127.0.0.1:0",
            "--storage",
            "s3://bucket/prefix?color=red",
        ],
    );
    says(
        &output,
        &[
            "storage",
            "s3://bucket/prefix?color=red",
            "color=red",
            "s3://BUCKET/PREFIX",
        ],
    );
}

#[tokio::test]
async fn a_truncated_upload_leaves_nothing_behind() {
    let server = Server::start();
    let token = server.admin().token(&["repository:a/b:pull,push"]).await;
    let digest = sha256(b"hello, world");
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /v2/a/b/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 12\r\n\r\nhello"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 2"));
    assert_eq!(
        server
            .admin()
            .head(&format!("/v2/a/b/blobs/{digest}"))
            .await
            .status,
        404
    );
    let files = std::fs::read_dir(server.data_dir().join("storage/blobs"))
        .unwrap()
        .count();
    assert_eq!(files, 0);
    server.admin().push_blob("a/b", b"hello, world").await;
}

#[tokio::test]
async fn garbage_instead_of_a_manifest_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "<html></html>",
        "{\"schemaVersion\":2}",
        "\u{0}",
    ] {
        let request = admin.ask("PUT", "/v2/a/b/manifests/t").body(body);
        let request = request.header("content-type", "application/vnd.oci.image.manifest.v1+json");
        crate::support::server::answer(request)
            .await
            .is_refused(400, "MANIFEST_INVALID");
    }
}
