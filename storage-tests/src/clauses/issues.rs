//! Mistakes that registries have made before, each as a clause.

use wharf_registry::metadata::{Precondition, SearchQuery, UploadProgress, Visible};

use super::metadata::{at, claim, commit, digest, image, lease, manifest, name, push, session, tag};
use crate::backends::rows::RowsUnderTest;

/// A database that sorts as people do and a page that goes on from the last name skip or repeat tags.
pub async fn pages_do_not_skip_tags_by_collation(store: RowsUnderTest) {
    let rows = store.rows();
    let tags = [
        "a", "A", "b", "B", "a-1", "a1", "a_1", "a.1", "A-2", "1", "10", "2", "v1", "V1", "v-1", "v.1",
    ];
    for text in tags {
        rows.put_manifest(manifest("a", text, &[text])).await.unwrap();
    }
    let mut sorted = tags.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = rows
            .tags(&name("a"), found.last().map(String::as_str), 1)
            .await
            .unwrap();
        found.extend(page.items);
        if !page.more {
            break;
        }
    }
    assert_eq!(found, sorted);
}

/// The same for repositories, whose separators a linguistic order ignores.
pub async fn pages_do_not_skip_repositories_by_collation(store: RowsUnderTest) {
    let rows = store.rows();
    let names = [
        "a-b", "a/b", "ab", "a.b", "a__b", "a-c", "a/c", "ac", "a/b-c", "a/bc",
    ];
    for text in names {
        rows.put_manifest(manifest(text, text, &["t"])).await.unwrap();
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = rows
            .catalog(&Visible::All, found.last().map(String::as_str), 1)
            .await
            .unwrap();
        found.extend(page.items);
        if !page.more {
            break;
        }
    }
    assert_eq!(found, sorted);
}

/// A HEAD that is answered from memory tells of a blob that was deleted since.
pub async fn existence_is_not_told_by_a_stale_cache(store: RowsUnderTest) {
    let (rows, other) = (store.rows(), store.another().await);
    for _ in 0..5 {
        let blob = push(&*rows, "a", "content").await;
        rows.put_manifest(manifest("a", "manifest", &["t"]))
            .await
            .unwrap();
        for replica in [&rows, &other] {
            assert!(
                replica
                    .claim_blob(&name("a"), &blob, lease(0))
                    .await
                    .unwrap()
                    .is_some()
            );
            assert!(replica.blob(&name("a"), &blob).await.unwrap().is_some());
            assert!(
                replica
                    .manifest_by_tag(&name("a"), &tag("t"))
                    .await
                    .unwrap()
                    .is_some()
            );
        }
        other.unlink_blob(&name("a"), &blob).await.unwrap();
        other
            .delete_tag(&name("a"), &tag("t"), Precondition::None, "alice", at(1))
            .await
            .unwrap();
        for replica in [&rows, &other] {
            assert!(
                replica
                    .claim_blob(&name("a"), &blob, lease(0))
                    .await
                    .unwrap()
                    .is_none()
            );
            assert!(replica.blob(&name("a"), &blob).await.unwrap().is_none());
            assert!(
                replica
                    .manifest_by_tag(&name("a"), &tag("t"))
                    .await
                    .unwrap()
                    .is_none()
            );
        }
    }
}

/// The empty blob is a blob like any other.
pub async fn a_blob_of_no_bytes_is_committed(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "a", "").await;
    assert_eq!(rows.blob(&name("a"), &blob).await.unwrap().unwrap().size, 0);
    rows.put_manifest(image("a", "manifest", &["t"], &[&blob, &blob]))
        .await
        .unwrap();
}

/// Deleting one tag of a manifest takes the others along.
pub async fn deleting_a_tag_leaves_its_siblings(store: RowsUnderTest) {
    let rows = store.rows();
    rows.put_manifest(manifest("a", "manifest", &["one", "two"]))
        .await
        .unwrap();
    rows.delete_tag(&name("a"), &tag("one"), Precondition::None, "alice", at(1))
        .await
        .unwrap();
    assert!(
        rows.manifest_by_tag(&name("a"), &tag("two"))
            .await
            .unwrap()
            .is_some()
    );
}

