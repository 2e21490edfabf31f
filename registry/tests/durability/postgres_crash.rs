//! The PostgreSQL server crashes and comes back, under pushes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use storage_tests::backends::postgres::Server as Postgres;
use wharf_registry::config::DatabaseUrl;

use super::push::{Ledger, Registry, Stopped};
use super::server::Place;

/// Clients are told to come back later while it is away, the registry goes on by itself when it is there again, and
/// nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_postgresql_is_503_for_a_while_and_loses_nothing() {
    let postgres = Arc::new(tokio::task::spawn_blocking(Postgres::start).await.unwrap());
    let starting = Arc::clone(&postgres);
    let url = tokio::task::spawn_blocking(move || starting.fresh_database())
        .await
        .unwrap();
    let DatabaseUrl::Postgres(url) = url else {
        panic!("{url:?}")
    };
    let place = Place::plain().flags(["--database".to_owned(), url]);
    let server = place.start();
    let (registry, ledger) = (Registry::of(&server), Arc::new(Ledger::default()));
    ledger.push_image(&registry, 1).await.unwrap();

    // Away: refused with a time to come back, without a long wait.
    let crashing = Arc::clone(&postgres);
    tokio::task::spawn_blocking(move || crashing.crash())
        .await
        .unwrap();
    let begun = Instant::now();
    let answer = registry.tags_answer().await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("Retry-After"), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());

    // Pushes that repeat what was refused, until each has gone through, while it crashes again.
    let pushes: Vec<_> = (0..4)
        .map(|pusher| {
            let (registry, ledger) = (registry.clone(), Arc::clone(&ledger));
            tokio::spawn(async move {
                let mut refused = 0;
                for seed in 10 * (pusher + 1)..10 * (pusher + 1) + 5 {
                    while let Err(stopped) = ledger.push_image(&registry, seed).await {
                        // A session whose closing was committed and not answered is gone when it is closed again;
                        // such a push begins anew.
                        assert!(
                            [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND]
                                .map(Stopped::Refused)
                                .contains(&stopped),
                            "{stopped:?}"
                        );
                        refused += 1;
                        assert!(begun.elapsed() < Duration::from_secs(120), "{stopped:?}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                refused
            })
        })
        .collect();
    let crashing = Arc::clone(&postgres);
    tokio::task::spawn_blocking(move || {
        crashing.start_again();
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(300));
            crashing.crash();
            crashing.start_again();
        }
    })
    .await
    .unwrap();
    let mut refused = 0;
    for push in pushes {
        refused += push.await.unwrap();
    }
    assert!(refused > 0, "no push met the crashes");
    assert_eq!(ledger.acknowledged(), 21);
    ledger.verify(&registry).await;
}
