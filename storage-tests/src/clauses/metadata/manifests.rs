//! Manifests: bytes, references, preconditions, deletion.

use std::sync::Arc;

use wharf_protocol::digest::{Algorithm, Digest};
use wharf_registry::metadata::{Error, MountBlob, MountSource, Precondition};

use super::{at, digest, image, index, lease, manifest, name, push, tag};
use crate::backends::rows::RowsUnderTest;

/// The bytes, media type and digest are kept exactly, and found by digest and by each tag.
pub async fn a_manifest_reads_back_exactly(store: RowsUnderTest) {
    let rows = store.rows();
    let mut put = manifest("a/b", "{ \"odd\":  [1,\r\n 2]\u{0}}", &["one", "two"]);
    put.manifest.media_type = "application/vnd.example+json".to_owned();
    rows.put_manifest(put.clone()).await.unwrap();
    let by_digest = rows.manifest(&name("a/b"), &put.manifest.digest).await.unwrap();
    let expected = Some(Arc::new(put.manifest));
    assert_eq!(by_digest, expected);
    for name_of_tag in ["one", "two"] {
        assert_eq!(
            rows.manifest_by_tag(&name("a/b"), &tag(name_of_tag))
                .await
                .unwrap(),
            expected
        );
    }
    assert_eq!(
        rows.manifest_by_tag(&name("a/b"), &tag("three")).await.unwrap(),
        None
    );
    assert_eq!(rows.manifest_by_tag(&name("a"), &tag("one")).await.unwrap(), None);
    assert_eq!(rows.manifest(&name("a"), &digest("{}")).await.unwrap(), None);
}

/// A tag points at algorithm and digest: a SHA-512 manifest is found as one.
pub async fn a_tag_keeps_the_algorithm(store: RowsUnderTest) {
    let rows = store.rows();
    let mut put = manifest("a", "manifest", &["t"]);
    put.manifest.digest = Digest::of(Algorithm::Sha512, b"manifest");
    rows.put_manifest(put.clone()).await.unwrap();
    let found = rows
        .manifest_by_tag(&name("a"), &tag("t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest, put.manifest.digest);
    assert_eq!(
        rows.manifest(&name("a"), &digest("manifest")).await.unwrap(),
        None
    );
}

/// A manifest as large as the limits allow is kept.
pub async fn a_manifest_of_eight_mebibytes_is_kept(store: RowsUnderTest) {
    let rows = store.rows();
    let put = manifest("a", &"x".repeat(8 << 20), &["t"]);
    rows.put_manifest(put.clone()).await.unwrap();
    let found = rows
        .manifest_by_tag(&name("a"), &tag("t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.bytes, put.manifest.bytes);
}

/// Everything that is missing is reported at once, in the manifest's order, and nothing is kept.
pub async fn missing_references_are_reported_all_at_once(store: RowsUnderTest) {
    let rows = store.rows();
    let held = push(&*rows, "a", "held").await;
    let elsewhere = push(&*rows, "b", "elsewhere").await;
    let (missing, child) = (digest("missing"), digest("child"));
    let mut put = image("a", "manifest", &["t"], &[&missing, &held, &elsewhere, &missing]);
    put.references.children = vec![child.clone()];
    let refused = rows.put_manifest(put.clone()).await.unwrap_err();
    let Error::ReferencesMissing(reported) = refused else {
        panic!("{refused}");
    };
    assert_eq!(reported, [missing, elsewhere, child]);
    assert_eq!(
        rows.manifest(&name("a"), &put.manifest.digest).await.unwrap(),
        None
    );
    assert_eq!(rows.manifest_by_tag(&name("a"), &tag("t")).await.unwrap(), None);
    let refused = rows
        .put_manifest(image("new", "manifest", &[], &[&held]))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::ReferencesMissing(_)), "{refused}");
    let refused = rows.tags(&name("new"), None, 1).await.unwrap_err();
    assert!(
        matches!(refused, Error::RepositoryUnknown),
        "a refused push made a repository"
    );
}

/// Thousands of references are stored, more than a query has parameters.
pub async fn a_manifest_may_name_thousands(store: RowsUnderTest) {
    let rows = store.rows();
    let missing: Vec<Digest> = (0..4096).map(|number| digest(&number.to_string())).collect();
    let mut put = manifest("a", "manifest", &["t"]);
    put.references.blobs = missing.clone();
    let refused = rows.put_manifest(put.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::ReferencesMissing(reported) if reported == missing));
    put.references.blobs.clear();
    put.references.children = missing;
    put.sparse = true;
    rows.put_manifest(put).await.unwrap();
    assert!(
        rows.manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap()
            .is_some()
    );
}

/// An index needs its children in the same repository, unless it may be sparse. Its subject need not exist.
pub async fn an_index_needs_its_children_unless_sparse(store: RowsUnderTest) {
    let rows = store.rows();
    let child = manifest("a", "child", &[]);
    rows.put_manifest(manifest("b", "child", &[])).await.unwrap();
    let mut put = index(
        "a",
        "index",
        &["t"],
        &[&child.manifest.digest, &child.manifest.digest],
    );
    put.references.subject = Some(digest("subject"));
    let refused = rows.put_manifest(put.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::ReferencesMissing(missing) if *missing == [child.manifest.digest.clone()])
    );
    put.sparse = true;
    rows.put_manifest(put.clone()).await.unwrap();
    rows.put_manifest(child.clone()).await.unwrap();
    put.sparse = false;
    rows.put_manifest(put).await.unwrap();
    let second = index("a", "second index", &[], &[&child.manifest.digest]);
    rows.put_manifest(second.clone()).await.unwrap();
    rows.delete_manifest(
        &name("a"),
        &child.manifest.digest,
        Precondition::None,
        "alice",
        at(1),
    )
    .await
    .unwrap();
    let mut third = second;
    third.manifest.digest = digest("third index");
    let refused = rows.put_manifest(third).await.unwrap_err();
    assert!(matches!(refused, Error::ReferencesMissing(_)), "{refused}");
}

