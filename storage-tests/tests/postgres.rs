//! PostgreSQL as it is served from: time-outs, connections that end at every moment, servers that crash.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a failure is a failed test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Executor as _};
use storage_tests::backends::postgres::{self, Server};
use storage_tests::backends::proxy::{Proxy, Rule};
use storage_tests::clauses::metadata::{
    at, claim, commit, digest, image, lease, manifest, name, push, session, tag,
};
use storage_tests::faults::When;
use wharf_registry::config::{DatabaseUrl, Postgres};
use wharf_registry::metadata::{
    BlobRows as _, Error, Manifests as _, Metadata, Options, SqlMetadata, Tags as _, Uploads as _,
};

async fn open(url: &DatabaseUrl, postgres: Postgres) -> Result<SqlMetadata, Error> {
    let options = Options {
        postgres,
        ..Options::default()
    };
    SqlMetadata::open(url, options).await
}

/// Time-outs of a second.
fn hasty() -> Postgres {
    let second = Duration::from_secs(1);
    Postgres {
        acquire_timeout: second,
        connect_timeout: second,
        statement_timeout: second,
        ..Postgres::default()
    }
}

/// Somebody else who is connected to the same database.
async fn somebody(url: &DatabaseUrl) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let DatabaseUrl::Postgres(url) = url else {
        unreachable!("PostgreSQL alone has others")
    };
    url.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap()
}

/// Waits until so many statements of anybody wait for a lock.
async fn waiting(watcher: &mut AnyConnection, count: i64) {
    let begun = Instant::now();
    loop {
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
                .fetch_one(&mut *watcher)
                .await
                .unwrap();
        if waiting >= count {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_unavailable<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unavailable(_)))
}

/// A server whose machine is gone says nothing at all: a statement is not waited for much longer than it may take, and
/// what comes after that goes over another connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let proxy = Proxy::before(&postgres::start_empty().await).await;
    let rows = open(&proxy.url(), hasty()).await.unwrap();
    let blob = push(&rows, "a", "content").await;
    proxy.set(Rule::Silence);
    let begun = Instant::now();
    let (read, write) = futures_util::join!(async { rows.blob(&name("a"), &blob).await }, async {
        rows.commit_blob(commit("a", "more")).await
    });
    assert!(is_unavailable(&read), "{read:?}");
    assert!(is_unavailable(&write), "{write:?}");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    proxy.set(Rule::Pass);
    assert!(rows.blob(&name("a"), &blob).await.unwrap().is_some());
    push(&rows, "a", "more").await;
}

/// A server that takes the connection and never greets.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_in_is_given_up_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = DatabaseUrl::Postgres(format!("postgres://postgres@127.0.0.1:{port}/rows"));
    let begun = Instant::now();
    let refused = open(&url, hasty()).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Who may not come in is told which setting to look at.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_named_with_the_way_out() {
    let DatabaseUrl::Postgres(url) = postgres::start_empty().await else {
        unreachable!("it is PostgreSQL")
    };
    let url = DatabaseUrl::Postgres(url.replace("/wharf_", "/missing_"));
    let refused = open(&url, Postgres::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Open { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(
        text.contains("missing_") && text.contains("setting `database`"),
        "{text}"
    );
}

/// While another holds the rows that a statement needs, it ends after its time, and others only wait for a connection
/// for so long.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_and_the_wait_for_a_connection_end_in_time() {
    let url = postgres::start_empty().await;
    let settings = Postgres {
        writers: 1,
        ..hasty()
    };
    let rows = open(&url, settings).await.unwrap();
    rows.put_manifest(manifest("a", "manifest", &["t"]))
        .await
        .unwrap();
    let (mut holder, mut watcher) = (somebody(&url).await, somebody(&url).await);
    holder
        .execute("BEGIN; SELECT 1 FROM repositories WHERE name = 'a' FOR UPDATE")
        .await
        .unwrap();
    let (slow, second) = futures_util::join!(rows.put_manifest(manifest("a", "second", &["t"])), async {
        waiting(&mut watcher, 1).await;
        rows.put_manifest(manifest("b", "elsewhere", &["t"])).await
    });
    assert!(is_unavailable(&slow), "{slow:?}");
    // It came in when the first one had ended, or was told that there is no connection.
    assert!(second.is_ok() || is_unavailable(&second), "{second:?}");
    holder.execute("ROLLBACK").await.unwrap();
    rows.put_manifest(manifest("a", "second", &["t"])).await.unwrap();
    let found = rows
        .manifest_by_tag(&name("a"), &tag("t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest, digest("second"));
}

/// A lock that is waited for too long and a deadlock cost a transaction, not the caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_loses_against_another_is_done_again() {
    let url = postgres::start_empty().await;
    let settings = Postgres {
        lock_timeout: Duration::from_secs(3),
        ..Postgres::default()
    };
    let rows = open(&url, settings).await.unwrap();
    let blob = push(&rows, "a", "content").await;
    let (mut holder, mut watcher) = (somebody(&url).await, somebody(&url).await);

    // The manifest's transaction holds the repository and waits for the blob; its holder then wants the repository.
    // PostgreSQL ends the one that has waited for longer.
    holder
        .execute("BEGIN; SELECT 1 FROM blobs FOR UPDATE")
        .await
        .unwrap();
    let (put, held) = futures_util::join!(
        rows.put_manifest(image("a", "manifest", &["t"], &[&blob])),
        async {
            waiting(&mut watcher, 1).await;
            let held = holder.execute("SELECT 1 FROM repositories FOR UPDATE").await;
            holder.execute("ROLLBACK").await.unwrap();
            held
        }
    );
    put.unwrap();
    held.unwrap();

    // The holder lets go only after the lock time-out.
    holder
        .execute("BEGIN; SELECT 1 FROM repositories FOR UPDATE")
        .await
        .unwrap();
    let (put, ()) = futures_util::join!(rows.put_manifest(manifest("a", "second", &["t"])), async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        holder.execute("ROLLBACK").await.unwrap();
    });
    put.unwrap();
    assert_eq!(
        rows.tag_history(&name("a"), &tag("t"), 10).await.unwrap().len(),
        2
    );
    let log: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut watcher)
            .await
            .unwrap();
    assert!(log >= 1, "there was no deadlock");
}

