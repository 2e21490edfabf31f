//! What `Blobs` promises of bytes on their way in.

use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_registry::blobs::{
    BlobError, Blobs, ByteStream, Content, HashState, Key, NoJournal, Session, Staged,
};

use crate::backends::{Leftovers, ObjectStoreUnderTest, key};

pub(crate) const SHA256: Algorithm = Algorithm::Sha256;
pub(crate) const SHA512: Algorithm = Algorithm::Sha512;
pub(crate) const NO_LIMIT: u64 = u64::MAX;
pub(crate) const NOTHING: Leftovers = Leftovers {
    objects: 0,
    staged: 0,
};

/// Returns bytes in which no piece is like another, always the same.
pub fn content(bytes: usize) -> Bytes {
    crate::content::content(1, bytes).into()
}

/// Streams bytes in pieces of at most `piece` bytes.
pub fn body(bytes: &Bytes, piece: usize) -> ByteStream<'static> {
    let pieces: Vec<_> = bytes
        .chunks(piece.max(1))
        .map(|piece| Ok(bytes.slice_ref(piece)))
        .collect();
    Box::pin(stream::iter(pieces))
}

/// Streams bytes and then breaks off.
pub(crate) fn broken_body(bytes: &Bytes) -> ByteStream<'static> {
    Box::pin(body(bytes, 1000).chain(stream::iter([Err("the line went dead".into())])))
}

/// Reads a range of an object.
pub(crate) async fn read(blobs: &dyn Blobs, key: &Key, range: Range<u64>) -> Bytes {
    match blobs.open(key, range).await.unwrap() {
        Content::File { file, range } => {
            let mut file = file.as_ref();
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(range.start)).unwrap();
            let mut bytes = Vec::new();
            file.take(range.end - range.start)
                .read_to_end(&mut bytes)
                .unwrap();
            bytes.into()
        }
        Content::Stream(pieces) => pieces.try_collect::<Vec<_>>().await.unwrap().concat().into(),
    }
}

/// What a row does to a session: all of it goes through texts and numbers.
pub(crate) fn through_a_row(session: &Session) -> Session {
    let HashState {
        algorithm,
        format,
        bytes,
    } = session.hash.clone();
    let algorithm: Algorithm = algorithm.to_string().parse().unwrap();
    Session {
        key: session.key.to_string().parse().unwrap(),
        offset: session.offset,
        staged: Staged::from_text(&session.staged.to_text()).unwrap(),
        hash: HashState {
            algorithm,
            format,
            bytes,
        },
    }
}

/// Adds all of the bytes to a session, and returns how it then stands.
pub(crate) async fn added(blobs: &dyn Blobs, session: Session, bytes: ByteStream<'_>) -> Session {
    let appended = blobs.append(session, bytes, NO_LIMIT, &NoJournal).await;
    appended.unwrap().session
}

pub(crate) async fn assert_holds(blobs: &dyn Blobs, key: &Key, expected: &Bytes) {
    let size = u64::try_from(expected.len()).unwrap();
    assert!(
        read(blobs, key, 0..size).await == *expected,
        "object {key} does not hold its bytes"
    );
}

/// A whole blob is stored in one go and reads back, by either algorithm.
pub async fn a_blob_put_whole_reads_back(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    for algorithm in [SHA256, SHA512] {
        for size in [1, 70_000, 9 << 20] {
            let bytes = content(size);
            let expected = Digest::of(algorithm, &bytes);
            let stored = blobs
                .put(key(), body(&bytes, 65_536), NO_LIMIT, &expected, &NoJournal)
                .await
                .unwrap();
            assert_eq!(
                (stored.size, &stored.digest),
                (u64::try_from(size).unwrap(), &expected)
            );
            assert_holds(&*blobs, &stored.key, &bytes).await;
        }
    }
    assert_eq!(
        store.leftovers().await,
        Leftovers {
            objects: 6,
            staged: 0
        }
    );
}

