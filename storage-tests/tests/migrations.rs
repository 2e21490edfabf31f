//! Databases of earlier versions, made by the programs of their time (see `fixtures/make`), brought up to date.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests: a failure is a failed test"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use storage_tests::backends::postgres;
use storage_tests::backends::proxy::{Proxy, Rule};
use storage_tests::clauses::metadata::{digest, image, name, push, tag};
use storage_tests::faults::When;
use wharf_registry::clock::Timestamp;
use wharf_registry::config::DatabaseUrl;
use wharf_registry::metadata::{
    Accounts as _, BlobRows as _, Collection as _, Error, Manifests as _, Metadata as _, Options,
    ReferrersQuery, Repositories as _, SqlMetadata, Tags as _, Uploads as _,
};

const DIALECTS: [&str; 2] = ["sqlite", "postgres"];

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The numbers of the migrations, as four digits.
fn migrations() -> BTreeSet<String> {
    let files = std::fs::read_dir(folder("../registry/migrations")).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|file| file.split('_').next().unwrap().to_owned())
        .collect()
}

fn fixture(number: &str, dialect: &str) -> String {
    let path = folder("fixtures").join(format!("{number}.{dialect}.sql"));
    std::fs::read_to_string(path).unwrap()
}

/// A migration without a fixture would never be migrated from in a test.
#[test]
fn every_migration_has_a_database_of_its_version() {
    let files = std::fs::read_dir(folder("fixtures")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = files.filter(|file| file != "make").collect();
    let wanted = migrations();
    let wanted = wanted
        .iter()
        .flat_map(|number| DIALECTS.map(|dialect| format!("{number}.{dialect}.sql")));
    assert_eq!(
        found,
        wanted.collect(),
        "make one with storage-tests/fixtures/make"
    );
}

async fn connect(url: &DatabaseUrl) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let url = match url {
        DatabaseUrl::Sqlite(path) => format!("sqlite://{}?mode=rwc", path.display()),
        DatabaseUrl::Postgres(url) => url.clone(),
    };
    url.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap()
}

