//! What holds of a bucket alone: sizes of parts, memory, troubles on the way, what expires.
#![expect(clippy::unwrap_used, reason = "tests: a failure is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use storage_tests::backends::bucket::Bucket;
use storage_tests::backends::{ObjectStoreUnderTest as _, key, moto, s3, sqlite};
use storage_tests::clauses::blobs::{body, content};
use storage_tests::clauses::metadata::{at, claim, name, session};
use storage_tests::faults::Faults;
use storage_tests::gate::{Fault, Gate};
use wharf_protocol::digest::{Algorithm, Digest};
use wharf_protocol::manifest::ManifestLimits;
use wharf_registry::blobs::cloud::{Patience, Plan};
use wharf_registry::blobs::{BlobError, Blobs, Content, Key, NoJournal, Session};
use wharf_registry::clock::{Clock, Timestamp};
use wharf_registry::metadata::UploadProgress;
use wharf_registry::random::SystemRandom;
use wharf_registry::repo::{Repo, Rules};

const SHA256: Algorithm = Algorithm::Sha256;
const NO_LIMIT: u64 = u64::MAX;

/// Parts of one size, however many.
fn equal_parts(bytes: u64) -> Plan {
    Plan {
        first_bytes: bytes,
        equal_parts: usize::MAX,
        growth_bytes: 0,
        most_bytes: bytes,
    }
}

async fn read(blobs: &dyn Blobs, key: &Key, bytes: usize) -> Bytes {
    let size = u64::try_from(bytes).unwrap();
    let Content::Stream(pieces) = blobs.open(key, 0..size).await.unwrap() else {
        unreachable!("a bucket's object is a stream")
    };
    pieces.try_collect::<Vec<_>>().await.unwrap().concat().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_parts_make_one_object_and_one_more_is_refused() {
    let store = moto::start_with_small_parts().await;
    let blobs = store.bucket().sized_store(equal_parts(512), 1 << 20);
    let bytes = content(10_000 * 512 + 1);
    let (fits, more) = (bytes.slice(..10_000 * 512), bytes.slice(10_000 * 512..));
    let mut session = Session::new(key(), SHA256);
    for piece in [fits.slice(..1_000_000), fits.slice(1_000_000..)] {
        let appended = blobs.append(session, body(&piece, 65_536), NO_LIMIT, &NoJournal);
        session = appended.await.unwrap().session;
    }
    let larger = blobs.append(session.clone(), body(&more, 1), NO_LIMIT, &NoJournal);
    let larger = larger.await.unwrap().session;
    let refused = blobs.finish(&larger, &Digest::of(SHA256, &bytes)).await;
    assert!(
        matches!(
            refused,
            Err(BlobError::TooLarge {
                limit_bytes: 5_120_000
            })
        ),
        "{refused:?}"
    );
    let stored = blobs.finish(&session, &Digest::of(SHA256, &fits)).await.unwrap();
    assert!(read(&*blobs, &stored.key, fits.len()).await == fits);
}

/// There is room for four parts, thirty uploads send bytes and thirty more have begun to and are silent: all end, the
/// silent ones once they speak again.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_compete_for_memory_all_end() {
    let store = moto::start_with_small_parts().await;
    let part = 256 << 10;
    let blobs = store.bucket().sized_store(equal_parts(part), 4 * part);
    let all = content(2 << 20);
    let (speak, silence) = tokio::sync::watch::channel(false);
    let upload = |number: usize, silent: bool| {
        let (blobs, mut silence) = (Arc::clone(&blobs), silence.clone());
        let bytes = all.slice(number * 1000..700_000 + number * 20_000);
        let (first, rest) = (bytes.slice(..200_000), bytes.slice(200_000..));
        let pause = stream::once(async move {
            if silent {
                silence.wait_for(|speak| *speak).await.unwrap();
            }
            Ok(Bytes::new())
        });
        let sent = body(&first, 10_000).chain(pause).chain(body(&rest, 10_000));
        tokio::spawn(async move {
            let expected = Digest::of(SHA256, &bytes);
            let stored = if number.is_multiple_of(2) {
                let put = blobs.put(key(), Box::pin(sent), NO_LIMIT, &expected, &NoJournal);
                put.await.unwrap()
            } else {
                let session = Session::new(key(), SHA256);
                let appended = blobs.append(session, Box::pin(sent), NO_LIMIT, &NoJournal);
                let session = appended.await.unwrap().session;
                blobs.finish(&session, &expected).await.unwrap()
            };
            assert!(read(&*blobs, &stored.key, bytes.len()).await == bytes);
        })
    };
    let silent: Vec<_> = (0..30).map(|number| upload(number, true)).collect();
    let speaking: Vec<_> = (0..30).map(|number| upload(number, false)).collect();
    for upload in speaking {
        upload.await.unwrap();
    }
    assert!(silent.iter().all(|upload| !upload.is_finished()));
    speak.send(true).unwrap();
    for upload in silent {
        upload.await.unwrap();
    }
    let left = store.leftovers().await;
    assert_eq!(left.objects, 60);
}