/// A blob of one repository is read through another one.
pub async fn a_blob_is_not_read_through_a_repository_that_does_not_hold_it(store: RowsUnderTest) {
    let rows = store.rows();
    let blob = push(&*rows, "private/app", "content").await;
    rows.put_manifest(manifest("public/app", "manifest", &["t"]))
        .await
        .unwrap();
    assert_eq!(rows.blob(&name("public/app"), &blob).await.unwrap(), None);
    let refused = rows
        .put_manifest(image("public/app", "second", &["t"], &[&blob]))
        .await;
    assert!(refused.is_err());
    let found = rows
        .manifest_by_tag(&name("public/app"), &tag("t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest, digest("manifest"));
}

/// A collector that runs between a push's HEAD and its manifest takes the blob from under it.
pub async fn collection_between_head_and_manifest_takes_nothing(store: RowsUnderTest) {
    let rows = store.rows();
    let old = 1_000_000;
    let blob = push(&*rows, "a", "content").await;
    assert!(
        rows.claim_blob(&name("a"), &blob, lease(old))
            .await
            .unwrap()
            .is_some()
    );
    let at_once = Some(std::time::Duration::ZERO);
    assert_eq!(rows.condemn_blobs(at(old + 1), at_once, 10).await.unwrap(), []);
    rows.put_manifest(image("a", "manifest", &["t"], &[&blob]))
        .await
        .unwrap();
    assert_eq!(rows.condemn_blobs(at(100 * old), at_once, 10).await.unwrap(), []);
    let mut again = commit("a", "content");
    again.lease = lease(old);
    assert!(rows.commit_blob(again).await.unwrap().redundant);
}

/// Tags that a linguistic order or a folding comparison takes for the same.
pub async fn tags_that_differ_by_case_are_different(store: RowsUnderTest) {
    let rows = store.rows();
    let names = ["V1", "_v1", "v1", "v1.0", "v1_0"];
    for text in names {
        rows.put_manifest(manifest("a", text, &[text])).await.unwrap();
    }
    assert_eq!(rows.tags(&name("a"), None, 10).await.unwrap().items, names);
    rows.delete_tag(&name("a"), &tag("v1"), Precondition::None, "alice", at(1))
        .await
        .unwrap();
    assert!(
        rows.manifest_by_tag(&name("a"), &tag("v1"))
            .await
            .unwrap()
            .is_none()
    );
    let found = rows.manifest_by_tag(&name("a"), &tag("V1")).await.unwrap();
    assert_eq!(found.unwrap().digest, digest("V1"));
}

/// `_` and `%` in a search match anything.
pub async fn what_a_search_asks_for_is_no_pattern(store: RowsUnderTest) {
    let rows = store.rows();
    for text in ["a_b", "a-b", "a/b"] {
        rows.put_manifest(manifest(text, text, &["t"])).await.unwrap();
    }
    let search = async |text: &str| {
        let query = SearchQuery {
            text: text.to_owned(),
            visible: Visible::All,
            offset: 0,
            limit: 10,
        };
        let page = rows.search(&query).await.unwrap();
        assert_eq!(page.total, u64::try_from(page.hits.len()).unwrap());
        page.hits.into_iter().map(|hit| hit.name).collect::<Vec<_>>()
    };
    assert_eq!(search("a_b").await, ["a_b"]);
    for text in ["%", "a%b", "^", "\\", "a__b", "'", "\"", "\u{0}a_b", "é"] {
        let expected: &[&str] = if text.starts_with('\0') {
            &["a-b", "a/b", "a_b"]
        } else {
            &[]
        };
        let mut found = search(text).await;
        found.sort();
        assert_eq!(found, expected, "{text:?}");
    }
}

/// An offset that does not fit into 32 bits, or is taken for one that does.
pub async fn an_upload_goes_on_past_four_gibibytes(store: RowsUnderTest) {
    let rows = store.rows();
    let mut from = 0;
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    for offset in [(1 << 31) - 1, 1 << 31, (1 << 32) + 1, 5 << 40] {
        let claim = claim("u", "writer");
        rows.claim_upload(&name("a"), &claim, at(0), at(60))
            .await
            .unwrap();
        let progress = UploadProgress {
            claim,
            from,
            offset,
            hash_state: None,
            staged: String::new(),
            now: at(0),
            hold: None,
            expires: at(3600),
        };
        rows.advance_upload(progress).await.unwrap();
        let found = store
            .another()
            .await
            .upload(&name("a"), "u", at(0))
            .await
            .unwrap();
        assert_eq!(found.unwrap().offset, offset);
        from = offset;
    }
    let mut huge = commit("a", "content");
    huge.size = 5 << 40;
    rows.commit_blob(huge).await.unwrap();
    let found = rows.blob(&name("a"), &digest("content")).await.unwrap().unwrap();
    assert_eq!(found.size, 5 << 40);
}

/// A replica that was asked for something before another one pushed it goes on answering that it is not there.
pub async fn what_was_absent_is_not_remembered(store: RowsUnderTest) {
    let (rows, other) = (store.rows(), store.another().await);
    for round in 0..5 {
        let content = format!("content {round}");
        let (blob, tag) = (digest(&content), tag(&format!("t{round}")));
        for _ in 0..2 {
            assert!(other.blob(&name("a"), &blob).await.unwrap().is_none());
            let by_tag = other.manifest_by_tag(&name("a"), &tag).await.unwrap();
            assert!(by_tag.is_none());
        }
        push(&*rows, "a", &content).await;
        rows.put_manifest(image("a", &content, &[tag.as_str()], &[&blob]))
            .await
            .unwrap();
        assert!(other.blob(&name("a"), &blob).await.unwrap().is_some());
        let by_tag = other.manifest_by_tag(&name("a"), &tag).await.unwrap();
        assert_eq!(by_tag.unwrap().digest, blob);
        assert!(other.manifest(&name("a"), &blob).await.unwrap().is_some());
    }
}

/// A page of nothing, or from behind the last name, ends the server's work or the client's loop.
pub async fn an_empty_page_is_an_answer(store: RowsUnderTest) {
    let rows = store.rows();
    let empty = rows.catalog(&Visible::All, None, 10).await.unwrap();
    assert_eq!((empty.items.len(), empty.more), (0, false));
    rows.put_manifest(manifest("a", "manifest", &["t"]))
        .await
        .unwrap();
    let behind = rows.tags(&name("a"), Some("t"), 10).await.unwrap();
    assert_eq!((behind.items.len(), behind.more), (0, false));
    let behind = rows.catalog(&Visible::All, Some("zzz"), 10).await.unwrap();
    assert_eq!((behind.items.len(), behind.more), (0, false));
    let nothing = rows.tags(&name("a"), None, 0).await.unwrap();
    assert_eq!((nothing.items.len(), nothing.more), (0, true));
    let nothing = rows.catalog(&Visible::All, None, 0).await.unwrap();
    assert_eq!((nothing.items.len(), nothing.more), (0, true));
}
