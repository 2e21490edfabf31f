//! Who refers to a manifest.

use wharf_protocol::digest::Digest;
use wharf_registry::metadata::{Precondition, PutManifest, Referrer, ReferrersQuery};

use super::{at, digest, manifest, name};
use crate::backends::rows::RowsUnderTest;

fn about(repository: &str, content: &str, artifact_type: Option<&str>) -> PutManifest {
    let mut put = manifest(repository, content, &[]);
    put.references.subject = Some(digest("subject"));
    put.artifact_type = artifact_type.map(str::to_owned);
    put
}

fn all() -> ReferrersQuery {
    ReferrersQuery {
        limit: 1000,
        max_bytes: 1 << 20,
        ..ReferrersQuery::default()
    }
}

fn sorted(contents: &[&str]) -> Vec<Digest> {
    let mut digests: Vec<Digest> = contents.iter().map(|content| digest(content)).collect();
    digests.sort();
    digests
}

fn digests(referrers: &[Referrer]) -> Vec<Digest> {
    referrers.iter().map(|referrer| referrer.digest.clone()).collect()
}

/// Manifests of the repository whose subject it is, in order, whether or not the subject exists.
pub async fn referrers_are_those_of_the_repository(store: RowsUnderTest) {
    let rows = store.rows();
    for content in ["1", "2", "3"] {
        rows.put_manifest(about("a", content, None)).await.unwrap();
    }
    rows.put_manifest(about("b", "4", None)).await.unwrap();
    rows.put_manifest(manifest("a", "5", &[])).await.unwrap();
    let page = rows
        .referrers(&name("a"), &digest("subject"), &all())
        .await
        .unwrap();
    assert_eq!(digests(&page.items), sorted(&["1", "2", "3"]));
    assert!(!page.more);
    for (repository, subject) in [("a", "other"), ("unknown", "subject")] {
        let page = rows
            .referrers(&name(repository), &digest(subject), &all())
            .await
            .unwrap();
        assert_eq!(page.items, []);
        assert!(!page.more);
    }
    let deleted = digest("2");
    rows.delete_manifest(&name("a"), &deleted, Precondition::None, "alice", at(1))
        .await
        .unwrap();
    let page = rows
        .referrers(&name("a"), &digest("subject"), &all())
        .await
        .unwrap();
    assert_eq!(digests(&page.items), sorted(&["1", "3"]));
}

/// Each is shown as it was pushed: media type, size, artifact type, annotations.
pub async fn a_referrer_is_shown_as_it_was_pushed(store: RowsUnderTest) {
    let rows = store.rows();
    let mut put = about("a", "content", Some("application/spdx"));
    put.annotations = Some("{\"a\":\"ä\\u0000\"}".to_owned());
    rows.put_manifest(put.clone()).await.unwrap();
    let page = rows
        .referrers(&name("a"), &digest("subject"), &all())
        .await
        .unwrap();
    let expected = Referrer {
        digest: put.manifest.digest,
        media_type: put.manifest.media_type,
        size: 7,
        artifact_type: put.artifact_type,
        annotations: put.annotations,
    };
    assert_eq!(page.items, [expected]);
}

/// The filter leaves the others out.
pub async fn referrers_are_filtered_by_artifact_type(store: RowsUnderTest) {
    let rows = store.rows();
    for (content, artifact_type) in [
        ("1", Some("x/sbom")),
        ("2", Some("x/signature")),
        ("3", None),
        ("4", Some("x/sbom")),
    ] {
        rows.put_manifest(about("a", content, artifact_type))
            .await
            .unwrap();
    }
    let filtered = async |artifact_type: &str| {
        let query = ReferrersQuery {
            artifact_type: Some(artifact_type.to_owned()),
            ..all()
        };
        digests(
            &rows
                .referrers(&name("a"), &digest("subject"), &query)
                .await
                .unwrap()
                .items,
        )
    };
    assert_eq!(filtered("x/sbom").await, sorted(&["1", "4"]));
    assert_eq!(filtered("x/signature").await, sorted(&["2"]));
    assert_eq!(filtered("x/other").await, []);
}

/// Pages by number and by bytes; together they are the whole list, and no page is empty.
pub async fn referrers_come_in_pages(store: RowsUnderTest) {
    let rows = store.rows();
    let contents: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    for content in &contents {
        let mut put = about("a", content, None);
        put.annotations = Some("x".repeat(100));
        rows.put_manifest(put).await.unwrap();
    }
    let expected = sorted(&contents.iter().map(String::as_str).collect::<Vec<_>>());
    for (limit, max_bytes, pages) in [
        (1000, 1 << 20, 1),
        (75, 1 << 20, 2),
        (1000, 999, 17),
        (1000, 10, 150),
    ] {
        let mut query = ReferrersQuery {
            limit,
            max_bytes,
            ..ReferrersQuery::default()
        };
        let mut found = Vec::new();
        for page_number in 1.. {
            let page = rows
                .referrers(&name("a"), &digest("subject"), &query)
                .await
                .unwrap();
            query.after = page.items.last().map(|last| last.digest.clone());
            found.extend(digests(&page.items));
            if !page.more {
                assert_eq!(page_number, pages, "limit {limit}, {max_bytes} bytes");
                break;
            }
        }
        assert_eq!(found, expected);
    }
}
