//! What is asked with every request costs what it returns, not what the registry holds: no statement of theirs reads a
//! table from end to end. Told by the databases' own plans, so that nothing is timed.
#![expect(clippy::unwrap_used, reason = "tests: a failure is a failed test")]

use std::sync::{Arc, Mutex};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _};
use storage_tests::backends::postgres::Server;
use storage_tests::clauses::metadata::{
    at, claim, commit, digest, image, lease, manifest, name, session, tag,
};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use wharf_registry::config::DatabaseUrl;
use wharf_registry::metadata::{
    Accounts as _, BlobRows as _, Collection as _, Jobs as _, Manifests as _, Metadata as _, MountBlob,
    MountSource, Options, Precondition, ReferrersQuery, Repositories as _, SqlMetadata, Tags as _,
    TokenRows as _, UploadProgress, Uploads as _, Visible,
};

/// How many tags, repositories and blobs there are.
const MANY: usize = 100_000;
/// How many entries a page has.
const PAGE: u32 = 100;

/// Hears the statements that the registry sends.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "wharf_registry::sql" {
            event.record(&mut &*self);
        }
    }
}

impl Visit for &Statements {
    fn record_str(&mut self, _: &Field, statement: &str) {
        self.0.lock().unwrap().push(statement.to_owned());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Does what requests do, in a repository of many tags among many repositories.
async fn ask_everything(rows: &SqlMetadata) {
    let (app, other) = (name("r/000001"), name("r/000002"));
    let blob = digest("content");
    // Found by tag and by digest, listed, and listed from the middle.
    rows.manifest_by_tag(&app, &tag("t000500")).await.unwrap();
    rows.manifest(&app, &digest("manifest")).await.unwrap();
    rows.tags(&app, None, PAGE).await.unwrap();
    rows.tags(&app, Some("t050000"), PAGE).await.unwrap();
    rows.tag_history(&app, &tag("t000500"), PAGE).await.unwrap();
    rows.catalog(&Visible::All, Some("r/050000"), PAGE).await.unwrap();
    let query = ReferrersQuery {
        limit: PAGE,
        max_bytes: 1 << 20,
        ..ReferrersQuery::default()
    };
    rows.referrers(&app, &digest("manifest"), &query).await.unwrap();
    // A push and a mount.
    rows.begin_upload(session("u", "r/000001"), 10).await.unwrap();
    let claim = claim("u", "writer");
    rows.claim_upload(&app, &claim, at(0), at(60)).await.unwrap();
    rows.upload(&app, "u", at(0)).await.unwrap();
    let progress = UploadProgress {
        claim: claim.clone(),
        from: 0,
        offset: 7,
        hash_state: None,
        staged: String::new(),
        now: at(0),
        hold: Some(at(60)),
        expires: at(3600),
    };
    rows.advance_upload(progress).await.unwrap();
    let mut pushed = commit("r/000001", "content");
    pushed.upload = Some(claim);
    rows.commit_blob(pushed).await.unwrap();
    rows.claim_blob(&app, &blob, lease(1_000_000)).await.unwrap();
    let mount = MountBlob {
        into: other.clone(),
        from: MountSource::Repository(app.clone()),
        digest: blob.clone(),
        lease: lease(0),
    };
    rows.mount_blob(mount).await.unwrap();
    let mut put = image("r/000001", "a manifest", &["t000500"], &[&blob]);
    put.precondition = Precondition::Exists;
    rows.put_manifest(put).await.unwrap();
    // Deletions.
    let none = Precondition::None;
    rows.delete_tag(&app, &tag("t000501"), none.clone(), "alice", at(1))
        .await
        .unwrap();
    rows.delete_manifest(&app, &digest("a manifest"), none, "alice", at(1))
        .await
        .unwrap();
    rows.unlink_blob(&other, &blob).await.unwrap();
    // Rights and tokens.
    rows.user("alice").await.unwrap();
    rows.rules_of(&["alice", "*"]).await.unwrap();
    rows.use_refresh_token(b"hash", at(0), std::time::Duration::from_secs(60))
        .await
        .unwrap();
    // The upkeep.
    rows.expired_uploads(at(0), PAGE).await.unwrap();
    rows.open_uploads("alice", at(0)).await.unwrap();
    rows.dead_objects(at(0), PAGE).await.unwrap();
    rows.condemned_blobs(at(0), PAGE).await.unwrap();
    rows.take_job("gc", "worker", at(0), at(60)).await.unwrap();
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    url.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap()
}

/// SQLite plans by its indexes alone, whatever the tables hold.
#[tokio::test]
async fn no_request_reads_a_whole_table_in_sqlite() {
    let heard = Statements::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    let _heard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let rows = SqlMetadata::open(&DatabaseUrl::Sqlite(path.clone()), Options::default())
        .await
        .unwrap();
    rows.put_manifest(manifest("r/000001", "manifest", &["t000500", "t000501"]))
        .await
        .unwrap();
    heard.0.lock().unwrap().clear();
    ask_everything(&rows).await;
    let mut statements = heard.0.lock().unwrap().clone();
    statements.sort();
    statements.dedup();
    let mut connection = connect(&format!("sqlite://{}", path.display())).await;
    let mut planned = 0;
    for statement in statements {
        let is_query = ["SELECT", "INSERT", "UPDATE", "DELETE"]
            .iter()
            .any(|word| statement.starts_with(word));
        if !is_query {
            continue;
        }
        planned += 1;
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps = connection.fetch_all(sqlx::raw_sql(explain)).await.unwrap();
        for step in steps {
            let step: String = step.get("detail");
            // Three rows; and the texts that the statement itself brings.
            let small = ["epochs", "json_each VIRTUAL TABLE", "list", "CONSTANT ROW"]
                .iter()
                .any(|small| step.starts_with(&format!("SCAN {small}")));
            assert!(!step.starts_with("SCAN") || small, "{step}: {statement}");
            assert!(
                !step.contains("TEMP B-TREE FOR ORDER BY") || statement.contains("json_each"),
                "{step}: {statement}"
            );
        }
    }
    assert!(planned > 40, "only {planned} statements were heard");
}

/// Fills the tables past the registry.
async fn fill(url: &str) {
    let mut connection = connect(url).await;
    let repository = "(SELECT id FROM repositories WHERE name = 'r/000001')";
    let statements = format!(
        // Foreign keys are not verified: it takes longer than all else.
        "SET session_replication_role = replica;
         INSERT INTO repositories (name, created_ms)
         SELECT 'r/' || lpad(n::text, 6, '0'), 0 FROM generate_series(2, {MANY}) n;
         INSERT INTO manifests (repository_id, digest, media_type, size_bytes, created_ms, pushed_by, bytes)
         SELECT id, 'sha256:' || lpad(to_hex(id), 64, '0'), 'm', 1, 0, 'alice', 'x' FROM repositories;
         INSERT INTO tags (repository_id, name, manifest_id, moved_ms)
         SELECT {repository}, 't' || lpad(n::text, 6, '0'), (SELECT min(id) FROM manifests), 0
         FROM generate_series(1, {MANY}) n ON CONFLICT DO NOTHING;
         INSERT INTO tag_history (repository_id, tag, to_digest, moved_by, moved_ms)
         SELECT repository_id, name, 'sha256:' || lpad('', 64, '0'), 'alice', 0 FROM tags;
         INSERT INTO blobs (digest, object_key, size_bytes, created_ms, lease_until_ms)
         SELECT 'sha256:' || lpad(to_hex(n), 64, '0'), 'blobs/' || n, 1, 0, 0 FROM generate_series(1, {MANY}) n;
         INSERT INTO repository_blobs (repository_id, blob_id) SELECT {repository}, id FROM blobs;
         INSERT INTO manifest_blobs (manifest_id, blob_id) SELECT (SELECT min(id) FROM manifests), id FROM blobs;
         INSERT INTO uploads (id, repository, owner, object_key, algorithm, offset_bytes, staged, started_ms, expires_ms)
         SELECT 'u' || n, 'r/000001', 'user' || n % 1000, 'k' || n, 'sha256', 0, '', 0, 9000000000000
         FROM generate_series(1, {MANY}) n;
         INSERT INTO jobs (kind, payload, due_ms) SELECT 'other', '', 0 FROM generate_series(1, {MANY}) n;
         ANALYZE;"
    );
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
        .await
        .unwrap();
}

/// Reads the numbers after a word in a plan.
fn numbers<'a>(plan: &'a str, word: &'a str) -> impl Iterator<Item = f64> + 'a {
    plan.split(word).skip(1).filter_map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
        rest.split_at(end.unwrap_or(rest.len())).0.parse().ok()
    })
}