/// A blob of no bytes is a blob, with a session and without one.
pub async fn a_blob_of_no_bytes_is_a_blob(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let nothing = Bytes::new();
    for algorithm in [SHA256, SHA512] {
        let expected = Digest::of(algorithm, b"");
        let put = blobs
            .put(key(), body(&nothing, 1), NO_LIMIT, &expected, &NoJournal)
            .await
            .unwrap();
        let never_appended = blobs
            .finish(&Session::new(key(), SHA256), &expected)
            .await
            .unwrap();
        let session = Session::new(key(), SHA256);
        let session = added(&*blobs, session, body(&nothing, 1)).await;
        let appended = blobs.finish(&through_a_row(&session), &expected).await.unwrap();
        for stored in [put, never_appended, appended] {
            assert_eq!((stored.size, &stored.digest), (0, &expected));
            assert_eq!(read(&*blobs, &stored.key, 0..0).await, nothing);
        }
    }
    assert_eq!(
        store.leftovers().await,
        Leftovers {
            objects: 6,
            staged: 0
        }
    );
}

/// Each piece of an upload may reach another replica, whatever its size, and either digest closes it.
pub async fn any_replica_continues_any_upload(mut store: impl ObjectStoreUnderTest) {
    let sizes = [1, 0, 63, 64, 8 << 20, (8 << 20) - 1, 3, 5 << 20, 1 << 20];
    let bytes = content(sizes.iter().sum());
    for (hashed_by, closed_by) in [(SHA256, SHA256), (SHA256, SHA512), (SHA512, SHA256)] {
        let mut session = Session::new(key(), hashed_by);
        let mut rest = bytes.clone();
        for size in sizes {
            let piece = rest.split_to(size);
            let appended = store
                .blobs()
                .append(
                    through_a_row(&session),
                    body(&piece, 100_000),
                    NO_LIMIT,
                    &NoJournal,
                )
                .await
                .unwrap();
            assert!(appended.cut.is_none());
            assert_eq!(appended.taken, u64::try_from(size).unwrap());
            session = appended.session;
            store.switch_replica().await;
        }
        assert_eq!(session.offset, u64::try_from(bytes.len()).unwrap());
        let expected = Digest::of(closed_by, &bytes);
        let stored = store
            .blobs()
            .finish(&through_a_row(&session), &expected)
            .await
            .unwrap();
        store.switch_replica().await;
        assert_holds(&*store.blobs(), &stored.key, &bytes).await;
    }
    assert_eq!(
        store.leftovers().await,
        Leftovers {
            objects: 3,
            staged: 0
        }
    );
}

/// What an append stored in no row did not happen: the next one from the old row overwrites it.
pub async fn bytes_behind_the_rows_offset_are_overwritten(mut store: impl ObjectStoreUnderTest) {
    for (kept, lost) in [(10, 5000), (9 << 20, 12 << 20), (0, 9 << 20)] {
        let (kept, lost) = (content(kept), content(lost));
        let session = Session::new(key(), SHA256);
        let row = added(&*store.blobs(), session, body(&kept, 65_536)).await;
        store
            .blobs()
            .append(row.clone(), body(&lost, 65_536), NO_LIMIT, &NoJournal)
            .await
            .unwrap();
        store.switch_replica().await;
        let right = content(300_000).slice(7..);
        let session = added(&*store.blobs(), row, body(&right, 65_536)).await;
        let whole: Bytes = [kept, right].concat().into();
        let stored = store
            .blobs()
            .finish(&session, &Digest::of(SHA256, &whole))
            .await
            .unwrap();
        assert_holds(&*store.blobs(), &stored.key, &whole).await;
    }
}

