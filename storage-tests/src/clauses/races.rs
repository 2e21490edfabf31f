//! Writers at the same time, on as many replicas as there can be: the end is one that some order of them has.

use std::sync::Arc;

use futures_util::future::join_all;
use wharf_registry::metadata::{Error, Metadata, MountBlob, MountSource, Precondition};

use super::metadata::{at, claim, commit, digest, image, index, lease, manifest, name, push, session, tag};
use crate::backends::rows::RowsUnderTest;

const ROUNDS: usize = 15;

async fn replicas(store: &RowsUnderTest) -> [Arc<dyn Metadata>; 2] {
    [store.rows(), store.another().await]
}

/// Of writers that compare and swap one tag, one wins each round, and the history is an unbroken chain.
pub async fn two_writers_of_one_tag(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    let rows = &replicas[0];
    rows.put_manifest(manifest("a", "start", &["t"])).await.unwrap();
    for round in 0..ROUNDS {
        let current = rows
            .manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap()
            .unwrap()
            .digest
            .clone();
        let results = join_all((0..6).map(async |writer: usize| {
            let mut put = manifest("a", &format!("{round} {writer}"), &["t"]);
            put.precondition = Precondition::OneOf(vec![current.clone()]);
            replicas[writer % 2].put_manifest(put).await
        }))
        .await;
        let won: Vec<usize> = (0..6).filter(|writer| results[*writer].is_ok()).collect();
        assert_eq!(won.len(), 1, "round {round}: {results:?}");
        for refused in results.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, Error::PreconditionFailed { .. }), "{refused}");
        }
        let found = replicas[1]
            .manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.digest, digest(&format!("{round} {}", won[0])));
    }
    let history = rows.tag_history(&name("a"), &tag("t"), 1000).await.unwrap();
    assert_eq!(history.len(), ROUNDS + 1);
    assert!(history.windows(2).all(|pair| pair[0].from == pair[1].to));
}

/// Writers without a precondition all succeed, and the last move is where the tag points.
pub async fn writers_of_one_tag_without_a_precondition(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    for round in 0..ROUNDS {
        join_all((0..6).map(async |writer: usize| {
            replicas[writer % 2]
                .put_manifest(manifest("a", &format!("{round} {writer}"), &["t"]))
                .await
                .unwrap();
        }))
        .await;
    }
    let history = replicas[0]
        .tag_history(&name("a"), &tag("t"), 1000)
        .await
        .unwrap();
    assert_eq!(history.len(), ROUNDS * 6);
    assert!(history.windows(2).all(|pair| pair[0].from == pair[1].to));
    for replica in &replicas {
        let found = replica
            .manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(Some(&found.digest), history[0].to.as_ref());
    }
}

/// Several pushes of one new blob at once: one object is the blob's, every other one is dead, all repositories hold it.
pub async fn two_pushes_of_one_blob(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    for round in 0..ROUNDS {
        let content = format!("content {round}");
        let pushes: Vec<_> = (0..6)
            .map(|writer| commit(&format!("r{}", writer % 3), &content))
            .collect();
        let committed = join_all(
            pushes
                .iter()
                .enumerate()
                .map(async |(writer, push)| replicas[writer % 2].commit_blob(push.clone()).await.unwrap()),
        )
        .await;
        assert_eq!(
            committed.iter().filter(|committed| !committed.redundant).count(),
            1
        );
        for repository in ["r0", "r1", "r2"] {
            let found = replicas[1]
                .blob(&name(repository), &digest(&content))
                .await
                .unwrap()
                .unwrap();
            assert!(committed.iter().all(|committed| committed.blob == found));
        }
        let dead = replicas[0].dead_objects(at(0), 1000).await.unwrap();
        assert_eq!(dead.len(), (round + 1) * 5);
        assert!(
            dead.iter()
                .all(|dead| dead.object_key != committed[0].blob.object_key)
        );
    }
}

