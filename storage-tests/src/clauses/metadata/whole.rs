//! What holds for all methods together.

use wharf_registry::metadata::{Error, Precondition};

use super::{at, digest, image, lease, manifest, name, push, tag, user};
use crate::backends::rows::RowsUnderTest;

/// What was answered is there after a restart.
pub async fn what_was_answered_survives_a_restart(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "a", "content").await;
    rows.put_manifest(image("a", "manifest", &["t"], &[&blob]))
        .await
        .unwrap();
    rows.add_user(user("alice"), at(0)).await.unwrap();
    let rows = store.restarted().await;
    assert!(rows.blob(&name("a"), &blob).await.unwrap().is_some());
    let found = rows
        .manifest_by_tag(&name("a"), &tag("t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest, digest("manifest"));
    assert!(rows.user("alice").await.unwrap().is_some());
    rows.ping().await.unwrap();
}

/// A call after the end is refused, not left waiting.
pub async fn a_closed_store_refuses(store: RowsUnderTest) {
    let rows = store.rows();
    rows.ping().await.unwrap();
    rows.close().await;
    rows.close().await;
    let refused = rows.ping().await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    let refused = rows
        .put_manifest(manifest("a", "manifest", &[]))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
}

/// A write is finished though its caller has gone.
pub async fn a_write_runs_to_its_end_without_its_caller(store: RowsUnderTest) {
    let rows = store.rows();
    // Asked once, to be remembered as absent if anything is.
    assert_eq!(
        rows.manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap_or_default(),
        None
    );
    for round in 0..20 {
        let content = format!("manifest {round}");
        let put = rows.put_manifest(manifest("a", &content, &["t"]));
        // The first poll starts it, and then nobody waits for it.
        let _unfinished = futures_util::future::select(put, std::future::ready(())).await;
        let begin = std::time::Instant::now();
        loop {
            let found = rows.manifest_by_tag(&name("a"), &tag("t")).await.unwrap();
            if found.is_some_and(|found| found.digest == digest(&content)) {
                break;
            }
            assert!(begin.elapsed().as_secs() < 10, "round {round} was lost");
            tokio::task::yield_now().await;
        }
    }
}

/// Each replica sees what another answered, also of what it has remembered.
pub async fn replicas_see_each_others_writes(store: RowsUnderTest) {
    let (rows, other) = (store.rows(), store.another().await);
    let blob = push(&*rows, "a", "content").await;
    for content in ["one", "two", "three"] {
        rows.put_manifest(image("a", content, &["t"], &[&blob]))
            .await
            .unwrap();
        for replica in [&rows, &other, &other] {
            let found = replica
                .manifest_by_tag(&name("a"), &tag("t"))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(found.digest, digest(content));
            assert!(
                replica
                    .manifest(&name("a"), &digest(content))
                    .await
                    .unwrap()
                    .is_some()
            );
            assert!(replica.blob(&name("a"), &blob).await.unwrap().is_some());
        }
    }
    for content in ["one", "two", "three"] {
        rows.delete_manifest(&name("a"), &digest(content), Precondition::None, "alice", at(1))
            .await
            .unwrap();
        assert_eq!(other.manifest(&name("a"), &digest(content)).await.unwrap(), None);
    }
    assert_eq!(other.manifest_by_tag(&name("a"), &tag("t")).await.unwrap(), None);
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    assert_eq!(other.blob(&name("a"), &blob).await.unwrap(), None);
    assert_eq!(other.claim_blob(&name("a"), &blob, lease(0)).await.unwrap(), None);
}

/// What a command changes beside the server is seen by it within two seconds, also what it remembers.
pub async fn a_command_beside_the_server_is_seen(store: RowsUnderTest) {
    let (rows, command) = (store.rows(), store.command().await);
    rows.put_manifest(manifest("a", "manifest", &["t"]))
        .await
        .unwrap();
    assert!(
        rows.manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap()
            .is_some()
    );
    command
        .delete_tag(&name("a"), &tag("t"), Precondition::None, "alice", at(1))
        .await
        .unwrap();
    let begin = std::time::Instant::now();
    while rows
        .manifest_by_tag(&name("a"), &tag("t"))
        .await
        .unwrap()
        .is_some()
    {
        assert!(begin.elapsed().as_secs() < 2, "the deleted tag is still there");
        tokio::task::yield_now().await;
    }
}
