//! What is left behind, and what the sweeps make of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use storage_tests::fleet::Fleet;

/// Longer than any claim is held that is not renewed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets all sessions be as old as they live, and all dead objects as old as they stay, starts a replica anew, whose
/// first act is a sweep, and verifies that S3 then holds the bytes that rows name and no others.
///
/// S3 begins a multipart upload before it tells its id: a kill or a lost answer right in between leaves one that has no
/// bytes and that nobody can name. `untold` says how many of these there may be.
pub(crate) async fn leaves_what_rows_name(fleet: &mut Fleet, rows: &mut PgConnection, untold: usize) {
    let left = count(rows, "uploads").await;
    let objects = fleet.bucket.objects().len();
    println!(
        "left behind: {left} sessions, {objects} objects, {:?}",
        fleet.bucket.unfinished()
    );
    let begin = Instant::now();
    loop {
        sqlx::raw_sql(
            "UPDATE uploads SET expires_ms = 1 WHERE expires_ms > 1; UPDATE dead_objects SET since_ms = 1",
        )
        .execute(&mut *rows)
        .await
        .unwrap();
        fleet.kill(0);
        fleet.start(0).await;
        let swept = async {
            while count(rows, "uploads").await + count(rows, "dead_objects").await > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(5), swept).await.is_ok() {
            break;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "sessions or dead objects stay: {}",
            fleet.replicas[0].log()
        );
    }
    let named: Vec<String> = sqlx::query_scalar("SELECT object_key FROM blobs")
        .fetch_all(rows)
        .await
        .unwrap();
    let named: BTreeSet<String> = named.into_iter().collect();
    let there: BTreeSet<String> = fleet.bucket.objects().into_iter().collect();
    let orphans: Vec<_> = there.difference(&named).collect();
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "rows name what is not there: {missing:?}");
    assert!(orphans.is_empty(), "no row names {orphans:?}");
    let unfinished = fleet.bucket.unfinished();
    println!(
        "after the sweep: {} objects, all named by rows; {unfinished:?}",
        there.len()
    );
    assert_eq!(unfinished.parts, 0, "parts of multipart uploads stay");
    assert!(
        unfinished.begun <= untold,
        "multipart uploads stay: {unfinished:?}"
    );
}

async fn count(rows: &mut PgConnection, table: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(query).fetch_one(rows).await.unwrap()
}