/// A manifest is pushed while its blob is deleted: either the push names what is missing or the deletion is refused.
pub async fn push_against_delete(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    let [rows, other] = &replicas;
    let mut outcomes = [0, 0];
    for round in 0..ROUNDS * 2 {
        let repository = format!("r{round}");
        let blob = push(&**rows, &repository, "content").await;
        let put = image(&repository, "manifest", &["t"], &[&blob]);
        let name = name(&repository);
        let (put, unlinked) = futures_util::join!(rows.put_manifest(put), other.unlink_blob(&name, &blob));
        let there = rows.blob(&name, &blob).await.unwrap().is_some();
        match (put, unlinked) {
            (Ok(()), Err(Error::BlobInUse { .. })) => {
                outcomes[0] += 1;
                assert!(there, "a manifest was stored and its blob is gone");
            }
            (Err(Error::ReferencesMissing(_)), Ok(true)) => {
                outcomes[1] += 1;
                assert!(!there);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(outcomes.iter().sum::<usize>(), ROUNDS * 2);
}

/// A blob is mounted while its source deletes it: if the mount answers that it is there, it is.
pub async fn mount_against_delete(store: RowsUnderTest) {
    let [rows, other] = replicas(&store).await;
    for round in 0..ROUNDS * 2 {
        let (from, into) = (name(&format!("from{round}")), name(&format!("into{round}")));
        let blob = push(&*rows, from.as_str(), &format!("content {round}")).await;
        let mount = MountBlob {
            into: into.clone(),
            from: MountSource::Repository(from.clone()),
            digest: blob.clone(),
            lease: lease(0),
        };
        let (mounted, unlinked, condemned) = futures_util::join!(
            rows.mount_blob(mount),
            other.unlink_blob(&from, &blob),
            other.condemn_blobs(at(1), None, 10)
        );
        assert!(unlinked.unwrap());
        assert_eq!(condemned.unwrap(), [], "a leased blob was condemned");
        let found = other.blob(&into, &blob).await.unwrap();
        assert_eq!(found, mounted.unwrap());
    }
}

/// A blob is pushed again, claimed and mounted while it is condemned: nobody is told of a blob that is gone.
pub async fn push_against_condemn(store: RowsUnderTest) {
    let [rows, other] = replicas(&store).await;
    let late = 1_000_000;
    for round in 0..ROUNDS * 2 {
        let content = format!("content {round}");
        let blob = push(&*rows, "a", &content).await;
        rows.unlink_blob(&name("a"), &blob).await.unwrap();
        let mut again = commit("b", &content);
        again.lease = lease(late);
        let (committed, condemned) =
            futures_util::join!(rows.commit_blob(again), other.condemn_blobs(at(late), None, 10));
        let (committed, condemned) = (committed.unwrap(), condemned.unwrap());
        assert_eq!(
            other.blob(&name("b"), &blob).await.unwrap(),
            Some(committed.blob.clone())
        );
        for gone in condemned {
            assert_ne!(gone.object_key, committed.blob.object_key);
            assert!(
                !rows.forget_blob(&gone).await.unwrap(),
                "the row of a pushed blob was forgotten"
            );
        }
        rows.unlink_blob(&name("b"), &blob).await.unwrap();
        rows.condemn_blobs(at(late + 1_000_000), None, 10).await.unwrap();
    }
}

/// An index is pushed while its child is deleted: a child that was there when the index came is reported or kept.
pub async fn index_against_delete_of_its_child(store: RowsUnderTest) {
    let [rows, other] = replicas(&store).await;
    for round in 0..ROUNDS {
        let repository = format!("r{round}");
        let child = manifest(&repository, "child", &[]);
        rows.put_manifest(child.clone()).await.unwrap();
        let put = index(&repository, "index", &["t"], &[&child.manifest.digest]);
        let name = name(&repository);
        let (put, deleted) = futures_util::join!(
            rows.put_manifest(put),
            other.delete_manifest(&name, &child.manifest.digest, Precondition::None, "bob", at(1))
        );
        assert!(deleted.unwrap());
        match put {
            Ok(()) | Err(Error::ReferencesMissing(_)) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(rows.manifest(&name, &child.manifest.digest).await.unwrap(), None);
    }
}

/// A tag is moved while what it points at is deleted: it points at what is there, or does not exist.
pub async fn tag_against_delete_of_its_manifest(store: RowsUnderTest) {
    let [rows, other] = replicas(&store).await;
    let (repository, one) = (name("a"), digest("one"));
    for _ in 0..ROUNDS {
        rows.put_manifest(manifest("a", "one", &["t"])).await.unwrap();
        let (put, deleted) = futures_util::join!(
            rows.put_manifest(manifest("a", "one", &["u"])),
            other.delete_manifest(&repository, &one, Precondition::None, "bob", at(1))
        );
        put.unwrap();
        deleted.unwrap();
        let there = rows.manifest(&repository, &one).await.unwrap();
        let tagged = other.manifest_by_tag(&repository, &tag("u")).await.unwrap();
        assert_eq!(there, tagged);
        assert_eq!(rows.manifest_by_tag(&repository, &tag("t")).await.unwrap(), None);
    }
}

/// Of writers that claim one session one gets it, and of commits of one session one happens.
pub async fn two_writers_of_one_session(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    for round in 0..ROUNDS {
        let id = format!("u{round}");
        replicas[0].begin_upload(session(&id, "a"), 100).await.unwrap();
        let repository = name("a");
        let claimed = join_all((0..6).map(async |writer: usize| {
            let claim = claim(&id, &writer.to_string());
            replicas[writer % 2]
                .claim_upload(&repository, &claim, at(0), at(60))
                .await
        }))
        .await;
        let won: Vec<usize> = (0..6).filter(|writer| claimed[*writer].is_ok()).collect();
        assert_eq!(won.len(), 1, "{claimed:?}");
        let committed = join_all((0..6).map(async |writer: usize| {
            let mut push = commit("a", &format!("content {round} {writer}"));
            push.upload = Some(claim(&id, &writer.to_string()));
            replicas[writer % 2].commit_blob(push).await
        }))
        .await;
        let done: Vec<usize> = (0..6).filter(|writer| committed[*writer].is_ok()).collect();
        assert_eq!(done, won);
    }
}

/// However many begin a session at once, no owner has more than the limit.
pub async fn sessions_begun_at_once_keep_the_limit(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    let begun = join_all((0..12).map(async |number: usize| {
        replicas[number % 2]
            .begin_upload(session(&number.to_string(), "a"), 5)
            .await
    }))
    .await;
    assert_eq!(begun.iter().filter(|begun| begun.is_ok()).count(), 5);
    assert_eq!(replicas[0].open_uploads("alice", at(1)).await.unwrap(), 5);
}

/// Repositories that come into being by many pushes at once are one each.
pub async fn first_pushes_into_one_repository(store: RowsUnderTest) {
    let replicas = replicas(&store).await;
    for round in 0..ROUNDS {
        let repository = format!("new{round}");
        join_all((0..6).map(async |writer: usize| {
            let content = format!("{round} {writer}");
            let blob = push(&*replicas[writer % 2], &repository, &content).await;
            let put = image(
                &repository,
                &format!("manifest {content}"),
                &[&format!("t{writer}")],
                &[&blob],
            );
            replicas[writer % 2].put_manifest(put).await.unwrap();
        }))
        .await;
        assert_eq!(
            replicas[0]
                .tags(&name(&repository), None, 10)
                .await
                .unwrap()
                .items
                .len(),
            6
        );
    }
}