/// The connection ends when the commit has happened and its answer is lost: the caller is told that nobody knows, not
/// that it failed, and nothing is done twice. Whoever repeats it is told what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_neither_a_success_nor_done_again() {
    let url = postgres::start_empty().await;
    let proxy = Proxy::before(&url).await;
    let rows = open(&proxy.url(), Postgres::default()).await.unwrap();
    let direct = open(&url, Postgres::default()).await.unwrap();
    rows.put_manifest(manifest("a", "first", &["t"])).await.unwrap();
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    let claim = claim("u", "writer");
    rows.claim_upload(&name("a"), &claim, at(0), at(60))
        .await
        .unwrap();
    let mut pushed = commit("a", "content");
    pushed.upload = Some(claim);

    proxy.set(Rule::CutCommit);
    let unsure = rows.commit_blob(pushed.clone()).await.unwrap_err();
    assert!(
        matches!(&unsure, Error::Unavailable(why) if why.contains("may or may not have happened")),
        "{unsure:?}"
    );
    assert_eq!(proxy.cuts(), 1, "it was done again");
    let unsure = rows.put_manifest(manifest("a", "second", &["t"])).await;
    assert!(is_unavailable(&unsure), "{unsure:?}");
    assert_eq!(proxy.cuts(), 2, "it was done again");

    proxy.set(Rule::Pass);
    let there = direct.blob(&name("a"), &pushed.digest).await.unwrap().unwrap();
    assert_eq!(there.object_key, pushed.object_key);
    let history = direct.tag_history(&name("a"), &tag("t"), 10).await.unwrap();
    assert_eq!(history.len(), 2);
    // A repetition: of the push without its session, and of the manifest.
    pushed.upload = None;
    let again = rows.commit_blob(pushed.clone()).await.unwrap();
    assert_eq!((again.blob, again.redundant), (there, false));
    rows.put_manifest(manifest("a", "second", &["t"])).await.unwrap();
    assert_eq!(
        rows.tag_history(&name("a"), &tag("t"), 10).await.unwrap(),
        history
    );
}

/// What came before a push that was cut off must be there, and of the push everything or nothing.
async fn verify_after(cut: &str, direct: &SqlMetadata, committed: bool, tagged: bool) {
    let blob = direct.blob(&name("a"), &digest(cut)).await.unwrap();
    assert!(
        blob.is_some() || !committed,
        "{cut}: an acknowledged blob is gone"
    );
    let manifest = direct.manifest_by_tag(&name("a"), &tag("t")).await.unwrap();
    let here = manifest.is_some_and(|manifest| manifest.digest == digest(&format!("manifest {cut}")));
    assert!(here || !tagged, "{cut}: an acknowledged tag is gone");
    let by_digest = direct
        .manifest(&name("a"), &digest(&format!("manifest {cut}")))
        .await
        .unwrap();
    assert_eq!(by_digest.is_some(), here, "{cut}: a manifest without its tag");
    let moves = direct.tag_history(&name("a"), &tag("t"), 1000).await.unwrap();
    assert!(moves.windows(2).all(|pair| pair[0].from == pair[1].to), "{cut}");
}

