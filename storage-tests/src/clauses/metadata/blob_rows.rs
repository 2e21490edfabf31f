//! Blobs: commits, leases, mounts, unlinks.

use std::time::Duration;

use wharf_registry::metadata::{Blob, Error, MountBlob, MountSource, Visible};

use super::{KEEP, at, claim, commit, digest, image, lease, name, pattern, push, session};
use crate::backends::rows::RowsUnderTest;

fn mount(into: &str, from: MountSource, content: &str) -> MountBlob {
    MountBlob {
        into: name(into),
        from,
        digest: digest(content),
        lease: lease(0),
    }
}

fn from(repository: &str) -> MountSource {
    MountSource::Repository(name(repository))
}

/// A committed blob is found in its repository, and in no other.
pub async fn a_committed_blob_is_held_by_its_repository_alone(store: RowsUnderTest) {
    let rows = store.rows();
    let pushed = commit("a/b", "content");
    let blob = Blob {
        digest: pushed.digest.clone(),
        object_key: pushed.object_key.clone(),
        size: 7,
    };
    let committed = rows.commit_blob(pushed).await.unwrap();
    assert!(!committed.redundant);
    assert_eq!(committed.blob, blob);
    assert_eq!(
        rows.blob(&name("a/b"), &blob.digest).await.unwrap(),
        Some(blob.clone())
    );
    assert_eq!(
        rows.claim_blob(&name("a/b"), &blob.digest, lease(0))
            .await
            .unwrap(),
        Some(blob.clone())
    );
    assert_eq!(rows.blob(&name("a"), &blob.digest).await.unwrap(), None);
    assert_eq!(
        rows.claim_blob(&name("a"), &blob.digest, lease(0)).await.unwrap(),
        None
    );
    assert_eq!(rows.blob(&name("a/b"), &digest("other")).await.unwrap(), None);
}

/// A second push of the same bytes keeps the first object; the second one is dead at once.
pub async fn the_second_push_of_the_same_bytes_is_redundant(store: RowsUnderTest) {
    let rows = store.rows();
    let first = commit("a", "content");
    let second = commit("b", "content");
    rows.commit_blob(first.clone()).await.unwrap();
    let committed = rows.commit_blob(second.clone()).await.unwrap();
    assert!(committed.redundant);
    assert_eq!(committed.blob.object_key, first.object_key);
    let found = rows.blob(&name("b"), &second.digest).await.unwrap().unwrap();
    assert_eq!(found.object_key, first.object_key);
    let dead = rows.dead_objects(at(0), 10).await.unwrap();
    assert_eq!(
        dead.iter()
            .map(|dead| dead.object_key.as_str())
            .collect::<Vec<_>>(),
        [second.object_key.as_str()]
    );
}

/// A commit that is done again, because its answer was lost, does not bury its own object.
pub async fn a_repeated_commit_keeps_its_object(store: RowsUnderTest) {
    let rows = store.rows();
    let pushed = commit("a", "content");
    rows.commit_blob(pushed.clone()).await.unwrap();
    let again = rows.commit_blob(pushed.clone()).await.unwrap();
    assert!(!again.redundant);
    assert_eq!(again.blob.object_key, pushed.object_key);
    assert_eq!(rows.dead_objects(at(0), 10).await.unwrap(), []);
}

/// The session ends with the commit; without the right to it nothing is committed.
pub async fn a_commit_ends_its_session_or_does_nothing(store: RowsUnderTest) {
    let rows = store.rows();
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    rows.claim_upload(&name("a"), &claim("u", "w"), at(0), at(60))
        .await
        .unwrap();
    let mut pushed = commit("a", "content");
    pushed.upload = Some(claim("u", "somebody else"));
    let refused = rows.commit_blob(pushed.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "{refused}");
    pushed.upload = Some(claim("other", "w"));
    let refused = rows.commit_blob(pushed.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::UploadUnknown), "{refused}");
    assert_eq!(rows.blob(&name("a"), &pushed.digest).await.unwrap(), None);

    pushed.upload = Some(claim("u", "w"));
    rows.commit_blob(pushed.clone()).await.unwrap();
    assert_eq!(rows.upload(&name("a"), "u", at(0)).await.unwrap(), None);
    assert!(rows.blob(&name("a"), &pushed.digest).await.unwrap().is_some());
    let refused = rows.commit_blob(pushed).await.unwrap_err();
    assert!(matches!(refused, Error::UploadUnknown), "{refused}");
}