/// A sparse image may name blobs that its repository lacks. One that comes later, by a push or a mount, is named from
/// then on: it cannot be taken out of the repository, and is not collected.
pub async fn a_sparse_image_names_a_blob_from_when_it_comes(store: RowsUnderTest) {
    let rows = store.rows();
    let held = push(&*rows, "a", "held").await;
    let mounted = push(&*rows, "b", "elsewhere").await;
    let pushed = digest("pushed");
    let mut put = image("a", "manifest", &["t"], &[&pushed, &held, &mounted, &pushed]);
    put.sparse = true;
    rows.put_manifest(put.clone()).await.unwrap();
    assert!(rows.blob(&name("a"), &mounted).await.unwrap().is_none());
    // Nothing of it holds the other repository's blob.
    assert!(rows.unlink_blob(&name("b"), &mounted).await.unwrap());
    push(&*rows, "b", "elsewhere").await;

    push(&*rows, "a", "pushed").await;
    let mount = MountBlob {
        into: name("a"),
        from: MountSource::Repository(name("b")),
        digest: mounted.clone(),
        lease: lease(0),
    };
    rows.mount_blob(mount).await.unwrap().unwrap();
    for blob in [&held, &mounted, &pushed] {
        let refused = rows.unlink_blob(&name("a"), blob).await.unwrap_err();
        assert!(matches!(refused, Error::BlobInUse { .. }), "{refused}");
    }
    let long_after = at(30 * 86400);
    let condemned = rows
        .condemn_blobs(long_after, Some(std::time::Duration::ZERO), 100)
        .await
        .unwrap();
    assert_eq!(condemned, []);
    put.sparse = false;
    rows.put_manifest(put).await.unwrap();
}

/// A deleted image that comes back sparse names only those of its blobs that are still in the repository.
pub async fn a_sparse_image_that_comes_back_does_not_name_blobs_that_left(store: RowsUnderTest) {
    let rows = store.rows();
    let (stays, leaves) = (
        push(&*rows, "a", "stays").await,
        push(&*rows, "a", "leaves").await,
    );
    let mut put = image("a", "manifest", &["t"], &[&stays, &leaves]);
    rows.put_manifest(put.clone()).await.unwrap();
    let (repository, image) = (name("a"), put.manifest.digest.clone());
    rows.delete_manifest(&repository, &image, Precondition::None, "alice", at(1))
        .await
        .unwrap();
    assert!(rows.unlink_blob(&name("a"), &leaves).await.unwrap());
    put.sparse = true;
    rows.put_manifest(put).await.unwrap();
    assert!(!rows.unlink_blob(&name("a"), &leaves).await.unwrap());
    let refused = rows.unlink_blob(&name("a"), &stays).await.unwrap_err();
    assert!(matches!(refused, Error::BlobInUse { .. }), "{refused}");
    push(&*rows, "a", "leaves").await;
    let refused = rows.unlink_blob(&name("a"), &leaves).await.unwrap_err();
    assert!(matches!(refused, Error::BlobInUse { .. }), "{refused}");
}

