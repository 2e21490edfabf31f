//! Uploads that go from replica to replica.

use storage_tests::content::content;
use storage_tests::fleet::Fleet;
use storage_tests::fleet::bucket::Unfinished;
use storage_tests::fleet::client::{answer, sha256, with_digest};
use wharf_protocol::digest::{Algorithm, Digest};

const MIB: usize = 1 << 20;

/// Reads a blob from every replica.
async fn is_everywhere(fleet: &Fleet, name: &str, digest: &Digest, bytes: &[u8]) {
    for index in 0..fleet.replicas.len() {
        let got = fleet
            .admin_at(index)
            .get(&format!("/v2/{name}/blobs/{digest}"))
            .await;
        assert_eq!(got.status, 200, "replica {index}: {got:?}");
        assert!(got.body == bytes, "replica {index} has other bytes");
    }
}

/// Pieces that are less than a part of S3's, and more, and nothing: each goes to the next replica.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_begun_on_one_goes_on_on_the_second_and_ends_on_the_third() {
    let fleet = Fleet::three().await;
    let bytes = content(1, 21 * MIB + 5);
    let pieces = [3 * MIB, 4 * MIB, 9 * MIB + 1, 0, 10, 2 * MIB];
    let admin = |turn: usize| fleet.admin_at(turn % 3);
    let mut upload = admin(0).begin("team/app").await;
    let mut sent = 0;
    for (turn, piece) in (1..).zip(pieces) {
        let place = format!("{sent}-{}", (sent + piece).saturating_sub(1));
        let mut request = admin(turn)
            .ask("PATCH", &upload)
            .body(bytes[sent..sent + piece].to_vec());
        if piece > 0 {
            request = request.header("content-range", place);
        }
        let taken = answer(request).await.unwrap().expect(202);
        sent += piece;
        assert_eq!(taken.header("range"), format!("0-{}", sent - 1));
        upload = taken.header("location").to_owned();
        let told = admin(turn + 1).get(&upload).await.expect(204);
        assert_eq!(told.header("range"), format!("0-{}", sent - 1));
    }
    let digest = sha256(&bytes);
    let ended = admin(2)
        .finish(&upload, &digest, &bytes[sent..])
        .await
        .expect(201);
    assert_eq!(ended.header("docker-content-digest"), digest.to_string());
    is_everywhere(&fleet, "team/app", &digest, &bytes).await;
    assert_eq!(admin(0).get(&upload).await.status, 404);
    // One object, and nothing of the way there.
    assert_eq!(fleet.bucket.objects().len(), 1, "{:?}", fleet.bucket.objects());
    assert_eq!(fleet.bucket.unfinished(), Unfinished::default());
}

/// Through the proxy, so that no two requests reach the same replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_under_5_mib_waits_where_any_replica_finds_it() {
    let fleet = Fleet::three().await;
    let admin = fleet.admin();
    let bytes = content(2, 60_000);
    let mut upload = admin.begin("team/app").await;
    for piece in bytes.chunks(7_000) {
        upload = admin
            .patch(&upload, piece)
            .await
            .expect(202)
            .header("location")
            .to_owned();
    }
    let digest = sha256(&bytes);
    let _ = admin.finish(&upload, &digest, b"").await.expect(201);
    is_everywhere(&fleet, "team/app", &digest, &bytes).await;
    assert_eq!(fleet.bucket.objects().len(), 1, "{:?}", fleet.bucket.objects());
}

/// The first replicas hash for sha256; the last one is told that it is sha512, and reads the staged bytes again.
#[tokio::test(flavor = "multi_thread")]
async fn sha512_without_a_hint_is_verified_by_the_replica_that_ends_the_upload() {
    let fleet = Fleet::three().await;
    let bytes = content(3, 9 * MIB);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let (first, last) = bytes.split_at(5 * MIB);
    let upload = fleet.admin_at(0).begin("team/app").await;
    let taken = fleet.admin_at(1).patch(&upload, first).await.expect(202);
    let upload = taken.header("location");
    let _ = fleet.admin_at(2).finish(upload, &digest, last).await.expect(201);
    is_everywhere(&fleet, "team/app", &digest, &bytes).await;

    let at_once = content(4, 1000);
    let digest = Digest::of(Algorithm::Sha512, &at_once);
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let pushed = answer(fleet.admin_at(1).ask("POST", &path).body(at_once.clone())).await;
    let _ = pushed.unwrap().expect(201);
    is_everywhere(&fleet, "team/app", &digest, &at_once).await;

    let wrong = Digest::of(Algorithm::Sha512, b"other bytes");
    let upload = fleet.admin_at(0).begin("team/app").await;
    let taken = fleet.admin_at(1).patch(&upload, b"these bytes").await.expect(202);
    let refused = fleet
        .admin_at(2)
        .finish(taken.header("location"), &wrong, b"")
        .await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(
        fleet.admin_at(0).get(&upload).await.status,
        404,
        "the session is gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_pushed_or_mounted_on_one_replica_is_on_all_at_once() {
    let fleet = Fleet::three().await;
    for (round, size) in [0, 1, 5000, 9 * MIB].into_iter().enumerate() {
        let bytes = content(10 + round as u64, size);
        let digest = fleet.admin_at(round % 3).push_blob("team/app", &bytes).await;
        is_everywhere(&fleet, "team/app", &digest, &bytes).await;
        let into = format!("/v2/team/other/blobs/uploads/?mount={digest}&from=team/app");
        let mounted = fleet.admin_at((round + 1) % 3).send("POST", &into).await;
        assert_eq!(mounted.status, 201, "{mounted:?}");
        is_everywhere(&fleet, "team/other", &digest, &bytes).await;
    }
}

/// A chunk that is out of its order is refused by a replica that never saw the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_out_of_order_is_refused_everywhere_and_the_session_survives() {
    let fleet = Fleet::three().await;
    let upload = fleet.admin_at(0).begin("team/app").await;
    let taken = fleet.admin_at(1).patch(&upload, b"0123456789").await.expect(202);
    let upload = taken.header("location").to_owned();
    for index in 0..3 {
        let again = fleet.admin_at(index).ask("PATCH", &upload);
        let again = again.header("content-range", "0-9").body("0123456789");
        let refused = answer(again).await.unwrap().expect(416);
        assert_eq!(refused.header("range"), "0-9", "replica {index}");
    }
    let digest = sha256(b"0123456789!");
    let _ = fleet.admin_at(2).finish(&upload, &digest, b"!").await.expect(201);
}

/// The same last piece is sent to all replicas at the same moment: its bytes are taken once.
#[tokio::test(flavor = "multi_thread")]
async fn of_replicas_that_end_one_upload_at_once_one_does_and_no_byte_counts_twice() {
    let fleet = Fleet::three().await;
    for round in 0..5 {
        let bytes = content(20 + round, 30_000);
        let digest = sha256(&bytes);
        let upload = fleet.admin_at(0).begin("team/app").await;
        let taken = fleet
            .admin_at(1)
            .patch(&upload, &bytes[..20_000])
            .await
            .expect(202);
        let path = with_digest(taken.header("location"), &digest);
        let end = |index: usize| {
            let request = fleet.admin_at(index).ask("PUT", &path);
            answer(
                request
                    .header("content-range", "20000-29999")
                    .body(bytes[20_000..].to_vec()),
            )
        };
        let (a, b, c) = tokio::join!(end(0), end(1), end(2));
        let mut statuses = [a.unwrap().status, b.unwrap().status, c.unwrap().status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 404, 404], "round {round}");
        is_everywhere(&fleet, "team/app", &digest, &bytes).await;
    }
}
