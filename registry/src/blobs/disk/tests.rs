use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use wharf_protocol::digest::Algorithm;

use super::*;
use crate::blobs::NoJournal;
use crate::clock::Timestamp;

fn key() -> Key {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Key::new(
        Timestamp::from_millis(1),
        u128::from(NEXT.fetch_add(1, Ordering::Relaxed)),
    )
}

fn body(pieces: &[&'static [u8]]) -> ByteStream<'static> {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
    Box::pin(stream::iter(pieces))
}

fn names(folder: &Path, inside: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(inside)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_second_server_is_kept_out_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Disk::open(folder.path()).unwrap();
    let refused = Disk::open(folder.path()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Locked { folder: named } if named == folder.path()),
        "{refused}"
    );
    drop(first);
    Disk::open(folder.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Disk::open(&file.join("storage")).unwrap_err().to_string();
    assert!(refused.contains("file/storage/uploads"), "{refused}");
}

#[tokio::test]
async fn without_nameless_files_a_put_leaves_nothing_but_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    disk.folders.without_unnamed();
    let expected = Digest::of(Algorithm::Sha256, b"whole");
    let stored = disk
        .put(key(), body(&[b"wh", b"ole"]), 10, &expected, &NoJournal)
        .await
        .unwrap();
    assert_eq!(names(folder.path(), "blobs"), [stored.key.ulid()]);
    let wrong = disk
        .put(key(), body(&[b"other"]), 10, &expected, &NoJournal)
        .await;
    assert!(matches!(wrong, Err(BlobError::DigestMismatch { .. })));
    assert_eq!(names(folder.path(), "blobs").len(), 1);
    assert!(names(folder.path(), "uploads").is_empty());
}

#[tokio::test]
async fn a_crash_between_the_rename_and_the_row_is_finished_by_a_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let expected = Digest::of(Algorithm::Sha512, b"again");
    let disk = Disk::open(folder.path()).unwrap();
    let session = Session::new(key(), Algorithm::Sha256);
    let session = disk
        .append(session, body(&[b"again"]), 10, &NoJournal)
        .await
        .unwrap()
        .session;
    let first = disk.finish(&session, &expected).await.unwrap();
    drop(disk);
    let disk = Disk::open(folder.path()).unwrap();
    assert_eq!(disk.finish(&session, &expected).await.unwrap(), first);
    assert!(names(folder.path(), "uploads").is_empty());
}

#[tokio::test]
async fn a_late_append_never_touches_the_finished_object() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let session = Session::new(key(), Algorithm::Sha256);
    let session = disk
        .append(session, body(&[b"done"]), 10, &NoJournal)
        .await
        .unwrap()
        .session;
    disk.finish(&session, &Digest::of(Algorithm::Sha256, b"done"))
        .await
        .unwrap();
    let late = disk
        .append(session.clone(), body(&[b"more"]), 10, &NoJournal)
        .await;
    assert!(matches!(late, Err(BlobError::SessionLost)), "{late:?}");
    let path = folder.path().join("blobs").join(session.key.ulid());
    assert_eq!(std::fs::read(path).unwrap(), b"done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_of_one_session_do_not_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(folder.path()).unwrap());
    let session = Session::new(key(), Algorithm::Sha256);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let endless = stream::iter([Ok(Bytes::from_static(b"x"))])
        .chain(stream::pending())
        .inspect(move |_| {
            begun.take().map(|begun| begun.send(()));
        });
    let slow = {
        let (disk, session) = (Arc::clone(&disk), session.clone());
        tokio::spawn(async move { disk.append(session, Box::pin(endless), 10, &NoJournal).await })
    };
    has_begun.await.unwrap();
    let second = disk.append(session.clone(), body(&[b"y"]), 10, &NoJournal).await;
    assert!(matches!(second, Err(BlobError::Busy)), "{second:?}");
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    let third = disk
        .append(session, body(&[b"yes"]), 10, &NoJournal)
        .await
        .unwrap();
    assert_eq!(third.session.offset, 3);
}

#[tokio::test]
async fn an_idle_upload_holds_no_memory_of_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(folder.path()).unwrap());
    let all = disk.intake.free_batches();
    let endless = stream::iter([Ok(Bytes::from_static(b"x"))]).chain(stream::pending());
    let idle = {
        let (disk, session) = (Arc::clone(&disk), Session::new(key(), Algorithm::Sha256));
        let name = session.key.ulid();
        tokio::spawn(async move { disk.append(session, Box::pin(endless), 10, &NoJournal).await });
        folder.path().join("uploads").join(name)
    };
    let arrived = async {
        while std::fs::metadata(&idle).map_or(0, |file| file.len()) < 1 || disk.intake.free_batches() < all {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived)
        .await
        .unwrap();
}

#[tokio::test]
async fn bytes_in_any_pieces_written_past_the_cache_or_through_it_are_read_as_they_came() {
    const MIB: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let whole: Vec<u8> = (0..4 * MIB)
        .map(|at| (at * 31 + at / 251).to_le_bytes()[0])
        .collect();
    // Where the appends end, and how large the pieces are: on blocks and beside them, on a batch's end and beside it.
    for (ends, piece) in [
        (&[4096][..], 4096),
        (&[64 * 1024 - 1, 64 * 1024, 3 * MIB], 100_000),
        (&[MIB, 2 * MIB], MIB),
        (&[MIB - 1, MIB + 1, 3 * MIB + 4095], 262_143),
        (&[5 * 4096, 5 * 4096 + 70_000, 4 * MIB], 4 * MIB),
        (&[2 * MIB + 512], 700),
    ] {
        let mut session = Session::new(key(), Algorithm::Sha256);
        let mut from = 0;
        for end in ends {
            let pieces = whole[from..*end].chunks(piece);
            let pieces: Vec<_> = pieces.map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let taken = disk
                .append(session, Box::pin(stream::iter(pieces)), u64::MAX, &NoJournal)
                .await;
            session = taken.unwrap().session;
            from = *end;
        }
        let expected = Digest::of(Algorithm::Sha256, &whole[..from]);
        let stored = disk.finish(&session, &expected).await.unwrap();
        let path = folder.path().join("blobs").join(stored.key.ulid());
        assert!(std::fs::read(path).unwrap() == whole[..from], "{ends:?}, {piece}");
    }
}
