//! What `Blobs` promises of objects that are whole: reading, signed URLs, deleting.

use std::time::Duration;

use wharf_protocol::digest::Digest;
use wharf_registry::blobs::{BlobError, NoJournal};

use super::blobs::{NO_LIMIT, SHA256, assert_holds, body, content, read};
use crate::backends::{Leftovers, ObjectStoreUnderTest, SignedUrls, key};

/// Any range of an object can be read, the empty one too.
pub async fn any_range_can_be_read(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(1_000_000);
    let stored = blobs
        .put(
            key(),
            body(&bytes, 65_536),
            NO_LIMIT,
            &Digest::of(SHA256, &bytes),
            &NoJournal,
        )
        .await
        .unwrap();
    for range in [
        0..1_000_000,
        0..1,
        999_999..1_000_000,
        499_000..700_001,
        5..5,
        1_000_000..1_000_000,
    ] {
        let expected =
            bytes.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        assert!(
            read(&*blobs, &stored.key, range.clone()).await == expected,
            "{range:?}"
        );
    }
}

/// An object that is not there, or is shorter than its row says, is damage and named.
pub async fn what_is_missing_or_short_is_named(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(100);
    let stored = blobs
        .put(
            key(),
            body(&bytes, 10),
            NO_LIMIT,
            &Digest::of(SHA256, &bytes),
            &NoJournal,
        )
        .await
        .unwrap();
    for (key, range) in [
        (key(), 0..10),
        (key(), 0..0),
        (stored.key, 0..101),
        (stored.key, 101..102),
        (stored.key, 100..101),
    ] {
        let opened = blobs.open(&key, range.clone()).await;
        assert!(
            matches!(opened, Err(BlobError::Missing { key: named }) if named == key),
            "{range:?}: {opened:?}"
        );
    }
}

/// A signed URL gives the object, or a range of it, to whoever has it, until it ends. A folder signs none.
pub async fn a_signed_url_gives_the_bytes_and_ends(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(300_000);
    let expected = Digest::of(SHA256, &bytes);
    let stored = blobs
        .put(key(), body(&bytes, 65_536), NO_LIMIT, &expected, &NoJournal)
        .await
        .unwrap();
    let hour = Duration::from_secs(3600);
    let signed = blobs.presign(&stored.key, hour).await.unwrap();
    let Some(url) = signed else {
        assert_eq!(store.signed_urls(), SignedUrls::None);
        return;
    };
    assert_ne!(store.signed_urls(), SignedUrls::None);
    let stranger = reqwest::Client::new();
    let whole = stranger.get(&url).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert!(whole.bytes().await.unwrap() == bytes);
    let part = stranger.get(&url).header("range", "bytes=1000-1999");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert!(part.bytes().await.unwrap() == bytes.slice(1000..2000));
    // The signature is over this object's name.
    let forged = url.replace(&stored.key.ulid(), &key().ulid());
    if store.signed_urls() == SignedUrls::End {
        assert_eq!(stranger.get(&forged).send().await.unwrap().status(), 403);
        let short = blobs.presign(&stored.key, Duration::from_secs(1)).await.unwrap();
        let ended = async {
            while stranger
                .get(short.as_ref().unwrap())
                .send()
                .await
                .unwrap()
                .status()
                != 403
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended)
            .await
            .unwrap();
    }
}

/// A delete is by key: the same bytes under another key stay. It can be repeated.
pub async fn a_delete_takes_one_object(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(5000);
    let expected = Digest::of(SHA256, &bytes);
    let first = blobs
        .put(key(), body(&bytes, 1000), NO_LIMIT, &expected, &NoJournal)
        .await
        .unwrap();
    let second = blobs
        .put(key(), body(&bytes, 1000), NO_LIMIT, &expected, &NoJournal)
        .await
        .unwrap();
    for _ in 0..2 {
        blobs.delete(&first.key).await.unwrap();
    }
    let gone = blobs.open(&first.key, 0..1).await;
    assert!(matches!(gone, Err(BlobError::Missing { .. })), "{gone:?}");
    assert_holds(&*blobs, &second.key, &bytes).await;
}

/// Many objects are deleted at once, those that are missing too, and no others.
pub async fn many_objects_are_deleted_at_once(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(10);
    let expected = Digest::of(SHA256, &bytes);
    let mut keys = Vec::new();
    for _ in 0..20 {
        let stored = blobs
            .put(key(), body(&bytes, 10), NO_LIMIT, &expected, &NoJournal)
            .await
            .unwrap();
        keys.push(stored.key);
    }
    let kept = keys.pop().unwrap();
    keys.insert(7, key());
    for _ in 0..2 {
        blobs.delete_many(&keys).await.unwrap();
    }
    blobs.delete_many(&[]).await.unwrap();
    assert_holds(&*blobs, &kept, &bytes).await;
    assert_eq!(
        store.leftovers().await,
        Leftovers {
            objects: 1,
            staged: 0
        }
    );
}

/// A store that is well says so.
pub async fn a_store_that_is_well_is_ready(store: impl ObjectStoreUnderTest) {
    store.blobs().ready().await.unwrap();
}
