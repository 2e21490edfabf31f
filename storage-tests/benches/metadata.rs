//! What the rows cost in SQLite: a start over 1,000,000 blobs, reads with and without what is remembered, writes.
//!
//! `cargo bench -p storage-tests --bench metadata [ROWS]` prints a table: minimum and median of each.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table, and a failure is a failed run"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _};
use storage_tests::clauses::metadata::{commit, digest, image, lease, name, push, tag};
use wharf_protocol::digest::Digest;
use wharf_registry::config::DatabaseUrl;
use wharf_registry::metadata::{BlobRows as _, Manifests as _, Metadata as _, Options, SqlMetadata};

#[tokio::main]
async fn main() {
    let rows = std::env::args()
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_000_000_i64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let url = DatabaseUrl::Sqlite(path.clone());
    let first = SqlMetadata::open(&url, Options::default()).await.unwrap();
    let blob = push(&first, "library/app", "content").await;
    first
        .put_manifest(image("library/app", "manifest", &["latest"], &[&blob]))
        .await
        .unwrap();
    first.close().await;
    fill(&path, rows).await;
    println!(
        "{:<56} {:>12} {:>12}",
        format!("with {rows} blobs"),
        "minimum",
        "median"
    );

    starts(&url, &blob).await;
    let cold = Options {
        cache_bytes: 0,
        ..Options::default()
    };
    let cold = SqlMetadata::open(&url, cold).await.unwrap();
    reads("asked", &cold, &blob).await;
    let warm = SqlMetadata::open(&url, Options::default()).await.unwrap();
    reads("remembered", &warm, &blob).await;
    writes(&warm, &blob).await;
}

async fn starts(url: &DatabaseUrl, blob: &Digest) {
    let mut starts = Vec::new();
    for _ in 0..15 {
        let begin = Instant::now();
        let opened = SqlMetadata::open(url, Options::default()).await.unwrap();
        assert!(opened.blob(&name("library/app"), blob).await.unwrap().is_some());
        starts.push(begin.elapsed());
        opened.close().await;
    }
    report("open, and the first blob found", starts);
}

async fn reads(which: &str, rows: &SqlMetadata, blob: &Digest) {
    let repository = name("library/app");
    let latest = tag("latest");
    let by_tag = async |_| drop(rows.manifest_by_tag(&repository, &latest).await.unwrap());
    report(&format!("manifest by tag, {which}"), time(3000, by_tag).await);
    let by_digest = async |_| drop(rows.blob(&repository, blob).await.unwrap());
    report(&format!("blob by digest, {which}"), time(3000, by_digest).await);
    let claimed = async |_| drop(rows.claim_blob(&repository, blob, lease(0)).await.unwrap());
    report(&format!("blob claimed, {which}"), time(3000, claimed).await);
    let missing = digest("missing");
    let absent = async |_| drop(rows.blob(&repository, &missing).await.unwrap());
    report(&format!("no such blob, {which}"), time(3000, absent).await);
}

async fn writes(rows: &SqlMetadata, blob: &Digest) {
    let commits: Vec<_> = (0..300)
        .map(|number| commit("library/app", &format!("new {number}")))
        .collect();
    let committed = async |round: usize| drop(rows.commit_blob(commits[round].clone()).await.unwrap());
    report("blob committed, durable", time(300, committed).await);
    let puts: Vec<_> = (0..300)
        .map(|number| image("library/app", &format!("image {number}"), &["latest"], &[blob]))
        .collect();
    let stored = async |round: usize| rows.put_manifest(puts[round].clone()).await.unwrap();
    report("manifest stored, durable", time(300, stored).await);
}

async fn time(rounds: usize, work: impl AsyncFn(usize)) -> Vec<Duration> {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let begin = Instant::now();
        work(round).await;
        times.push(begin.elapsed());
    }
    times
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what:<56} {:>12} {:>12}",
        format!("{:?}", times[0]),
        format!("{:?}", times[times.len() / 2])
    );
}

/// Adds blobs that a repository holds, past the registry: pushing them would take an hour.
async fn fill(path: &Path, rows: i64) {
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut connection: AnyConnection = url.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
    for statement in [
        "PRAGMA synchronous = OFF",
        "BEGIN",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         INSERT INTO blobs (digest, object_key, size_bytes, created_ms, lease_until_ms)
         SELECT 'sha256:' || lower(hex(randomblob(32))), 'blobs/' || hex(randomblob(13)), i, 0, 0 FROM n",
        "INSERT INTO repository_blobs SELECT 1, id FROM blobs WHERE id > $1 * 0 + 1",
        "COMMIT",
    ] {
        let mut query = sqlx::query(statement);
        if statement.contains("$1") {
            query = query.bind(rows);
        }
        query.execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}
