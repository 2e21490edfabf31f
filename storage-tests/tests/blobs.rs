//! The object stores' contract, over a folder, over two S3 servers, and through troubles.

storage_tests::stamp!(blobs: disk, s3, troubled, moto; [
    a_blob_put_whole_reads_back,
    a_blob_of_no_bytes_is_a_blob,
    any_replica_continues_any_upload,
    bytes_behind_the_rows_offset_are_overwritten,
    a_stream_that_breaks_off_keeps_what_came,
    a_put_that_fails_leaves_nothing,
    an_append_over_its_limit_changes_nothing,
    a_wrong_digest_changes_nothing,
    an_unknown_hash_state_is_a_lost_session,
    uploads_at_once_do_not_mix,
    a_dropped_append_is_taken_up_from_the_row,
    many_small_chunks_are_one_blob,
]);

mod objects {
    storage_tests::stamp!(objects: disk, s3, troubled, moto; [
        any_range_can_be_read,
        what_is_missing_or_short_is_named,
        a_signed_url_gives_the_bytes_and_ends,
        a_delete_takes_one_object,
        many_objects_are_deleted_at_once,
        a_store_that_is_well_is_ready,
    ]);
}

mod upload_ends {
    storage_tests::stamp!(upload_ends: disk, s3, troubled, moto; [
        a_finish_can_be_repeated_anywhere,
        a_finished_object_never_changes,
        an_abort_leaves_nothing,
        an_aborted_session_is_lost,
        a_callers_death_leaves_nothing_that_no_row_names,
        an_upload_may_end_with_its_last_bytes,
    ]);
}

mod faults {
    use storage_tests::backends::{ObjectStoreUnderTest as _, key, s3};
    use storage_tests::clauses::blobs::{body, content};
    use storage_tests::faults::{Faults, When};
    use wharf_protocol::digest::{Algorithm, Digest};
    use wharf_registry::blobs::{BlobError, Content, NoJournal, Session};

    use futures_util::TryStreamExt as _;

    /// An upload in two pieces is failed at its first, second, … call of the bucket until it goes through. Each time a
    /// healthy replica takes it up from the last row, and what it stores is whole.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_that_fails_at_any_call_is_taken_up_from_its_row() {
        let store = s3::start().await;
        let bytes = content((16 << 20) + 100);
        let expected = Digest::of(Algorithm::Sha256, &bytes);
        let (first, second) = (bytes.slice(..9 << 20), bytes.slice(9 << 20..));
        for when in [When::Before, When::After] {
            for n in 1.. {
                let faulty = store.faulty(Faults::from_call(n, when));
                let mut row = Session::new(key(), Algorithm::Sha256);
                let mut finished = false;
                for piece in [&first, &second] {
                    match faulty
                        .append(row.clone(), body(piece, 65_536), u64::MAX, &NoJournal)
                        .await
                    {
                        Ok(appended) => row = appended.session,
                        Err(_) => break,
                    }
                }
                if row.offset == u64::try_from(bytes.len()).unwrap() {
                    finished = faulty.finish(&row, &expected).await.is_ok();
                }
                let healthy = store.blobs();
                let rest = bytes.slice(usize::try_from(row.offset).unwrap()..);
                if !rest.is_empty() {
                    row = healthy
                        .append(row, body(&rest, 65_536), u64::MAX, &NoJournal)
                        .await
                        .unwrap()
                        .session;
                }
                let stored = healthy.finish(&row, &expected).await.unwrap();
                let Content::Stream(pieces) = healthy.open(&stored.key, 0..stored.size).await.unwrap() else {
                    unreachable!("a bucket's object is a stream")
                };
                assert!(
                    pieces.try_collect::<Vec<_>>().await.unwrap().concat() == bytes,
                    "call {n}"
                );
                if finished {
                    assert!(n > 5, "the faults were met");
                    break;
                }
            }
        }
    }

    /// An abort or a delete that fails at any call is repeated, and then nothing is left.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_abort_or_a_delete_that_fails_at_any_call_can_be_repeated() {
        let store = s3::start().await;
        let (healthy, bytes) = (store.blobs(), content(9 << 20));
        let expected = Digest::of(Algorithm::Sha256, &bytes);
        for when in [When::Before, When::After] {
            for n in 1.. {
                let faulty = store.faulty(Faults::from_call(n, when));
                let session = Session::new(key(), Algorithm::Sha256);
                let appended = healthy.append(session, body(&bytes, 65_536), u64::MAX, &NoJournal);
                let row = appended.await.unwrap().session;
                let put = healthy.put(key(), body(&bytes, 65_536), u64::MAX, &expected, &NoJournal);
                let stored = put.await.unwrap();
                let aborted = faulty.abort(&row).await;
                let deleted = faulty.delete(&stored.key).await;
                healthy.abort(&row).await.unwrap();
                healthy.delete(&stored.key).await.unwrap();
                let left = store.leftovers().await;
                assert_eq!((left.objects, left.staged), (0, 0), "call {n}");
                if aborted.is_ok() && deleted.is_ok() {
                    assert!(n > 2, "the faults were met");
                    break;
                }
            }
        }
    }

    /// A read that breaks off goes on where it was; if it cannot, it is an error, never a short object.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_that_breaks_off_goes_on_or_is_an_error() {
        let store = s3::start().await;
        let bytes = content(1 << 20);
        let expected = Digest::of(Algorithm::Sha256, &bytes);
        let stored = store
            .blobs()
            .put(key(), body(&bytes, 65_536), u64::MAX, &expected, &NoJournal)
            .await
            .unwrap();
        let often = store.faulty(Faults::cut_reads_after(300_000));
        let Content::Stream(pieces) = often.open(&stored.key, 7..stored.size).await.unwrap() else {
            unreachable!("a bucket's object is a stream")
        };
        assert!(pieces.try_collect::<Vec<_>>().await.unwrap().concat() == bytes[7..]);
        let faulty = store.faulty(Faults::cut_reads_after(0));
        let Content::Stream(pieces) = faulty.open(&stored.key, 0..stored.size).await.unwrap() else {
            unreachable!("a bucket's object is a stream")
        };
        assert!(pieces.try_collect::<Vec<_>>().await.is_err());
        // The other digest is verified by reading: what breaks off verifies nothing.
        let session = Session::new(key(), Algorithm::Sha512);
        let session = faulty
            .append(session, body(&bytes, 65_536), u64::MAX, &NoJournal)
            .await
            .unwrap()
            .session;
        let unverified = faulty.finish(&session, &expected).await;
        assert!(matches!(unverified, Err(BlobError::Io { .. })), "{unverified:?}");
        store.blobs().finish(&session, &expected).await.unwrap();
    }
}