/// What cosign's tags attach to a manifest is deleted with it, down to what is attached to that; a manifest that another
/// tag points at stays.
pub async fn what_is_attached_by_tag_goes_with_its_manifest(store: RowsUnderTest) {
    let rows = store.rows();
    let subject = manifest("a", "subject", &["t"]);
    let tag_of = |content: &str, attachment: &str| {
        format!("{}{attachment}", digest(content).as_str().replace(':', "-"))
    };
    let put = async |content: &str, tags: &[&str]| {
        rows.put_manifest(manifest("a", content, tags)).await.unwrap();
    };
    rows.put_manifest(subject.clone()).await.unwrap();
    put("signature", &[&tag_of("subject", ".sig")]).await;
    put("signed signature", &[&tag_of("signature", ".sig")]).await;
    put("attestation", &[&tag_of("subject", ".att"), "kept"]).await;
    put("sbom", &[&tag_of("subject", ".sbom")]).await;
    put("another's", &[&tag_of("another", ".sig")]).await;
    let delete = |tag_or_digest: Digest| {
        let rows = std::sync::Arc::clone(&rows);
        async move {
            let a = name("a");
            rows.delete_manifest(&a, &tag_or_digest, Precondition::None, "bob", at(1))
                .await
                .unwrap()
        }
    };
    assert!(delete(subject.manifest.digest).await);
    let left = rows.tags(&name("a"), None, 100).await.unwrap();
    assert_eq!(left.items, ["kept".to_owned(), tag_of("another", ".sig")]);
    for gone in ["subject", "signature", "signed signature", "sbom"] {
        assert!(
            rows.manifest(&name("a"), &digest(gone)).await.unwrap().is_none(),
            "{gone}"
        );
    }
    for kept in ["attestation", "another's"] {
        assert!(
            rows.manifest(&name("a"), &digest(kept)).await.unwrap().is_some(),
            "{kept}"
        );
    }
    let history = rows
        .tag_history(&name("a"), &tag(&tag_of("subject", ".sig")), 10)
        .await
        .unwrap();
    assert_eq!(
        history.first().map(|moved| (moved.to.clone(), moved.by.as_str())),
        Some((None, "bob"))
    );
}

/// A second push of a manifest changes its tags and nothing else.
pub async fn a_manifest_pushed_again_keeps_its_media_type(store: RowsUnderTest) {
    let rows = store.rows();
    let put = manifest("a", "manifest", &["one"]);
    rows.put_manifest(put.clone()).await.unwrap();
    let mut again = manifest("a", "manifest", &["two"]);
    again.manifest.media_type = "application/other".to_owned();
    rows.put_manifest(again).await.unwrap();
    for name_of_tag in ["one", "two"] {
        let found = rows
            .manifest_by_tag(&name("a"), &tag(name_of_tag))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.media_type, put.manifest.media_type);
    }
}

/// A deletion by digest takes the tags with it, and leaves what refers to the manifest; a push brings it back.
pub async fn a_deleted_manifest_is_gone_with_its_tags_until_pushed_again(store: RowsUnderTest) {
    let rows = store.rows();
    let put = manifest("a", "manifest", &["one", "two"]);
    let kept = manifest("a", "kept", &["three"]);
    rows.put_manifest(put.clone()).await.unwrap();
    rows.put_manifest(kept.clone()).await.unwrap();
    let of_it = index("a", "index", &["index"], &[&put.manifest.digest]);
    rows.put_manifest(of_it.clone()).await.unwrap();
    rows.put_manifest(manifest("b", "manifest", &["one"]))
        .await
        .unwrap();
    let delete = async || {
        let none = Precondition::None;
        rows.delete_manifest(&name("a"), &put.manifest.digest, none, "bob", at(1))
            .await
            .unwrap()
    };
    assert!(delete().await);
    assert!(!delete().await);
    assert_eq!(
        rows.manifest(&name("a"), &put.manifest.digest).await.unwrap(),
        None
    );
    assert_eq!(rows.manifest_by_tag(&name("a"), &tag("one")).await.unwrap(), None);
    assert_eq!(
        rows.tags(&name("a"), None, 10).await.unwrap().items,
        ["index", "three"]
    );
    assert!(
        rows.manifest(&name("a"), &of_it.manifest.digest)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        rows.manifest_by_tag(&name("b"), &tag("one"))
            .await
            .unwrap()
            .is_some()
    );

    let mut again = manifest("a", "manifest", &["one"]);
    again.manifest.media_type = "application/other".to_owned();
    rows.put_manifest(again.clone()).await.unwrap();
    assert_eq!(
        rows.manifest_by_tag(&name("a"), &tag("one")).await.unwrap(),
        Some(Arc::new(again.manifest))
    );
    assert_eq!(rows.manifest_by_tag(&name("a"), &tag("two")).await.unwrap(), None);
}

