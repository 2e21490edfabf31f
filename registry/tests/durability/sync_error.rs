//! The disk fails to sync.

use reqwest::StatusCode;
use storage_tests::content::content;

use super::push::{Ledger, Registry, Stopped};
use super::server::Place;
use super::tracer::{Plan, Traced};

/// The same where the database's log is what fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_the_database_acknowledges_nothing_and_stops_writes() {
    let place = Place::plain();
    let server = place.start();
    let (registry, ledger) = (Registry::of(&server), Ledger::default());
    ledger.push_image(&registry, 1).await.unwrap();
    let log = place.disk().join("registry.db-wal");
    assert!(log.is_file());
    let traced = Traced::attach(server.id(), Plan::FailSyncsUnder(log));
    let late = Ledger::default();
    for seed in 2..5 {
        let Err(Stopped::Refused(status)) = late.push_image(&registry, seed).await else {
            panic!("a push was acknowledged though the rows' log could not be synced")
        };
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(
        server.log().contains("the disk failed: writing stops"),
        "{}",
        server.log()
    );
    ledger.verify_beside(&late, &registry).await;
    server.kill();
    traced.join();
    // What was refused may be there after a restart, since the kernel may have kept it: whole, or not at all.
    let server = place.start();
    let registry = Registry::of(&server);
    ledger.verify_beside(&late, &registry).await;
    for seed in 2..5 {
        late.push_image(&registry, seed).await.unwrap();
    }
    ledger.verify_beside(&late, &registry).await;
}

/// After a failed sync no push is acknowledged any more, since the kernel may have dropped what it could not write;
/// what was there is still read. A restart ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_stops_writes_and_not_reads() {
    let place = Place::plain();
    let server = place.start();
    let (registry, ledger) = (Registry::of(&server), Ledger::default());
    ledger.push_image(&registry, 1).await.unwrap();
    let storage = place.disk().join("storage");
    assert!(storage.is_dir());
    let traced = Traced::attach(server.id(), Plan::FailSyncsUnder(storage));
    let bytes = content(2, 100_000);
    for _ in 0..2 {
        for outcome in [
            registry.put_blob(&bytes).await,
            registry.put_blob_in_pieces(&bytes).await,
        ] {
            let Err(Stopped::Refused(status)) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    assert_eq!(registry.blob(&bytes).await, None);
    ledger.verify(&registry).await;
    assert!(
        server.log().contains("no more writes until a restart"),
        "{}",
        server.log()
    );
    server.kill();
    traced.join();
    let server = place.start();
    let registry = Registry::of(&server);
    ledger.verify(&registry).await;
    registry.put_blob(&bytes).await.unwrap();
    ledger.push_image(&registry, 3).await.unwrap();
    ledger.verify(&registry).await;
}