/// A store behind a gate, which gives up soon.
async fn hasty(server: &s3::Server, patience: Patience) -> (Gate, Arc<dyn Blobs>) {
    let gate = Gate::before(server.bucket().endpoint()).await;
    let bucket = Bucket::with_patience(&gate.endpoint(), patience);
    (gate, bucket.store(Faults::none()))
}

const SOON: Patience = Patience {
    answer: Duration::from_secs(60),
    bytes_per_s: 128 << 10,
    repeat_for: Duration::from_millis(400),
};

/// What there is of an upload while a bucket is in trouble, and that it goes on from its row when that is over.
async fn is_refused_and_heals(
    gate: &Gate,
    blobs: &dyn Blobs,
    trouble: impl Fn(usize, &hyper::Method, &str) -> Option<Fault> + Clone + Send + Sync + 'static,
    expected: impl Fn(&BlobError) -> bool,
) {
    let bytes = content((16 << 20) + 100);
    let digest = Digest::of(SHA256, &bytes);
    let (first, rest) = (bytes.slice(..9 << 20), bytes.slice(9 << 20..));
    let session = Session::new(key(), SHA256);
    let appended = blobs.append(session, body(&first, 65_536), NO_LIMIT, &NoJournal);
    let row = appended.await.unwrap().session;
    gate.follow(trouble.clone());
    let refused = blobs.append(row.clone(), body(&rest, 65_536), NO_LIMIT, &NoJournal);
    let refused = refused.await.unwrap_err();
    assert!(expected(&refused), "{refused:?}");
    let refused = blobs.put(key(), body(&first, 65_536), NO_LIMIT, &digest, &NoJournal);
    let refused = refused.await.unwrap_err();
    assert!(expected(&refused), "{refused:?}");
    gate.heal();
    let row = blobs.append(row, body(&rest, 65_536), NO_LIMIT, &NoJournal);
    let row = row.await.unwrap().session;
    gate.follow(trouble);
    let refused = blobs.finish(&row, &digest).await.unwrap_err();
    assert!(expected(&refused), "{refused:?}");
    gate.heal();
    let stored = blobs.finish(&row, &digest).await.unwrap();
    assert!(read(blobs, &stored.key, bytes.len()).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_is_full_at_once_and_heals() {
    let server = s3::start().await;
    let (gate, blobs) = hasty(&server, SOON).await;
    for (status, code) in [(507, ""), (507, "XMinioStorageFull"), (403, "QuotaExceeded")] {
        let full = move |_, method: &hyper::Method, _: &str| {
            let writes = *method == hyper::Method::PUT || *method == hyper::Method::POST;
            writes.then_some(Fault::Answer(status, code))
        };
        is_refused_and_heals(&gate, &*blobs, full, |error| matches!(error, BlobError::Full)).await;
        gate.follow(full);
        let nothing = Digest::of(SHA256, b"");
        let put = blobs.put(key(), body(&Bytes::new(), 1), NO_LIMIT, &nothing, &NoJournal);
        assert!(matches!(put.await, Err(BlobError::Full)));
        // One asks for room, one for what may be there to go.
        assert_eq!(gate.requests(), 2, "a full bucket is not asked again");
        gate.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_always_busy_is_unavailable_and_heals() {
    let server = s3::start().await;
    let (gate, blobs) = hasty(&server, SOON).await;
    for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (429, "")] {
        let busy = move |_, _: &hyper::Method, _: &str| Some(Fault::Answer(status, code));
        let unavailable = |error: &BlobError| matches!(error, BlobError::Unavailable { .. });
        is_refused_and_heals(&gate, &*blobs, busy, unavailable).await;
        gate.follow(busy);
        let (stored, ready) = (key(), blobs.ready().await);
        assert!(ready.as_ref().is_err_and(unavailable), "{ready:?}");
        assert!(gate.requests() > 1, "a busy bucket is asked again");
        let opened = blobs.open(&stored, 0..1).await;
        assert!(opened.as_ref().is_err_and(unavailable), "{opened:?}");
        let deleted = blobs.delete(&stored).await;
        assert!(deleted.as_ref().is_err_and(unavailable), "{deleted:?}");
        gate.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_never_answers_is_unavailable_in_time() {
    let server = s3::start().await;
    let patience = Patience {
        answer: Duration::from_millis(200),
        bytes_per_s: u64::MAX,
        repeat_for: Duration::from_millis(300),
    };
    let (gate, blobs) = hasty(&server, patience).await;
    gate.follow(|_, _, _| Some(Fault::Never));
    let (bytes, object) = (content(10), key());
    let digest = Digest::of(SHA256, &bytes);
    let limit = Duration::from_secs(60);
    let put = blobs.put(object, body(&bytes, 1), NO_LIMIT, &digest, &NoJournal);
    let put = tokio::time::timeout(limit, put).await.unwrap();
    assert!(matches!(put, Err(BlobError::Unavailable { .. })), "{put:?}");
    let opened = tokio::time::timeout(limit, blobs.open(&object, 0..1))
        .await
        .unwrap();
    assert!(matches!(opened, Err(BlobError::Unavailable { .. })), "{opened:?}");
    assert_eq!(server.leftovers().await.objects, 0);
}

/// What an answer holds back for too long is asked for again, and nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stops_in_the_middle_is_gone_on_with_or_ends() {
    let server = s3::start().await;
    let patience = Patience {
        answer: Duration::from_secs(2),
        ..SOON
    };
    let (gate, blobs) = hasty(&server, patience).await;
    let bytes = content(1 << 20);
    let digest = Digest::of(SHA256, &bytes);
    let put = blobs.put(key(), body(&bytes, 65_536), NO_LIMIT, &digest, &NoJournal);
    let stored = put.await.unwrap();
    gate.follow(|number, _, _| (number == 1).then_some(Fault::Stall(500_000)));
    assert!(read(&*blobs, &stored.key, bytes.len()).await == bytes);
    assert!(gate.requests() > 1);
    gate.follow(|_, _, _| Some(Fault::Stall(0)));
    let Content::Stream(pieces) = blobs.open(&stored.key, 0..stored.size).await.unwrap() else {
        unreachable!("a bucket's object is a stream")
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), pieces.try_collect::<Vec<_>>());
    assert!(ended.await.unwrap().is_err());
}

/// A clock that stands still.
#[derive(Debug)]
struct Standing(Timestamp);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The server is asked afterwards which multipart uploads are open.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_expires_takes_its_multipart_upload_along() {
    let (store, database) = (moto::start().await, sqlite::start().await);
    let rows = database.rows();
    let bytes = content(9 << 20);
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    let writer = claim("u", "w");
    let upload = rows
        .claim_upload(&name("a"), &writer, at(1), at(60))
        .await
        .unwrap();
    let begun = Session::new(upload.object_key.parse().unwrap(), SHA256);
    let blobs = store.blobs();
    let appended = blobs.append(begun, body(&bytes, 65_536), NO_LIMIT, &NoJournal);
    let appended = appended.await.unwrap().session;
    let progress = UploadProgress {
        claim: writer,
        from: 0,
        offset: appended.offset,
        hash_state: None,
        staged: appended.staged.to_text(),
        now: at(2),
        hold: None,
        expires: at(3600),
    };
    rows.advance_upload(progress).await.unwrap();
    let left = store.leftovers().await;
    assert_eq!(
        (left.objects, left.staged),
        (0, 2),
        "a multipart upload and a tail"
    );
    for (seconds, ended) in [(3599, 0), (3601, 1), (3602, 0)] {
        let clock = Arc::new(Standing(at(seconds)));
        let rules = Rules {
            deletes: true,
            sparse_manifests: false,
            media_types: Vec::new(),
            manifest: ManifestLimits::default(),
            uploads_per_user: 10,
            upload_life: Duration::from_secs(3600),
            lease: Duration::from_secs(3600),
        };
        let repo = Repo::new(
            Arc::clone(&rows),
            store.blobs(),
            clock,
            Arc::new(SystemRandom),
            rules,
        );
        assert_eq!(
            repo.end_expired_uploads().await.unwrap(),
            ended,
            "after {seconds} s"
        );
    }
    let left = store.leftovers().await;
    assert_eq!((left.objects, left.staged), (0, 0));
}

/// S3 sends "200" before it has put the parts together, and what became of it later.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_an_answer_of_200_is_a_failure() {
    let server = s3::start().await;
    let (gate, blobs) = hasty(&server, SOON).await;
    let bytes = content(9 << 20);
    let digest = Digest::of(SHA256, &bytes);
    let session = Session::new(key(), SHA256);
    let appended = blobs.append(session, body(&bytes, 65_536), NO_LIMIT, &NoJournal);
    let row = appended.await.unwrap().session;
    let completes =
        |method: &hyper::Method, target: &str| *method == hyper::Method::POST && target.contains("uploadId=");
    gate.follow(move |_, method, target| {
        completes(method, target).then_some(Fault::Answer(200, "InternalError"))
    });
    let refused = blobs.finish(&row, &digest).await;
    assert!(
        matches!(refused, Err(BlobError::Unavailable { .. })),
        "{refused:?}"
    );
    // One such answer is asked again.
    gate.follow({
        let first = std::sync::atomic::AtomicBool::new(true);
        move |_, method, target| {
            let fails = completes(method, target) && first.swap(false, std::sync::atomic::Ordering::Relaxed);
            fails.then_some(Fault::Answer(200, "InternalError"))
        }
    });
    let stored = blobs.finish(&row, &digest).await.unwrap();
    assert!(read(&*blobs, &stored.key, bytes.len()).await == bytes);
}
