//! Databases that cannot be opened or read, and what the operator is told.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: a failure is a failed test"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Executor as _};
use storage_tests::backends::rows::RowsUnderTest;
use storage_tests::backends::{postgres, sqlite};
use storage_tests::clauses::metadata::{at, manifest, name, tag, user};
use wharf_registry::config::DatabaseUrl;
use wharf_registry::metadata::{
    Accounts as _, Error, Manifests as _, Metadata as _, Options, SqlMetadata, Tags as _,
};

async fn open(url: &DatabaseUrl) -> Result<SqlMetadata, Error> {
    SqlMetadata::open(url, Options::default()).await
}

async fn open_file(path: &Path) -> Result<SqlMetadata, Error> {
    open(&DatabaseUrl::Sqlite(path.to_owned())).await
}

/// Runs statements in a database, past the registry.
async fn run(url: &DatabaseUrl, statements: &'static str) {
    sqlx::any::install_default_drivers();
    let url = match url {
        DatabaseUrl::Sqlite(path) => format!(
            "sqlite://{}?mode=rwc",
            path.display().to_string().replace('%', "%25").replace('?', "%3f")
        ),
        DatabaseUrl::Postgres(url) => url.clone(),
    };
    let mut connection: AnyConnection = url.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
    connection.execute(sqlx::raw_sql(statements)).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let garbage = "not a database, but long enough to have a header ".repeat(100);
    std::fs::write(&path, &garbage).unwrap();
    let refused = open_file(&path).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(
        text.contains(path.to_str().unwrap()) && text.contains("restore"),
        "{text}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), garbage);
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let url = DatabaseUrl::Sqlite(path.clone());
    run(&url, "CREATE TABLE theirs (id INTEGER)").await;
    let before = std::fs::read(&path).unwrap();
    let refused = open(&url).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Corrupt { detail, .. } if detail.contains("another program")),
        "{refused:?}"
    );
    run(&url, "INSERT INTO theirs VALUES (1)").await;
    assert_eq!(before.len(), std::fs::read(&path).unwrap().len());

    let theirs = postgres::start_empty().await;
    run(&theirs, "CREATE TABLE theirs (id BIGINT)").await;
    let refused = open(&theirs).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Corrupt { detail, .. } if detail.contains("another program")),
        "{refused:?}"
    );
}

async fn a_newer_database_is_refused(store: RowsUnderTest) {
    store.rows().add_user(user("alice"), at(0)).await.unwrap();
    store.rows().close().await;
    run(store.url(), "UPDATE wharf_schema SET version = version + 997").await;
    let refused = open(store.url()).await.unwrap_err();
    let Error::Newer { found, known, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(found - known, 997);
    let text = refused.to_string();
    assert!(
        text.contains("newer") && text.contains(&found.to_string()) && text.contains("run that version"),
        "{text}"
    );
    run(store.url(), "UPDATE wharf_schema SET version = version - 997").await;
    let rows = open(store.url()).await.unwrap();
    assert!(rows.user("alice").await.unwrap().is_some());
}

#[tokio::test]
async fn a_newer_database_is_refused_in_sqlite() {
    a_newer_database_is_refused(sqlite::start().await).await;
}

#[tokio::test]
async fn a_newer_database_is_refused_in_postgres() {
    a_newer_database_is_refused(postgres::start().await).await;
}

#[tokio::test]
async fn an_empty_file_becomes_a_database_that_its_owner_alone_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let rows = open_file(&path).await.unwrap();
    rows.add_user(user("alice"), at(0)).await.unwrap();
    for file in ["rows.db", "rows.db-wal", "rows.db-shm"] {
        let mode = std::fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/rows.db");
    // Not even root can make a file in /sys.
    for path in [missing.as_path(), folder.path(), Path::new("/sys/rows.db")] {
        let refused = open_file(path).await.unwrap_err();
        assert!(matches!(refused, Error::Open { .. }), "{refused:?}");
        let text = refused.to_string();
        assert!(
            text.contains(path.to_str().unwrap()) && text.contains("writable"),
            "{text}"
        );
    }
    assert!(!missing.parent().unwrap().exists());
}

#[tokio::test]
async fn damage_within_the_file_is_told_when_it_is_met() {
    use std::os::unix::fs::FileExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let rows = open_file(&path).await.unwrap();
    let tags: Vec<String> = (0..3000).map(|number| format!("{number:0>100}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    rows.put_manifest(manifest("a", "manifest", &tags)).await.unwrap();
    rows.close().await;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    // Every page but those of the schema's beginning.
    for page in 60..length / 4096 {
        file.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    let rows = open_file(&path).await.unwrap();
    let refused = rows.tags(&name("a"), None, 10_000).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(
        text.contains(path.to_str().unwrap()) && text.contains("restore"),
        "{text}"
    );
}

async fn servers_that_start_at_once_migrate_once(url: DatabaseUrl) {
    let opened = futures_util::future::join_all((0..3).map(|_| open(&url))).await;
    for rows in opened {
        let rows = rows.unwrap();
        rows.put_manifest(manifest("a", "manifest", &["t"]))
            .await
            .unwrap();
        assert!(
            rows.manifest_by_tag(&name("a"), &tag("t"))
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test]
async fn servers_that_start_at_once_migrate_once_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    servers_that_start_at_once_migrate_once(DatabaseUrl::Sqlite(folder.path().join("rows.db"))).await;
}

#[tokio::test]
async fn servers_that_start_at_once_migrate_once_in_postgres() {
    servers_that_start_at_once_migrate_once(postgres::start_empty().await).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let url = DatabaseUrl::Postgres("postgres://user:secret@127.0.0.1:1/rows".to_owned());
    let refused = open(&url).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    let text = format!("{refused} {refused:?}");
    assert!(!text.contains("secret"), "{text}");
}