/// PostgreSQL says what each step of each plan has really read, among a hundred thousand rows of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_reads_more_than_it_returns_in_postgres() {
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let DatabaseUrl::Postgres(url) = server.fresh_database() else {
        unreachable!("it is PostgreSQL")
    };
    let opened = SqlMetadata::open(&DatabaseUrl::Postgres(url.clone()), Options::default()).await;
    let rows = opened.unwrap();
    rows.put_manifest(manifest("r/000001", "manifest", &["t000500", "t000501"]))
        .await
        .unwrap();
    rows.close().await;
    fill(&url).await;
    let explain =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = auto_explain',
         current_database()); EXECUTE format('ALTER DATABASE %I SET auto_explain.log_min_duration = 0',
         current_database()); EXECUTE format('ALTER DATABASE %I SET auto_explain.log_analyze = on',
         current_database()); EXECUTE format('ALTER DATABASE %I SET auto_explain.log_timing = off',
         current_database()); END $$";
    connect(&url).await.execute(explain).await.unwrap();
    let rows = SqlMetadata::open(&DatabaseUrl::Postgres(url), Options::default())
        .await
        .unwrap();
    let before = server.log().len();
    ask_everything(&rows).await;
    rows.close().await;
    let log = server.log().split_off(before);
    let plans: Vec<&str> = log.split("LOG:  duration:").skip(1).collect();
    assert!(plans.len() > 40, "only {} plans were logged: {log}", plans.len());
    let most = f64::from(PAGE) * 5.0;
    for plan in plans {
        for read in numbers(plan, "actual rows=").chain(numbers(plan, "Rows Removed by Filter: ")) {
            assert!(read <= most, "{read} rows were read: {plan}");
        }
        for table in [
            "tags",
            "repositories",
            "manifests",
            "blobs",
            "repository_blobs",
            "uploads",
            "jobs",
        ] {
            assert!(!plan.contains(&format!("Seq Scan on {table} ")), "{plan}");
        }
    }
}
