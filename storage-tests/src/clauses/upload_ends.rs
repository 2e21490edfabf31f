//! What `Blobs` promises of an upload's end: finished, aborted, or left behind by a caller that died.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use wharf_protocol::digest::Digest;
use wharf_registry::blobs::{BlobError, BoxFuture, Journal, NoJournal, Session, Staged};

use super::blobs::{
    NO_LIMIT, NOTHING, SHA256, SHA512, added, assert_holds, body, broken_body, content, stalls, through_a_row,
};
use crate::backends::{ObjectStoreUnderTest, key};

/// A journal that is kept, as a row would keep it.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<Staged>>);

impl Journal for Kept {
    fn note<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<(), BlobError>> {
        *self.0.lock().unwrap() = Some(Staged::from_text(&staged.to_text()).unwrap());
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Kept {
    /// Returns the session as its row tells it.
    fn row(&self, session: &Session) -> Session {
        let noted = self.0.lock().unwrap().clone();
        Session {
            staged: noted.unwrap_or_else(|| session.staged.clone()),
            ..session.clone()
        }
    }
}

/// Ends a session as its row tells it, until nothing is left: what was on its way when a caller died may arrive behind
/// the first abort.
async fn assert_ends(store: &impl ObjectStoreUnderTest, row: &Session) {
    let ended = async {
        loop {
            store.blobs().abort(row).await.unwrap();
            if store.leftovers().await == NOTHING {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    assert!(ended.is_ok(), "{:?} of {row:?}", store.leftovers().await);
}

/// A finish whose row was not written is repeated by another replica, as often as need be.
pub async fn a_finish_can_be_repeated_anywhere(mut store: impl ObjectStoreUnderTest) {
    for size in [0, 10, 9 << 20, 16 << 20] {
        let bytes = content(size);
        let session = Session::new(key(), SHA256);
        let session = added(&*store.blobs(), session, body(&bytes, 65_536)).await;
        let expected = Digest::of(SHA512, &bytes);
        let first = store.blobs().finish(&session, &expected).await.unwrap();
        for _ in 0..2 {
            store.switch_replica().await;
            assert_eq!(store.blobs().finish(&session, &expected).await.unwrap(), first);
        }
        assert_holds(&*store.blobs(), &first.key, &bytes).await;
    }
}

/// A late append to a finished session leaves the object as it is, whether the store notices it or not: its state finds
/// no row.
pub async fn a_finished_object_never_changes(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    for size in [10, 9 << 20] {
        let bytes = content(size);
        let session = Session::new(key(), SHA256);
        let session = added(&*blobs, session, body(&bytes, 65_536)).await;
        let stored = blobs.finish(&session, &Digest::of(SHA256, &bytes)).await.unwrap();
        let late = body(&content(9 << 20), 65_536);
        let _ = blobs.append(session, late, NO_LIMIT, &NoJournal).await;
        assert_holds(&*blobs, &stored.key, &bytes).await;
    }
}

/// An abort removes all of a session, begun, under way or finished without a row, and can be repeated.
pub async fn an_abort_leaves_nothing(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    for size in [10, 9 << 20, 16 << 20] {
        let bytes = content(size);
        let begun = Session::new(key(), SHA256);
        blobs.abort(&begun).await.unwrap();
        let session = added(&*blobs, begun, body(&bytes, 65_536)).await;
        let session = added(&*blobs, session, body(&bytes, 65_536)).await;
        blobs.abort(&session).await.unwrap();
        blobs.abort(&session).await.unwrap();
        let session = Session::new(key(), SHA256);
        let session = added(&*blobs, session, body(&bytes, 65_536)).await;
        blobs.finish(&session, &Digest::of(SHA256, &bytes)).await.unwrap();
        blobs.abort(&session).await.unwrap();
    }
    assert_eq!(store.leftovers().await, NOTHING);
}

/// After an abort the session is lost: to a finish, and to an append unless that does not look.
pub async fn an_aborted_session_is_lost(store: impl ObjectStoreUnderTest) {
    let blobs = store.blobs();
    let bytes = content(1000);
    let session = Session::new(key(), SHA256);
    let session = added(&*blobs, session, body(&bytes, 100)).await;
    blobs.abort(&session).await.unwrap();
    let append = blobs
        .append(session.clone(), body(&bytes, 100), NO_LIMIT, &NoJournal)
        .await;
    let whole: Bytes = [bytes.clone(), bytes.clone()].concat().into();
    let later = match append {
        Ok(appended) => blobs
            .finish(&appended.session, &Digest::of(SHA256, &whole))
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(later, Err(BlobError::SessionLost)), "{later:?}");
    let finish = blobs.finish(&session, &Digest::of(SHA256, &bytes)).await;
    assert!(matches!(finish, Err(BlobError::SessionLost)), "{finish:?}");
}

/// Whenever a caller dies, its row and what was noted there name all that it left behind.
pub async fn a_callers_death_leaves_nothing_that_no_row_names(store: impl ObjectStoreUnderTest) {
    let bytes = content(17 << 20);
    let expected = Digest::of(SHA256, &bytes);
    // It dies in an append, with parts and without.
    for size in [1000, 9 << 20, 17 << 20] {
        let (blobs, session) = (store.blobs(), Session::new(key(), SHA256));
        let journal = Arc::new(Kept::default());
        let (stalls, has_reached) = stalls(&bytes.slice(..size));
        let call = tokio::spawn({
            let (session, journal) = (session.clone(), Arc::clone(&journal));
            async move { blobs.append(session, stalls, NO_LIMIT, &*journal).await }
        });
        has_reached.await.unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert_ends(&store, &journal.row(&session)).await;
    }
    // It dies in a put.
    for size in [1000, 9 << 20] {
        let (blobs, session, expected) = (store.blobs(), Session::new(key(), SHA256), expected.clone());
        let journal = Arc::new(Kept::default());
        let (stalls, has_reached) = stalls(&bytes.slice(..size));
        let call = tokio::spawn({
            let (key, journal) = (session.key, Arc::clone(&journal));
            async move { blobs.put(key, stalls, NO_LIMIT, &expected, &*journal).await }
        });
        has_reached.await.unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert_ends(&store, &journal.row(&session)).await;
    }
    // It dies between a call and the row.
    for size in [1000, 9 << 20] {
        let (blobs, bytes) = (store.blobs(), bytes.slice(..size));
        let digest = Digest::of(SHA256, &bytes);
        let (journal, session) = (Kept::default(), Session::new(key(), SHA256));
        let put = blobs.put(session.key, body(&bytes, 65_536), NO_LIMIT, &digest, &journal);
        put.await.unwrap();
        assert_ends(&store, &journal.row(&session)).await;
        let (journal, session) = (Kept::default(), Session::new(key(), SHA256));
        let appended = blobs.append(session.clone(), body(&bytes, 65_536), NO_LIMIT, &journal);
        let row = appended.await.unwrap().session;
        let more = blobs.append(row.clone(), body(&bytes, 65_536), NO_LIMIT, &journal);
        more.await.unwrap();
        assert_ends(&store, &journal.row(&row)).await;
        let (journal, session) = (Kept::default(), Session::new(key(), SHA256));
        let last = blobs.append_last(session.clone(), body(&bytes, 65_536), NO_LIMIT, &journal);
        let last = last.await.unwrap().session;
        blobs.finish(&last, &digest).await.unwrap();
        assert_ends(&store, &journal.row(&session)).await;
    }
}

/// The last bytes may come with the end: then they need not be kept for another replica.
pub async fn an_upload_may_end_with_its_last_bytes(mut store: impl ObjectStoreUnderTest) {
    for (before, last) in [(0, 100), (100, 100), (9 << 20, 100), (9 << 20, 8 << 20), (100, 0)] {
        let bytes = content(before + last);
        let expected = Digest::of(SHA256, &bytes);
        let session = Session::new(key(), SHA256);
        let first = body(&bytes.slice(..before), 65_536);
        let appended = store.blobs().append(session, first, NO_LIMIT, &NoJournal).await;
        let row = appended.unwrap().session;
        store.switch_replica().await;
        let blobs = store.blobs();
        // A last piece that breaks off can be gone on with from a row.
        let cut = blobs.append_last(row, broken_body(&bytes.slice(before..)), NO_LIMIT, &NoJournal);
        let cut = cut.await.unwrap();
        assert_eq!(
            (cut.taken, cut.cut.is_some()),
            (u64::try_from(last).unwrap(), true)
        );
        let row = through_a_row(&cut.session);
        let more = content(70_000).slice(1..);
        let ended = blobs.append_last(row.clone(), body(&more, 65_536), NO_LIMIT, &NoJournal);
        let ended = ended.await.unwrap().session;
        let whole: Bytes = [bytes.clone(), more].concat().into();
        let wrong = blobs.finish(&ended, &expected).await;
        assert!(
            matches!(wrong, Err(BlobError::DigestMismatch { .. })),
            "{wrong:?}"
        );
        let stored = blobs.finish(&ended, &Digest::of(SHA512, &whole)).await.unwrap();
        assert_holds(&*blobs, &stored.key, &whole).await;
    }
    let left = store.leftovers().await;
    assert_eq!((left.objects, left.staged), (5, 0));
}
