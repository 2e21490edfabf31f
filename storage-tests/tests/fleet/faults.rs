//! S3 that answers with errors, slowly or never, or is killed, while clients push; and comes back.

use std::sync::Arc;
use std::time::Duration;

use storage_tests::fleet::Fleet;
use storage_tests::fleet::door::Trouble;

use super::ledger::Ledger;
use super::pusher::Crowd;
use super::sweep;

const PUSHERS: u64 = 3;

/// What happens, and for how long.
const TROUBLES: [(Trouble, Duration); 5] = [
    (Trouble::Status(503), Duration::from_secs(2)),
    (Trouble::Status(500), Duration::from_secs(2)),
    (Trouble::StatusAfter(500), Duration::from_secs(2)),
    (
        Trouble::Slow {
            latency: Duration::from_millis(300),
            bytes_per_s: 20e6,
        },
        Duration::from_secs(4),
    ),
    (Trouble::Never, Duration::from_secs(4)),
];

fn make(fleet: &Fleet, trouble: Trouble) {
    for replica in &fleet.replicas {
        replica.door().make(trouble);
    }
}

/// Verifies that a push goes through, on every replica.
async fn takes_pushes(fleet: &Fleet, seed: u64) {
    for index in 0..fleet.replicas.len() {
        fleet
            .admin_at(index)
            .push_image("team/after", "1", seed + index as u64)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_that_answers_with_errors_slowly_or_never_loses_nothing_and_heals() {
    let mut fleet = Fleet::three().await;
    let ledger = Arc::new(Ledger::default());
    fleet.admin().push_image("team/before", "1", 1).await;
    for (round, (trouble, lasts)) in (0..).zip(TROUBLES) {
        let crowd = Crowd::of(PUSHERS, &fleet, &ledger);
        // Somebody pushes by now.
        fleet.replicas[0].door().wait_for(|_| true).await;
        make(&fleet, trouble);
        let over = tokio::time::Instant::now() + lasts;
        while tokio::time::Instant::now() < over {
            // What needs no bytes is served all the same, by every replica.
            let _ = fleet.admin().get("/v2/team/before/manifests/1").await.expect(200);
            let _ = fleet.admin().get("/healthz").await.expect(200);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        make(&fleet, Trouble::None);
        println!(
            "{trouble:?} for {lasts:?}: clients were told {:?}",
            crowd.go_home().await
        );
        takes_pushes(&fleet, 1000 + 10 * round).await;
    }
    println!("{}", ledger.summary());
    ledger.verify(&fleet).await;
    let mut rows = fleet.rows().await;
    // Each answer that was lost of a begin leaves one, and the begin is tried again.
    sweep::leaves_what_rows_name(&mut fleet, &mut rows, 50).await;
    ledger.verify(&fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_killed_and_started_again_under_load_loses_nothing() {
    let mut fleet = Fleet::three().await;
    let ledger = Arc::new(Ledger::default());
    let crowd = Crowd::of(PUSHERS, &fleet, &ledger);
    for round in 0..6 {
        fleet.replicas[round % 3].door().wait_for(|_| true).await;
        for replica in &fleet.replicas {
            replica.door().close();
        }
        tokio::time::sleep(Duration::from_millis(300 * (1 + round as u64 % 3))).await;
        for replica in &fleet.replicas {
            replica.door().reopen().await;
        }
    }
    println!("killed 6 times: clients were told {:?}", crowd.go_home().await);
    println!("{}", ledger.summary());
    takes_pushes(&fleet, 1000).await;
    ledger.verify(&fleet).await;
    let mut rows = fleet.rows().await;
    sweep::leaves_what_rows_name(&mut fleet, &mut rows, 10).await;
    ledger.verify(&fleet).await;
}
