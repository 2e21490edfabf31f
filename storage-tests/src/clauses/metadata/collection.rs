//! Condemned blobs and dead objects.

use std::time::Duration;

use wharf_protocol::digest::Digest;
use wharf_registry::metadata::{
    CondemnedBlob, Error, Metadata, MountBlob, MountSource, Precondition, Visible,
};

use super::{KEEP, at, commit, digest, image, lease, name, push};
use crate::backends::rows::RowsUnderTest;

/// A moment at which every lease of the samples has ended.
const LATE: i64 = 1_000_000;

async fn condemn(rows: &dyn Metadata, unlinked_after: Option<Duration>) -> Vec<CondemnedBlob> {
    rows.condemn_blobs(at(LATE), unlinked_after, 100).await.unwrap()
}

/// Pushes a blob that nothing keeps but its lease.
async fn leave(rows: &dyn Metadata, content: &str) {
    let blob = push(rows, "a", content).await;
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
}

/// What a repository holds or a manifest names is not condemned, nor what a lease keeps.
pub async fn what_is_held_named_or_leased_is_not_condemned(store: RowsUnderTest) {
    let rows = store.rows();
    push(&*rows, "a", "held").await;
    let named = push(&*rows, "a", "named").await;
    rows.put_manifest(image("a", "manifest", &["t"], &[&named]))
        .await
        .unwrap();
    let mut leased = commit("a", "leased");
    leased.lease = lease(LATE);
    rows.commit_blob(leased.clone()).await.unwrap();
    rows.unlink_blob(&name("a"), &leased.digest).await.unwrap();
    leave(&*rows, "left").await;
    let condemned = condemn(&*rows, None).await;
    assert_eq!(condemned.len(), 1);
    assert_eq!(
        (
            condemned[0].digest.clone(),
            condemned[0].size,
            condemned[0].generation
        ),
        (digest("left"), 4, 1)
    );
    assert_eq!(condemn(&*rows, None).await, []);
}

/// What was pushed and never named is let go of after a time, and only then.
pub async fn what_was_never_used_is_unlinked_after_a_time(store: RowsUnderTest) {
    let rows = store.rows();
    let unused = push(&*rows, "a", "unused").await;
    let used = push(&*rows, "a", "used").await;
    push(&*rows, "b", "used").await;
    rows.put_manifest(image("a", "manifest", &["t"], &[&used]))
        .await
        .unwrap();
    assert!(rows.blob(&name("a"), &unused).await.unwrap().is_some());
    let too_long = Duration::from_secs(u64::try_from(LATE).unwrap());
    assert_eq!(condemn(&*rows, Some(too_long)).await, []);
    let condemned = condemn(&*rows, Some(Duration::from_secs(1))).await;
    let condemned: Vec<&Digest> = condemned.iter().map(|blob| &blob.digest).collect();
    assert_eq!(condemned, [&unused]);
    assert_eq!(rows.blob(&name("a"), &unused).await.unwrap(), None);
    assert!(rows.blob(&name("a"), &used).await.unwrap().is_some());
    assert_eq!(rows.blob(&name("b"), &used).await.unwrap(), None);
}

/// A deleted manifest keeps its blobs until it is forgotten.
pub async fn a_deleted_manifest_names_its_blobs_until_forgotten(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "a", "content").await;
    let put = image("a", "manifest", &["t"], &[&blob]);
    rows.put_manifest(put.clone()).await.unwrap();
    let manifest = &put.manifest.digest;
    rows.delete_manifest(&name("a"), manifest, Precondition::None, "alice", at(10))
        .await
        .unwrap();
    rows.unlink_blob(&name("a"), &blob).await.unwrap();
    assert_eq!(condemn(&*rows, None).await, []);
    assert_eq!(rows.forget_deleted_manifests(at(9), 10).await.unwrap(), 0);
    assert_eq!(rows.forget_deleted_manifests(at(10), 10).await.unwrap(), 1);
    assert_eq!(rows.forget_deleted_manifests(at(10), 10).await.unwrap(), 0);
    assert_eq!(condemn(&*rows, None).await.len(), 1);
    let mut again = put;
    again.references.blobs.clear();
    rows.put_manifest(again).await.unwrap();
}

