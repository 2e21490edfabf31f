//! The server is killed at every point of a push in turn.

use std::process::Command;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::push::{Ledger, Registry};
use super::server::Place;
use super::tracer::{Plan, Traced};

/// More points than a push has; so many would mean that it never completes.
const MOST_POINTS: usize = 2000;

/// How many points are tried at once, each with a server of its own.
const AT_ONCE: usize = 4;

/// An image is pushed (a blob at once, one in pieces, a manifest) and the server killed right before its first,
/// second, … change of the disk, until the push completes. Each time a new server must hold all that was acknowledged
/// and nothing that is not whole, and the same push must then go through.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_kill_at_any_point_of_a_push_loses_nothing_acknowledged() {
    let template = Arc::new(Place::plain());
    let server = template.start();
    let first = Arc::new(Ledger::default());
    first.push_image(&Registry::of(&server), 0).await.unwrap();
    server.kill();
    let mut outcomes = stream::iter(1..=MOST_POINTS)
        .map(|point| {
            let (template, first) = (Arc::clone(&template), Arc::clone(&first));
            let tried = tokio::spawn(async move { push_killed_at(point, &template, &first).await });
            async move { (point, tried.await.unwrap()) }
        })
        .buffered(AT_ONCE);
    while let Some((point, completed)) = outcomes.next().await {
        if completed {
            assert!(point > 30, "a push has more than {point} points");
            return;
        }
    }
    panic!("the push never completed");
}

/// Tries one point; returns whether the push completed before it.
async fn push_killed_at(point: usize, template: &Place, first: &Ledger) -> bool {
    let place = Place::plain();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(template.disk())
        .arg(place.folder())
        .status()
        .unwrap();
    assert!(copied.success());
    let server = place.start();
    let traced = Traced::attach(server.id(), Plan::KillAt(point));
    let ledger = Ledger::default();
    let completed = ledger
        .push_image(&Registry::of(&server), point as u64)
        .await
        .is_ok();
    server.kill();
    let passed = traced.join();
    assert!(
        completed || passed >= point,
        "the push failed after {passed} points without being killed"
    );

    let server = place.start();
    let registry = Registry::of(&server);
    ledger.verify_beside(first, &registry).await;
    ledger
        .push_image(&registry, point as u64)
        .await
        .unwrap_or_else(|stopped| {
            panic!(
                "after a kill at point {point} the push is {stopped:?}: {}",
                server.log()
            )
        });
    ledger.verify_beside(first, &registry).await;
    completed
}