async fn run(url: &DatabaseUrl, statements: String) {
    let mut connection = connect(url).await;
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn open(url: &DatabaseUrl) -> Result<SqlMetadata, Error> {
    SqlMetadata::open(url, Options::default()).await
}

async fn version(url: &DatabaseUrl) -> i64 {
    let mut connection = connect(url).await;
    sqlx::query_scalar("SELECT version FROM wharf_schema")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// Describes every table, column, index and constraint, in a fixed order.
async fn schema(url: &DatabaseUrl) -> Vec<String> {
    let queries: &[&'static str] = match url {
        DatabaseUrl::Sqlite(_) => {
            &["SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name"]
        }
        DatabaseUrl::Postgres(_) => &[
            "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, collation_name,
             is_identity) FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
            "SELECT concat_ws(' ', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
             WHERE connamespace = 'public'::regnamespace ORDER BY 1",
        ],
    };
    let mut connection = connect(url).await;
    let mut described = Vec::new();
    for query in queries {
        let rows: Vec<String> = sqlx::query_scalar(*query)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        described.extend(rows);
    }
    assert!(described.len() > 20, "{described:?}");
    described
}

/// Looks for what the program of an earlier version was told, and uses it.
async fn verify(rows: &SqlMetadata) {
    let app = name("admin/app");
    let v1 = rows.manifest_by_tag(&app, &tag("v1")).await.unwrap().unwrap();
    let latest = rows.manifest_by_tag(&app, &tag("latest")).await.unwrap().unwrap();
    assert_eq!(v1, latest);
    assert_eq!(v1.digest, digest(std::str::from_utf8(&v1.bytes).unwrap()));
    let tags = rows.tags(&app, None, 10).await.unwrap().items;
    assert_eq!(tags, ["all", "latest", "v1"]);
    assert_eq!(rows.tag_history(&app, &tag("latest"), 10).await.unwrap().len(), 2);
    assert_eq!(
        rows.tag_history(&app, &tag("gone"), 10).await.unwrap()[0].to,
        None
    );
    let query = ReferrersQuery {
        limit: 10,
        max_bytes: 1 << 20,
        ..ReferrersQuery::default()
    };
    let referrers = rows.referrers(&app, &v1.digest, &query).await.unwrap().items;
    assert_eq!(referrers.len(), 1);
    assert_eq!(
        referrers[0].artifact_type.as_deref(),
        Some("application/x.signature")
    );
    for content in ["{}", "the first layer", "pushed and never named"] {
        let blob = rows.blob(&app, &digest(content)).await.unwrap().unwrap();
        assert_eq!(blob.size, u64::try_from(content.len()).unwrap());
    }
    let layer = digest("the first layer");
    assert!(rows.blob(&name("admin/other"), &layer).await.unwrap().is_some());
    let in_use = rows.unlink_blob(&app, &layer).await;
    assert!(matches!(in_use, Err(Error::BlobInUse { .. })), "{in_use:?}");
    assert_eq!(
        rows.description(&app).await.unwrap().unwrap().text,
        "an old image"
    );
    assert!(rows.user("admin").await.unwrap().unwrap().admin);
    assert_eq!(rows.rules_of(&["bob"]).await.unwrap().len(), 1);
    let uploads = rows
        .expired_uploads(Timestamp::from_millis(i64::MAX), 10)
        .await
        .unwrap();
    assert_eq!(uploads.len(), 1);
    assert_eq!(uploads[0].offset, 7);
    // What nobody needs any more goes, and what is needed stays, by the rules of today.
    let late = Timestamp::from_millis(i64::MAX / 2);
    assert_eq!(rows.forget_deleted_manifests(late, 10).await.unwrap(), 1);
    let unused = rows
        .condemn_blobs(late, Some(std::time::Duration::ZERO), 10)
        .await
        .unwrap();
    let unused: Vec<_> = unused.into_iter().map(|blob| blob.digest).collect();
    assert_eq!(unused, [digest("pushed and never named")]);
    let blob = push(rows, "admin/app", "new content").await;
    let put = image("admin/app", "a new manifest", &["new", "v1"], &[&blob, &layer]);
    rows.put_manifest(put).await.unwrap();
    assert_eq!(rows.tags(&app, None, 10).await.unwrap().items.len(), 4);
}

/// A place for a database, and what must outlive its use.
async fn place(dialect: &str) -> (DatabaseUrl, Option<tempfile::TempDir>) {
    if dialect == "postgres" {
        return (postgres::start_empty().await, None);
    }
    let folder = tempfile::tempdir().unwrap();
    (DatabaseUrl::Sqlite(folder.path().join("rows.db")), Some(folder))
}

/// Three servers start at once on a database of each version.
async fn every_version_is_migrated(dialect: &str) {
    let (fresh, _folder) = place(dialect).await;
    open(&fresh).await.unwrap().close().await;
    for number in migrations() {
        let (url, _folder) = place(dialect).await;
        run(&url, fixture(&number, dialect)).await;
        assert_eq!(version(&url).await, number.parse::<i64>().unwrap());
        let servers = join_all((0..3).map(|_| open(&url))).await;
        let servers: Vec<_> = servers.into_iter().map(Result::unwrap).collect();
        verify(&servers[0]).await;
        for server in servers {
            assert!(server.user("admin").await.unwrap().is_some());
            server.close().await;
        }
        assert_eq!(version(&url).await, version(&fresh).await);
        assert_eq!(schema(&url).await, schema(&fresh).await, "migrated from {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_every_earlier_version_is_migrated_in_sqlite() {
    every_version_is_migrated("sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_every_earlier_version_is_migrated_in_postgres() {
    every_version_is_migrated("postgres").await;
}

/// The connection ends at the first, second, … question of a migration, before or after the server has seen it: the
/// old version is left, or the new one, and the next start goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_cut_off_is_whole_or_did_not_happen_in_postgres() {
    let old = fixture("0001", "postgres");
    let newest = i64::try_from(migrations().len()).unwrap();
    let mut outcomes = BTreeSet::new();
    for when in [When::Before, When::After] {
        for n in 1.. {
            let url = postgres::start_empty().await;
            run(&url, old.clone()).await;
            let proxy = Proxy::before(&url).await;
            proxy.set(Rule::Cut { n, when });
            let opened = open(&proxy.url()).await;
            if proxy.cuts() == 0 {
                opened.unwrap();
                break;
            }
            assert!(
                matches!(opened, Err(Error::Unavailable(_))),
                "{when:?} {n}: {opened:?}"
            );
            let left = version(&url).await;
            assert!([1, newest].contains(&left), "{when:?} {n}: version {left}");
            outcomes.insert(left);
            let rows = open(&url).await.unwrap();
            assert_eq!(version(&url).await, newest);
            assert!(
                rows.manifest_by_tag(&name("admin/app"), &tag("v1"))
                    .await
                    .unwrap()
                    .is_some()
            );
        }
    }
    assert_eq!(outcomes, BTreeSet::from([1, newest]), "both ends were met");
}

/// What a crash leaves of a file whose migration was not committed, its log included, is the old version.
#[tokio::test]
async fn a_crash_within_a_migration_leaves_the_old_version_in_sqlite() {
    let (url, folder) = place("sqlite").await;
    run(&url, fixture("0001", "sqlite")).await;
    let mut migrating = connect(&url).await;
    migrating
        .execute(
            "PRAGMA journal_mode = WAL; PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;
             CREATE TABLE half (id INTEGER PRIMARY KEY, filling BLOB);
             INSERT INTO half (filling) SELECT randomblob(4000) FROM tags, tag_history, manifests, blobs;
             UPDATE wharf_schema SET version = 2; UPDATE tags SET moved_ms = 0",
        )
        .await
        .unwrap();
    let crashed = tempfile::tempdir().unwrap();
    let before = folder.as_ref().unwrap().path();
    for file in ["rows.db", "rows.db-wal"] {
        std::fs::copy(before.join(file), crashed.path().join(file)).unwrap();
    }
    let log = std::fs::metadata(crashed.path().join("rows.db-wal"))
        .unwrap()
        .len();
    assert!(log > 100_000, "the migration has written {log} bytes only");
    let url = DatabaseUrl::Sqlite(crashed.path().join("rows.db"));
    let rows = open(&url).await.unwrap();
    verify(&rows).await;
    rows.close().await;
    let described = schema(&url).await;
    assert!(
        !described.iter().any(|line| line.contains("half")),
        "{described:?}"
    );
    let mut connection = connect(&url).await;
    let changed: i64 = sqlx::query_scalar("SELECT count(*) FROM tags WHERE moved_ms = 0 AND name = 'latest'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(changed, 0);
}
