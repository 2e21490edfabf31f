//! Repositories: the catalog, search, descriptions, stars.

use wharf_registry::metadata::{
    Description, DescriptionSource, Error, Metadata, Precondition, SearchHit, SearchQuery, Visible,
};

use super::{at, digest, manifest, name, pattern, push, user};
use crate::backends::rows::RowsUnderTest;

fn visible(patterns: &[&str]) -> Visible {
    Visible::Matching(patterns.iter().map(|text| pattern(text)).collect())
}

async fn make(rows: &dyn Metadata, repositories: &[&str]) {
    for repository in repositories {
        rows.put_manifest(manifest(repository, "manifest", &["t"]))
            .await
            .unwrap();
    }
}

async fn whole_catalog(rows: &dyn Metadata, visible: &Visible, limit: u32) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = rows
            .catalog(visible, found.last().map(String::as_str), limit)
            .await
            .unwrap();
        assert!(page.items.len() <= usize::try_from(limit).unwrap());
        assert!(!page.more || page.items.len() == usize::try_from(limit).unwrap());
        found.extend(page.items);
        if !page.more {
            return found;
        }
    }
}

/// Byte order, pages, from after a name that need not exist.
pub async fn the_catalog_is_in_byte_order_in_pages(store: RowsUnderTest) {
    let rows = store.rows();
    let mut sorted = vec!["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "a_b", "ab", "b", "z"];
    make(
        &*rows,
        &["z", "a_b", "a/b/c", "a", "b", "a0", "a.b", "a-b", "ab", "a/b"],
    )
    .await;
    sorted.sort_unstable();
    for limit in [1, 3, 9, 10, 11] {
        assert_eq!(
            whole_catalog(&*rows, &Visible::All, limit).await,
            sorted,
            "{limit} at a time"
        );
    }
    let page = rows.catalog(&Visible::All, Some("a\u{0}x"), 1).await.unwrap();
    assert_eq!(page.items, ["a-b"]);
    let page = rows.catalog(&Visible::All, Some("~"), 1).await.unwrap();
    assert_eq!(page.items, [""; 0]);
    let page = rows.catalog(&Visible::All, None, 0).await.unwrap();
    assert!(page.items.is_empty() && page.more);
}

/// What the caller may not see is not there, and leaves no gaps in the pages.
pub async fn the_catalog_holds_what_the_caller_may_see(store: RowsUnderTest) {
    let rows = store.rows();
    make(
        &*rows,
        &[
            "alice/a",
            "alice/b/c",
            "bob/a",
            "bob/b",
            "team/app",
            "team/db",
            "zoo",
        ],
    )
    .await;
    for limit in [1, 2, 10] {
        for (patterns, expected) in [
            (vec!["alice/**"], vec!["alice/a", "alice/b/c"]),
            (vec!["*/a", "zoo"], vec!["alice/a", "bob/a", "zoo"]),
            (vec!["team/app", "team/*", "team/**"], vec!["team/app", "team/db"]),
            (vec!["zoo", "alice/*"], vec!["alice/a", "zoo"]),
            (vec!["nobody/**"], vec![]),
            (vec![], vec![]),
        ] {
            assert_eq!(
                whole_catalog(&*rows, &visible(&patterns), limit).await,
                expected,
                "{patterns:?}"
            );
        }
    }
    let page = rows
        .catalog(&visible(&["alice/*", "bob/*"]), Some("alice/zz"), 1)
        .await
        .unwrap();
    assert_eq!(page.items, ["bob/a"]);
    assert!(page.more);
}

/// More names than are read at once, of which few may be seen.
pub async fn a_caller_who_may_see_few_of_many_gets_them_all(store: RowsUnderTest) {
    let rows = store.rows();
    let names: Vec<String> = (0..450)
        .map(|number| format!("r{number:03}/x{}", number % 10))
        .collect();
    make(&*rows, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seen: Vec<&String> = names.iter().filter(|name| name.ends_with("x7")).collect();
    assert_eq!(
        whole_catalog(&*rows, &visible(&["*/x7"]), 7)
            .await
            .iter()
            .collect::<Vec<_>>(),
        seen
    );
}

/// A repository with blobs alone, or with its manifests deleted, is not listed and not found.
pub async fn a_repository_without_manifests_is_not_listed(store: RowsUnderTest) {
    let rows = store.rows();
    push(&*rows, "blobs", "content").await;
    make(&*rows, &["emptied"]).await;
    let gone = digest("manifest");
    rows.delete_manifest(&name("emptied"), &gone, Precondition::None, "alice", at(1))
        .await
        .unwrap();
    assert_eq!(whole_catalog(&*rows, &Visible::All, 10).await, [""; 0]);
    assert_eq!(search(&*rows, "", &Visible::All, 0, 10).await, (0, vec![]));
}

async fn search(
    rows: &dyn Metadata,
    text: &str,
    visible: &Visible,
    offset: u64,
    limit: u32,
) -> (u64, Vec<String>) {
    let query = SearchQuery {
        text: text.to_owned(),
        visible: visible.clone(),
        offset,
        limit,
    };
    let page = rows.search(&query).await.unwrap();
    (page.total, page.hits.into_iter().map(|hit| hit.name).collect())
}

/// By name and description, whatever the case, plain characters only, in the order that the contract says.
pub async fn a_search_finds_by_name_and_description(store: RowsUnderTest) {
    let rows = store.rows();
    make(
        &*rows,
        &[
            "nginx",
            "nginx-extras",
            "web/nginx",
            "web/proxy",
            "other",
            "x_y",
            "xay",
        ],
    )
    .await;
    let about = Description {
        source: DescriptionSource::Page,
        text: "A proxy, 100% NGINX".to_owned(),
    };
    assert!(rows.describe(&name("web/proxy"), about).await.unwrap());
    let found = async |text: &str| search(&*rows, text, &Visible::All, 0, 10).await.1;
    assert_eq!(
        found("nginx").await,
        ["nginx", "nginx-extras", "web/nginx", "web/proxy"]
    );
    assert_eq!(found("NginX").await, found("nginx").await);
    assert_eq!(found("100%").await, ["web/proxy"]);
    assert_eq!(found("x_y").await, ["x_y"]);
    assert_eq!(found("x%y").await, [""; 0]);
    assert_eq!(found("^").await, [""; 0]);
    assert_eq!(found("x\u{0}y").await, found("x").await);
    assert_eq!(found(&"y".repeat(100_000)).await, [""; 0]);
    assert_eq!(found("").await.len(), 7);
}

/// Total, pages, and only what the caller may pull.
pub async fn a_search_counts_and_pages_what_is_visible(store: RowsUnderTest) {
    let rows = store.rows();
    make(&*rows, &["alice/app", "bob/app", "carol/app", "app"]).await;
    let mine = visible(&["alice/**", "app"]);
    assert_eq!(
        search(&*rows, "app", &mine, 0, 10).await,
        (2, vec!["app".into(), "alice/app".into()])
    );
    assert_eq!(
        search(&*rows, "app", &mine, 1, 1).await,
        (2, vec!["alice/app".into()])
    );
    assert_eq!(search(&*rows, "app", &mine, 2, 1).await, (2, vec![]));
    assert_eq!(
        search(&*rows, "app", &mine, u64::MAX, u32::MAX).await,
        (2, vec![])
    );
    assert_eq!(search(&*rows, "app", &Visible::All, 0, 2).await.0, 4);
    assert_eq!(search(&*rows, "app", &visible(&[]), 0, 2).await, (0, vec![]));
}

/// Stars count once a user, order what is found, and go with the user.
pub async fn stars_count_once_a_user(store: RowsUnderTest) {
    let rows = store.rows();
    make(&*rows, &["a/app", "b/app"]).await;
    for who in ["alice", "bob"] {
        rows.add_user(user(who), at(0)).await.unwrap();
        rows.star(&name("b/app"), who, true, at(1)).await.unwrap();
        rows.star(&name("b/app"), who, true, at(2)).await.unwrap();
    }
    let stars = async || {
        let query = SearchQuery {
            text: "app".into(),
            visible: Visible::All,
            offset: 0,
            limit: 10,
        };
        let hits = rows.search(&query).await.unwrap().hits;
        hits.into_iter()
            .map(|SearchHit { name, stars, .. }| (name, stars))
            .collect::<Vec<_>>()
    };
    assert_eq!(stars().await, [("b/app".to_owned(), 2), ("a/app".to_owned(), 0)]);
    rows.star(&name("b/app"), "alice", false, at(3)).await.unwrap();
    rows.star(&name("b/app"), "alice", false, at(3)).await.unwrap();
    assert_eq!(stars().await, [("b/app".to_owned(), 1), ("a/app".to_owned(), 0)]);
    rows.remove_user("bob").await.unwrap();
    assert_eq!(stars().await, [("a/app".to_owned(), 0), ("b/app".to_owned(), 0)]);
    let refused = rows.star(&name("b/app"), "bob", true, at(4)).await.unwrap_err();
    assert!(matches!(refused, Error::UserUnknown(_)), "{refused}");
    let refused = rows.star(&name("c/app"), "alice", true, at(4)).await.unwrap_err();
    assert!(matches!(refused, Error::RepositoryUnknown), "{refused}");
}

/// A description from further up stays; an empty one makes room.
pub async fn a_description_yields_to_one_from_further_up(store: RowsUnderTest) {
    use DescriptionSource::{Annotation, Label, Page, Readme};
    let rows = store.rows();
    let describe = async |source, text: &str| {
        rows.describe(
            &name("a"),
            Description {
                source,
                text: text.to_owned(),
            },
        )
        .await
    };
    let refused = describe(Page, "text").await.unwrap_err();
    assert!(matches!(refused, Error::RepositoryUnknown), "{refused}");
    let mut put = manifest("a", "manifest", &["t"]);
    put.description = Some(Description {
        source: Label,
        text: "label".to_owned(),
    });
    rows.put_manifest(put.clone()).await.unwrap();
    let is = async |expected: Option<(DescriptionSource, &str)>| {
        let found = rows.description(&name("a")).await.unwrap();
        assert_eq!(
            found,
            expected.map(|(source, text)| Description {
                source,
                text: text.to_owned()
            })
        );
    };
    is(Some((Label, "label"))).await;
    assert!(!describe(Readme, "readme").await.unwrap());
    assert!(describe(Label, "second label").await.unwrap());
    assert!(describe(Annotation, "annotation").await.unwrap());
    rows.put_manifest(put).await.unwrap();
    is(Some((Annotation, "annotation"))).await;
    assert!(describe(Page, "page").await.unwrap());
    assert!(!describe(Annotation, "").await.unwrap());
    is(Some((Page, "page"))).await;
    assert!(describe(Page, "").await.unwrap());
    is(None).await;
    assert!(describe(Readme, "readme").await.unwrap());
    is(Some((Readme, "readme"))).await;
    assert_eq!(rows.description(&name("b")).await.unwrap(), None);
}