/// Of a stream that breaks off, what came is kept and told; the upload goes on behind it.
pub async fn a_stream_that_breaks_off_keeps_what_came(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let (first, second) = (content(100_500), content(50));
    let session = Session::new(key(), SHA256);
    let appended = blobs
        .append(session, broken_body(&first), NO_LIMIT, &NoJournal)
        .await
        .unwrap();
    assert_eq!(appended.taken, 100_500);
    assert_eq!(appended.cut.unwrap().to_string(), "the line went dead");
    let session = added(&*blobs, appended.session, body(&second, 7)).await;
    let whole: Bytes = [first, second].concat().into();
    let stored = blobs.finish(&session, &Digest::of(SHA256, &whole)).await.unwrap();
    assert_holds(&*blobs, &stored.key, &whole).await;
}

/// A put whose stream breaks off, is too long or has another digest leaves nothing behind.
pub async fn a_put_that_fails_leaves_nothing(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    for size in [100, 20 << 20] {
        let bytes = content(size);
        let (right, wrong) = (Digest::of(SHA256, &bytes), Digest::of(SHA256, b"another"));
        let cut = blobs
            .put(key(), broken_body(&bytes), NO_LIMIT, &right, &NoJournal)
            .await;
        assert!(matches!(cut, Err(BlobError::Cut(_))), "{cut:?}");
        let limit = u64::try_from(size).unwrap() - 1;
        let long = blobs
            .put(key(), body(&bytes, 65_536), limit, &right, &NoJournal)
            .await;
        assert!(
            matches!(long, Err(BlobError::TooLarge { limit_bytes }) if limit_bytes == limit),
            "{long:?}"
        );
        let other = blobs
            .put(key(), body(&bytes, 65_536), NO_LIMIT, &wrong, &NoJournal)
            .await;
        assert!(matches!(other, Err(BlobError::DigestMismatch { computed, .. }) if computed == right));
    }
    assert_eq!(store.leftovers().await, NOTHING);
}

/// An append over its limit leaves the session where it was.
pub async fn an_append_over_its_limit_changes_nothing(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(9 << 20);
    let session = Session::new(key(), SHA256);
    let session = blobs
        .append(session, body(&bytes.slice(..100), 10), 100, &NoJournal)
        .await
        .unwrap()
        .session;
    let long = blobs
        .append(
            session.clone(),
            body(&bytes.slice(100..), 65_536),
            9 << 19,
            &NoJournal,
        )
        .await;
    assert!(matches!(long, Err(BlobError::TooLarge { .. })), "{long:?}");
    let session = blobs
        .append(session, body(&bytes.slice(100..), 65_536), NO_LIMIT, &NoJournal)
        .await
        .unwrap()
        .session;
    let stored = blobs.finish(&session, &Digest::of(SHA256, &bytes)).await.unwrap();
    assert_holds(&*blobs, &stored.key, &bytes).await;
}

