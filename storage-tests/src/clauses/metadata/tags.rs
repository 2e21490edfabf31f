//! Tags: listing, deletion, history.

use wharf_registry::metadata::{Error, Precondition};

use super::{at, digest, manifest, name, push, tag};
use crate::backends::rows::RowsUnderTest;

/// Pages in byte order, from after a tag that need not exist.
pub async fn tags_are_listed_in_byte_order_in_pages(store: RowsUnderTest) {
    let rows = store.rows();
    let sorted = ["1.0", "1.0-rc", "1.0.1", "1_0", "A", "Z", "_", "a", "aa", "b"];
    rows.put_manifest(manifest(
        "a",
        "manifest",
        &["b", "a", "Z", "A", "_", "1_0", "1.0.1", "1.0", "1.0-rc", "aa"],
    ))
    .await
    .unwrap();
    let mut sorted: Vec<&str> = sorted.to_vec();
    sorted.sort_unstable();
    for limit in [1, 3, 9, 10, 11] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = rows
                .tags(&name("a"), found.last().map(String::as_str), limit)
                .await
                .unwrap();
            assert!(page.items.len() <= usize::try_from(limit).unwrap());
            found.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, sorted, "{limit} at a time");
    }
    for (after, first) in [
        ("B", "Z"),
        ("1.0.0", "1.0.1"),
        ("\u{0}", "1.0"),
        ("1.0\u{0}z", "1.0-rc"),
        ("aa", "b"),
    ] {
        let page = rows.tags(&name("a"), Some(after), 1).await.unwrap();
        assert_eq!(page.items, [first], "after {after:?}");
    }
    let page = rows.tags(&name("a"), Some("ä"), 10).await.unwrap();
    assert_eq!(page.items, [""; 0]);
    let page = rows.tags(&name("a"), None, 0).await.unwrap();
    assert!(page.items.is_empty() && page.more);
}

/// A repository that never held anything is unknown; one that lost its tags is not.
pub async fn an_unknown_repository_is_told_from_one_without_tags(store: RowsUnderTest) {
    let rows = store.rows();
    let refused = rows.tags(&name("a"), None, 10).await.unwrap_err();
    assert!(matches!(refused, Error::RepositoryUnknown), "{refused}");
    push(&*rows, "a", "content").await;
    assert_eq!(rows.tags(&name("a"), None, 10).await.unwrap().items, [""; 0]);
}

/// A tag is deleted alone: the manifest and its other tags stay.
pub async fn a_tag_is_deleted_alone(store: RowsUnderTest) {
    let rows = store.rows();
    rows.put_manifest(manifest("a", "manifest", &["one", "two"]))
        .await
        .unwrap();
    let delete = async |text: &str, precondition| {
        rows.delete_tag(&name("a"), &tag(text), precondition, "alice", at(1))
            .await
    };
    assert!(delete("one", Precondition::None).await.unwrap());
    assert!(!delete("one", Precondition::None).await.unwrap());
    assert!(
        !rows
            .delete_tag(&name("b"), &tag("one"), Precondition::None, "alice", at(1))
            .await
            .unwrap()
    );
    assert_eq!(rows.manifest_by_tag(&name("a"), &tag("one")).await.unwrap(), None);
    assert!(
        rows.manifest_by_tag(&name("a"), &tag("two"))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        rows.manifest(&name("a"), &digest("manifest"))
            .await
            .unwrap()
            .is_some()
    );

    let refused = delete("one", Precondition::Exists).await.unwrap_err();
    assert!(
        matches!(refused, Error::PreconditionFailed { current: None }),
        "{refused}"
    );
    let refused = delete("two", Precondition::OneOf(vec![digest("other")]))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::PreconditionFailed { current: Some(_) }),
        "{refused}"
    );
    assert!(
        delete("two", Precondition::OneOf(vec![digest("manifest")]))
            .await
            .unwrap()
    );
}

/// Every move of a tag is a row of its history, with who and when; a push of what it points at is none.
pub async fn every_move_of_a_tag_is_kept(store: RowsUnderTest) {
    let rows = store.rows();
    let put = async |content: &str, seconds: i64| {
        let mut put = manifest("a", content, &["t"]);
        put.now = at(seconds);
        rows.put_manifest(put).await.unwrap();
    };
    put("1", 1).await;
    put("1", 2).await;
    put("2", 3).await;
    rows.delete_tag(&name("a"), &tag("t"), Precondition::None, "bob", at(4))
        .await
        .unwrap();
    put("1", 5).await;
    rows.delete_manifest(&name("a"), &digest("1"), Precondition::None, "carol", at(6))
        .await
        .unwrap();
    let history = rows.tag_history(&name("a"), &tag("t"), 10).await.unwrap();
    let moves: Vec<_> = history
        .iter()
        .map(|moved| (moved.from.clone(), moved.to.clone()))
        .collect();
    let (one, two) = (Some(digest("1")), Some(digest("2")));
    assert_eq!(
        moves,
        [
            (one.clone(), None),
            (None, one.clone()),
            (two.clone(), None),
            (one.clone(), two),
            (None, one)
        ]
    );
    let who: Vec<_> = history
        .iter()
        .map(|moved| (moved.by.as_str(), moved.at))
        .collect();
    assert_eq!(
        who,
        [
            ("carol", at(6)),
            ("alice", at(5)),
            ("bob", at(4)),
            ("alice", at(3)),
            ("alice", at(1))
        ]
    );
    assert_eq!(rows.tag_history(&name("a"), &tag("t"), 2).await.unwrap().len(), 2);
    assert_eq!(rows.tag_history(&name("a"), &tag("other"), 2).await.unwrap(), []);
}