/// Each form of a precondition on a push with a tag.
pub async fn a_push_happens_only_if_its_precondition_holds(store: RowsUnderTest) {
    let rows = store.rows();
    let put = async |content: &str, precondition: Precondition| {
        let mut put = manifest("a", content, &["t"]);
        put.precondition = precondition;
        rows.put_manifest(put).await
    };
    let is = async |content: &str| {
        let found = rows.manifest_by_tag(&name("a"), &tag("t")).await.unwrap();
        assert_eq!(found.map(|found| found.digest.clone()), Some(digest(content)));
    };
    let refused = |result: Result<(), Error>, current: Option<&str>| match result {
        Err(Error::PreconditionFailed { current: found }) => assert_eq!(found, current.map(digest)),
        other => panic!("{other:?}"),
    };
    refused(put("1", Precondition::Exists).await, None);
    refused(put("1", Precondition::OneOf(vec![digest("1")])).await, None);
    put("1", Precondition::NoneOf(vec![digest("1")])).await.unwrap();
    refused(put("2", Precondition::Absent).await, Some("1"));
    refused(put("2", Precondition::NoneOf(vec![digest("1")])).await, Some("1"));
    refused(
        put("2", Precondition::OneOf(vec![digest("0"), digest("2")])).await,
        Some("1"),
    );
    is("1").await;
    assert_eq!(rows.manifest(&name("a"), &digest("2")).await.unwrap(), None);
    put("2", Precondition::OneOf(vec![digest("0"), digest("1")]))
        .await
        .unwrap();
    put("3", Precondition::Exists).await.unwrap();
    is("3").await;
    rows.delete_tag(&name("a"), &tag("t"), Precondition::None, "alice", at(1))
        .await
        .unwrap();
    put("4", Precondition::Absent).await.unwrap();
    is("4").await;
}

/// With several tags the precondition holds for all of them or nothing happens; without tags it is the manifest's.
pub async fn a_precondition_is_for_every_tag_or_for_the_manifest(store: RowsUnderTest) {
    let rows = store.rows();
    rows.put_manifest(manifest("a", "1", &["there"])).await.unwrap();
    let mut put = manifest("a", "2", &["new", "there"]);
    put.precondition = Precondition::Absent;
    let refused = rows.put_manifest(put).await.unwrap_err();
    assert!(matches!(refused, Error::PreconditionFailed { .. }), "{refused}");
    assert_eq!(rows.manifest_by_tag(&name("a"), &tag("new")).await.unwrap(), None);

    let mut put = manifest("a", "1", &[]);
    put.precondition = Precondition::Absent;
    let refused = rows.put_manifest(put).await.unwrap_err();
    assert!(
        matches!(refused, Error::PreconditionFailed { current: Some(_) }),
        "{refused}"
    );
    let mut put = manifest("a", "3", &[]);
    put.precondition = Precondition::Exists;
    let refused = rows.put_manifest(put.clone()).await.unwrap_err();
    assert!(
        matches!(refused, Error::PreconditionFailed { current: None }),
        "{refused}"
    );
    put.precondition = Precondition::Absent;
    rows.put_manifest(put).await.unwrap();
}

/// A deletion by digest has a precondition too.
pub async fn a_deletion_happens_only_if_its_precondition_holds(store: RowsUnderTest) {
    let rows = store.rows();
    rows.put_manifest(manifest("a", "1", &["t"])).await.unwrap();
    let delete = async |content: &str, precondition: Precondition| {
        rows.delete_manifest(&name("a"), &digest(content), precondition, "alice", at(1))
            .await
    };
    let refused = delete("1", Precondition::OneOf(vec![digest("2")]))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::PreconditionFailed { current: Some(_) }),
        "{refused}"
    );
    let refused = delete("2", Precondition::Exists).await.unwrap_err();
    assert!(
        matches!(refused, Error::PreconditionFailed { current: None }),
        "{refused}"
    );
    assert!(
        rows.manifest_by_tag(&name("a"), &tag("t"))
            .await
            .unwrap()
            .is_some()
    );
    assert!(delete("1", Precondition::OneOf(vec![digest("1")])).await.unwrap());
}

/// The precondition is told before the missing references: it costs the client less to learn.
pub async fn a_failed_precondition_comes_before_missing_references(store: RowsUnderTest) {
    let rows = store.rows();
    let mut put = image("a", "1", &["t"], &[&digest("missing")]);
    put.precondition = Precondition::Exists;
    let refused = rows.put_manifest(put).await.unwrap_err();
    assert!(matches!(refused, Error::PreconditionFailed { .. }), "{refused}");
}