/// A wrong digest changes nothing: the right one closes the session afterwards.
pub async fn a_wrong_digest_changes_nothing(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(9 << 20);
    let session = Session::new(key(), SHA256);
    let session = added(&*blobs, session, body(&bytes, 65_536)).await;
    let wrong = Digest::of(SHA256, b"another");
    let refused = blobs.finish(&session, &wrong).await;
    let Err(BlobError::DigestMismatch { expected, computed }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((expected, &computed), (wrong, &Digest::of(SHA256, &bytes)));
    let stored = blobs.finish(&session, &computed).await.unwrap();
    assert_holds(&*blobs, &stored.key, &bytes).await;
}

/// A hash state of a layout that this release does not know is a lost session, not a wrong digest.
pub async fn an_unknown_hash_state_is_a_lost_session(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(1000);
    let session = Session::new(key(), SHA256);
    let mut session = added(&*blobs, session, body(&bytes, 100)).await;
    session.hash.format += 1;
    let append = blobs
        .append(session.clone(), body(&bytes, 100), NO_LIMIT, &NoJournal)
        .await;
    assert!(matches!(append, Err(BlobError::SessionLost)), "{append:?}");
    let finish = blobs.finish(&session, &Digest::of(SHA256, &bytes)).await;
    assert!(matches!(finish, Err(BlobError::SessionLost)), "{finish:?}");
}

/// Many uploads at once do not mix.
pub async fn uploads_at_once_do_not_mix(store: impl ObjectStoreUnderTest) {
    let all = content(3 << 20);
    let uploads = (0..24_usize).map(|number| {
        let (blobs, bytes) = (
            store.blobs(),
            all.slice(number * 1000..(2 << 20) + number * 30_000),
        );
        tokio::spawn(async move {
            let expected = Digest::of(SHA256, &bytes);
            let stored = if number % 2 == 0 {
                blobs
                    .put(
                        key(),
                        body(&bytes, 10_000 + number),
                        NO_LIMIT,
                        &expected,
                        &NoJournal,
                    )
                    .await
                    .unwrap()
            } else {
                let session = Session::new(key(), SHA256);
                let session = blobs
                    .append(session, body(&bytes.slice(..1000), 99), NO_LIMIT, &NoJournal)
                    .await
                    .unwrap()
                    .session;
                let rest = body(&bytes.slice(1000..), 65_536);
                let session = blobs
                    .append(session, rest, NO_LIMIT, &NoJournal)
                    .await
                    .unwrap()
                    .session;
                blobs.finish(&session, &expected).await.unwrap()
            };
            (stored.key, bytes)
        })
    });
    let uploads: Vec<_> = uploads.collect();
    for upload in uploads {
        let (key, bytes) = upload.await.unwrap();
        assert_holds(&*store.blobs(), &key, &bytes).await;
    }
    assert_eq!(
        store.leftovers().await,
        Leftovers {
            objects: 24,
            staged: 0
        }
    );
}

/// An upload whose caller stops waiting in the middle goes on from its row.
pub async fn a_dropped_append_is_taken_up_from_the_row(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(12 << 20);
    let session = Session::new(key(), SHA256);
    let row = blobs
        .append(session, body(&bytes.slice(..1000), 100), NO_LIMIT, &NoJournal)
        .await
        .unwrap()
        .session;
    let (stalls, has_reached) = stalls(&bytes.slice(1000..11 << 20));
    let dropped = {
        let (blobs, row) = (Arc::clone(&blobs), row.clone());
        tokio::spawn(async move { blobs.append(row, stalls, NO_LIMIT, &NoJournal).await })
    };
    has_reached.await.unwrap();
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let session = blobs
        .append(row, body(&bytes.slice(1000..), 65_536), NO_LIMIT, &NoJournal)
        .await
        .unwrap()
        .session;
    let stored = blobs.finish(&session, &Digest::of(SHA256, &bytes)).await.unwrap();
    assert_holds(&*blobs, &stored.key, &bytes).await;
}

/// Streams bytes and then nothing; says when they have been asked for.
pub(crate) fn stalls(bytes: &Bytes) -> (ByteStream<'static>, tokio::sync::oneshot::Receiver<()>) {
    let (reached, has_reached) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    let stalls = body(bytes, 65_536).chain(stream::poll_fn(move |_| {
        reached.take().map(|reached| reached.send(()));
        std::task::Poll::Pending
    }));
    (Box::pin(stalls), has_reached)
}

/// Many small chunks are one blob, and leave nothing but it.
pub async fn many_small_chunks_are_one_blob(mut store: impl ObjectStoreUnderTest) {
    let bytes = content(50 * 3000);
    let mut session = Session::new(key(), SHA256);
    for chunk in 0..50 {
        let chunk = bytes.slice(chunk * 3000..(chunk + 1) * 3000);
        let blobs = store.blobs();
        let appended = blobs.append(through_a_row(&session), body(&chunk, 1000), NO_LIMIT, &NoJournal);
        session = appended.await.unwrap().session;
        drop(blobs);
        store.switch_replica().await;
    }
    let expected = Digest::of(SHA256, &bytes);
    let stored = store.blobs().finish(&session, &expected).await.unwrap();
    assert_holds(&*store.blobs(), &stored.key, &bytes).await;
    assert_eq!(
        store.leftovers().await,
        Leftovers {
            objects: 1,
            staged: 0
        }
    );
}