/// A push of a blob and a manifest over a connection that ends at the first, second, … question, before or after the
/// server has seen it: no connection stays spoilt, and a push that is repeated goes through.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_at_any_question_is_whole_or_not_there() {
    let url = postgres::start_empty().await;
    let proxy = Proxy::before(&url).await;
    let direct = open(&url, Postgres::default()).await.unwrap();
    let rows = open(&proxy.url(), Postgres::default()).await.unwrap();
    let mut refused = 0;
    for when in [When::Before, When::After] {
        for n in 1.. {
            let cut = format!("{when:?} {n}");
            let before = proxy.cuts();
            proxy.set(Rule::Cut { n, when });
            let committed = rows.commit_blob(commit("a", &cut)).await;
            let mut tagged = Ok(());
            if committed.is_ok() {
                let put = image("a", &format!("manifest {cut}"), &["t"], &[&digest(&cut)]);
                tagged = rows.put_manifest(put).await;
            }
            let met = proxy.cuts() > before;
            proxy.set(Rule::Pass);
            for error in [committed.as_ref().err(), tagged.as_ref().err()]
                .into_iter()
                .flatten()
            {
                assert!(matches!(error, Error::Unavailable(_)), "{cut}: {error:?}");
                refused += 1;
            }
            verify_after(
                &cut,
                &direct,
                committed.is_ok(),
                committed.is_ok() && tagged.is_ok(),
            )
            .await;
            rows.commit_blob(commit("a", &cut)).await.unwrap();
            let put = image("a", &format!("manifest {cut}"), &["t"], &[&digest(&cut)]);
            rows.put_manifest(put).await.unwrap();
            verify_after(&cut, &direct, true, true).await;
            if !met {
                assert!(n > 10, "only {n} questions were asked");
                break;
            }
        }
    }
    // Those two whose commit was answered and lost; what was cut before is done again.
    assert!(refused >= 2, "no cut was ever seen");
}

/// Reads and pushes until it is told to stop; returns what was acknowledged, and how often it was refused.
async fn push_until(stop: Arc<AtomicBool>, rows: Arc<SqlMetadata>, writer: usize) -> (Vec<String>, usize) {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let content = format!("{writer} {number}");
        let result = async {
            rows.manifest_by_tag(&name("a"), &tag("t")).await?;
            rows.commit_blob(commit("a", &content)).await
        };
        match result.await {
            Ok(_) => acknowledged.push(content),
            Err(Error::Unavailable(_)) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    (acknowledged, refused)
}

/// The server crashes under many readers and writers: meanwhile they are told so, afterwards it goes on by itself, and
/// what was acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_is_served_from_again() {
    let server = Arc::new(tokio::task::spawn_blocking(Server::start).await.unwrap());
    let starting = Arc::clone(&server);
    let url = tokio::task::spawn_blocking(move || starting.fresh_database())
        .await
        .unwrap();
    let rows = Arc::new(open(&url, Postgres::default()).await.unwrap());
    rows.put_manifest(manifest("a", "manifest", &["t"]))
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(push_until(Arc::clone(&stop), Arc::clone(&rows), writer)))
        .collect();
    for _ in 0..3 {
        let crashing = Arc::clone(&server);
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::task::spawn_blocking(move || {
            crashing.crash();
            crashing.start_again();
        })
        .await
        .unwrap();
        // By itself: as soon as it is there, every connection that is lent is a good one.
        let begun = Instant::now();
        while rows.ping().await.is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it was not served again"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let reads =
            join_all((0..40).map(|_| async { rows.manifest_by_tag(&name("a"), &tag("t")).await })).await;
        assert!(
            reads.iter().all(Result::is_ok),
            "a dead connection was lent: {reads:?}"
        );
        push(&*rows, "b", "after the crash").await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut all, mut refused) = (0, 0);
    for writer in writers {
        let (acknowledged, failed) = writer.await.unwrap();
        for content in &acknowledged {
            let found = rows.blob(&name("a"), &digest(content)).await.unwrap();
            assert!(found.is_some(), "{content} was acknowledged and is gone");
        }
        all += acknowledged.len();
        refused += failed;
    }
    assert!(
        all > 0 && refused > 0,
        "{all} pushes went through, {refused} were refused"
    );
    rows.close().await;
}

/// A replica that starts while another one migrates waits for it, for longer than a statement may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_waits_for_the_migration_of_another_beyond_its_time_outs() {
    let url = postgres::start_empty().await;
    let (mut migrating, mut watcher) = (somebody(&url).await, somebody(&url).await);
    migrating
        .execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('wharf_schema', 0))")
        .await
        .unwrap();
    let settings = Postgres {
        lock_timeout: Duration::from_secs(1),
        ..hasty()
    };
    let (opened, ()) = futures_util::join!(open(&url, settings), async {
        waiting(&mut watcher, 1).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        migrating.execute("ROLLBACK").await.unwrap();
    });
    let rows = opened.unwrap();
    push(&rows, "a", "content").await;
    assert!(
        rows.claim_blob(&name("a"), &digest("content"), lease(0))
            .await
            .unwrap()
            .is_some()
    );
    migrating.close().await.unwrap();
}