/// A mount names its source or takes any that the caller may read; what the source does not hold is not mounted.
pub async fn a_mount_takes_what_its_source_holds(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "secret/app", "content").await;
    let visible = |patterns: &[&str]| {
        MountSource::Anywhere(Visible::Matching(
            patterns.iter().map(|text| pattern(text)).collect(),
        ))
    };
    for source in [
        from("other"),
        from("to"),
        visible(&[]),
        visible(&["public/**", "secret"]),
    ] {
        assert_eq!(
            rows.mount_blob(mount("to", source, "content")).await.unwrap(),
            None
        );
        assert_eq!(rows.blob(&name("to"), &blob).await.unwrap(), None);
    }
    assert_eq!(
        rows.mount_blob(mount("to", from("secret/app"), "other"))
            .await
            .unwrap(),
        None
    );
    let refused = rows.tags(&name("to"), None, 1).await.unwrap_err();
    assert!(
        matches!(refused, Error::RepositoryUnknown),
        "a mount of nothing made a repository"
    );

    for (into, source) in [
        ("one", from("secret/app")),
        ("two", visible(&["secret/*"])),
        ("three", MountSource::Anywhere(Visible::All)),
    ] {
        let mounted = rows
            .mount_blob(mount(into, source, "content"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(rows.blob(&name(into), &blob).await.unwrap(), Some(mounted));
    }
}

/// A blob that more repositories hold than are looked at is still found in one of the few that the caller may read, and
/// by a caller who may read all; what the caller may not read is not found.
pub async fn a_mount_from_anywhere_finds_the_callers_own_among_many_holders(store: RowsUnderTest) {
    let rows = store.rows();
    push(&*rows, "base/first", "content").await;
    let holders = (0..1000).map(|number| {
        let from = MountSource::Repository(name("base/first"));
        rows.mount_blob(mount(&format!("many/{number}"), from, "content"))
    });
    futures_util::future::try_join_all(holders).await.unwrap();
    push(&*rows, "zoe/own", "content").await;
    let may_read = |text: &str| MountSource::Anywhere(Visible::Matching(vec![pattern(text)]));
    for (into, from, found) in [
        ("new/all", MountSource::Anywhere(Visible::All), true),
        ("new/own", may_read("zoe/**"), true),
        ("new/none", may_read("yves/**"), false),
    ] {
        let mounted = rows.mount_blob(mount(into, from, "content")).await.unwrap();
        assert_eq!(mounted.is_some(), found, "{into}");
    }
}

/// Into a repository that holds the blob already it is mounted from anywhere.
pub async fn a_mount_into_a_holder_finds_the_blob(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "a", "content").await;
    let found = rows
        .mount_blob(mount("a", from("nowhere"), "content"))
        .await
        .unwrap();
    assert_eq!(found.map(|found| found.digest), Some(blob));
}

/// A blob is unlinked from one repository, unless a manifest of that repository names it.
pub async fn a_blob_in_use_is_not_unlinked(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "a", "content").await;
    push(&*rows, "b", "content").await;
    let put = image("a", "manifest", &["t"], &[&blob]);
    rows.put_manifest(put.clone()).await.unwrap();
    let refused = rows.unlink_blob(&name("a"), &blob).await.unwrap_err();
    let named = matches!(&refused, Error::BlobInUse { manifest } if *manifest == put.manifest.digest);
    assert!(named, "{refused}");

    assert!(rows.unlink_blob(&name("b"), &blob).await.unwrap());
    assert!(!rows.unlink_blob(&name("b"), &blob).await.unwrap());
    assert!(!rows.unlink_blob(&name("c"), &blob).await.unwrap());
    assert_eq!(rows.blob(&name("b"), &blob).await.unwrap(), None);
    assert!(rows.blob(&name("a"), &blob).await.unwrap().is_some());

    let digest = &put.manifest.digest;
    assert!(
        rows.delete_manifest(&name("a"), digest, put.precondition, "alice", at(1))
            .await
            .unwrap()
    );
    assert!(rows.unlink_blob(&name("a"), &blob).await.unwrap());
    assert_eq!(rows.blob(&name("a"), &blob).await.unwrap(), None);
}

/// Every answer that means «you need not upload this» keeps the blob for as long as it was asked to.
pub async fn a_lease_keeps_a_blob_that_nothing_names(store: RowsUnderTest) {
    let rows = store.rows();
    let seconds = i64::try_from(KEEP.as_secs()).unwrap();
    // What each call promised last, and the call.
    let condemned_at = async |seconds| rows.condemn_blobs(at(seconds), None, 10).await.unwrap().len();
    let blob = push(&*rows, "a", "content").await;
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    assert_eq!(condemned_at(seconds - 1).await, 0, "a commit");

    let mut pushed = commit("a", "content");
    pushed.lease = lease(3 * seconds);
    rows.commit_blob(pushed).await.unwrap();
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    assert_eq!(condemned_at(4 * seconds - 1).await, 0, "a second commit");

    push(&*rows, "a", "content").await;
    rows.claim_blob(&name("a"), &blob, lease(6 * seconds))
        .await
        .unwrap()
        .unwrap();
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    assert_eq!(condemned_at(7 * seconds - 1).await, 0, "a claim");

    push(&*rows, "a", "content").await;
    let mut again = mount("b", from("a"), "content");
    again.lease = lease(9 * seconds);
    rows.mount_blob(again).await.unwrap().unwrap();
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    rows.unlink_blob(&name("b"), &blob).await.unwrap();
    assert_eq!(condemned_at(10 * seconds - 1).await, 0, "a mount");

    assert_eq!(condemned_at(12 * seconds).await, 1, "the lease ends");
}

/// A claim that leaves the lease as it is finds one that goes far enough.
pub async fn claims_in_a_row_each_keep_their_promise(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "a", "content").await;
    let seconds = i64::try_from(KEEP.as_secs()).unwrap();
    let mut last = 0;
    for step in 1..20 {
        last = step * seconds / 4;
        rows.claim_blob(&name("a"), &blob, lease(last))
            .await
            .unwrap()
            .unwrap();
    }
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    assert_eq!(
        rows.condemn_blobs(at(last + seconds - 1), None, 10)
            .await
            .unwrap(),
        []
    );
    let later = at(last).plus(KEEP).plus(KEEP).plus(Duration::from_millis(1));
    assert_eq!(rows.condemn_blobs(later, None, 10).await.unwrap().len(), 1);
}