/// For everybody else a condemned blob does not exist.
pub async fn a_condemned_blob_does_not_exist(store: RowsUnderTest) {
    let rows = store.rows();
    leave(&*rows, "content").await;
    let blob = digest("content");
    assert_eq!(condemn(&*rows, None).await.len(), 1);
    assert_eq!(rows.blob(&name("a"), &blob).await.unwrap(), None);
    assert_eq!(
        rows.claim_blob(&name("a"), &blob, lease(LATE)).await.unwrap(),
        None
    );
    for from in [
        MountSource::Repository(name("a")),
        MountSource::Anywhere(Visible::All),
    ] {
        let mount = MountBlob {
            into: name("b"),
            from,
            digest: blob.clone(),
            lease: lease(LATE),
        };
        assert_eq!(rows.mount_blob(mount).await.unwrap(), None);
    }
    assert!(!rows.unlink_blob(&name("a"), &blob).await.unwrap());
    let refused = rows
        .put_manifest(image("a", "manifest", &[], &[&blob]))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::ReferencesMissing(_)), "{refused}");
}

/// A push of a condemned blob makes a new object; the late deletion of the old one's row does nothing.
pub async fn a_push_of_a_condemned_blob_is_a_new_object(store: RowsUnderTest) {
    let rows = store.rows();
    leave(&*rows, "content").await;
    let old = condemn(&*rows, None).await.remove(0);
    let mut pushed = commit("a", "content");
    pushed.lease = lease(LATE);
    let committed = rows.commit_blob(pushed.clone()).await.unwrap();
    assert!(!committed.redundant);
    assert_eq!(committed.blob.object_key, pushed.object_key);
    assert_ne!(pushed.object_key, old.object_key);
    assert!(!rows.forget_blob(&old).await.unwrap());
    let found = rows.blob(&name("a"), &pushed.digest).await.unwrap().unwrap();
    assert_eq!(found.object_key, pushed.object_key);
    assert_eq!(rows.condemned_blobs(at(2 * LATE), 10).await.unwrap(), []);
    let dead = rows.dead_objects(at(LATE), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].object_key.as_str(), dead[0].since),
        (old.object_key.as_str(), at(LATE))
    );

    rows.unlink_blob(&name("a"), &pushed.digest).await.unwrap();
    let later = rows.condemn_blobs(at(2 * LATE), None, 10).await.unwrap();
    assert_eq!(later[0].generation, old.generation + 1);
}

/// A condemned blob is listed until it is forgotten, the oldest first.
pub async fn condemned_blobs_are_listed_until_forgotten(store: RowsUnderTest) {
    let rows = store.rows();
    let seconds = i64::try_from(KEEP.as_secs()).unwrap();
    leave(&*rows, "first").await;
    let first = rows.condemn_blobs(at(2 * seconds), None, 10).await.unwrap();
    leave(&*rows, "second").await;
    let second = rows.condemn_blobs(at(3 * seconds), None, 10).await.unwrap();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(
        rows.condemned_blobs(at(3 * seconds - 1), 10).await.unwrap(),
        first
    );
    assert_eq!(
        rows.condemned_blobs(at(3 * seconds), 10).await.unwrap(),
        [first.clone(), second.clone()].concat()
    );
    assert_eq!(rows.condemned_blobs(at(3 * seconds), 1).await.unwrap(), first);
    assert!(rows.forget_blob(&first[0]).await.unwrap());
    assert!(!rows.forget_blob(&first[0]).await.unwrap());
    assert_eq!(rows.condemned_blobs(at(3 * seconds), 10).await.unwrap(), second);
    rows.commit_blob(commit("a", "first")).await.unwrap();
    assert!(rows.blob(&name("a"), &digest("first")).await.unwrap().is_some());
}

/// The number that is condemned at once is limited.
pub async fn condemning_goes_in_batches(store: RowsUnderTest) {
    let rows = store.rows();
    for number in 0..5 {
        leave(&*rows, &number.to_string()).await;
    }
    for expected in [2, 2, 1, 0] {
        assert_eq!(
            rows.condemn_blobs(at(LATE), None, 2).await.unwrap().len(),
            expected
        );
    }
}

/// Dead objects are listed until forgotten, the oldest first.
pub async fn dead_objects_are_listed_until_forgotten(store: RowsUnderTest) {
    let rows = store.rows();
    for (key, seconds) in [("blobs/2", 2), ("blobs/1", 1), ("blobs/1", 5), ("blobs/3", 3)] {
        rows.add_dead_object(key, at(seconds)).await.unwrap();
    }
    let keys = async |seconds, limit| {
        let dead = rows.dead_objects(at(seconds), limit).await.unwrap();
        dead.into_iter().map(|dead| dead.object_key).collect::<Vec<_>>()
    };
    assert_eq!(keys(2, 10).await, ["blobs/1", "blobs/2"]);
    assert_eq!(keys(9, 2).await, ["blobs/1", "blobs/2"]);
    rows.forget_object("blobs/1").await.unwrap();
    rows.forget_object("blobs/1").await.unwrap();
    assert_eq!(keys(9, 10).await, ["blobs/2", "blobs/3"]);
}
