//! Upload sessions.

use wharf_protocol::digest::Algorithm;
use wharf_registry::metadata::{Error, HashState, Upload, UploadProgress};

use super::{at, claim, commit, name, session};
use crate::backends::rows::RowsUnderTest;

fn progress(id: &str, writer: &str, from: u64, offset: u64) -> UploadProgress {
    UploadProgress {
        claim: claim(id, writer),
        from,
        offset,
        hash_state: Some(HashState {
            format: 3,
            bytes: vec![0, 255, 7],
        }),
        staged: "{\"parts\": [1, 2]}".to_owned(),
        now: at(1),
        hold: None,
        expires: at(7200),
    }
}

/// A session begins at 0, and is found in its repository alone.
pub async fn a_session_begins_empty_and_is_known_to_its_repository_alone(store: RowsUnderTest) {
    let rows = store.rows();
    let mut begun = session("u", "a/b");
    begun.algorithm = Algorithm::Sha512;
    rows.begin_upload(begun.clone(), 10).await.unwrap();
    let expected = Upload {
        id: "u".to_owned(),
        repository: name("a/b"),
        owner: "alice".to_owned(),
        object_key: begun.object_key,
        algorithm: Algorithm::Sha512,
        offset: 0,
        hash_state: None,
        staged: String::new(),
        started: at(0),
        expires: at(3600),
    };
    assert_eq!(
        rows.upload(&name("a/b"), "u", at(1)).await.unwrap(),
        Some(expected)
    );
    for (repository, id) in [("a", "u"), ("a/b", "v"), ("a/b", ""), ("a/b", "u\u{0}")] {
        assert_eq!(rows.upload(&name(repository), id, at(1)).await.unwrap(), None);
        let refused = rows
            .claim_upload(&name(repository), &claim(id, "w"), at(1), at(2))
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::UploadUnknown), "{refused}");
        assert_eq!(rows.end_upload(&name(repository), id).await.unwrap(), None);
    }
    let refused = rows.tags(&name("a/b"), None, 1).await.unwrap_err();
    assert!(
        matches!(refused, Error::RepositoryUnknown),
        "a session made a repository"
    );
}

/// What a writer writes down is what the next one gets, on whichever replica.
pub async fn a_session_goes_on_where_it_stood(store: RowsUnderTest) {
    let (rows, other) = (store.rows(), store.another().await);
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    rows.claim_upload(&name("a"), &claim("u", "w1"), at(0), at(60))
        .await
        .unwrap();
    rows.advance_upload(progress("u", "w1", 0, 1 << 40))
        .await
        .unwrap();
    let upload = other
        .claim_upload(&name("a"), &claim("u", "w2"), at(2), at(60))
        .await
        .unwrap();
    assert_eq!(upload.offset, 1 << 40);
    assert_eq!(
        upload.hash_state,
        Some(HashState {
            format: 3,
            bytes: vec![0, 255, 7]
        })
    );
    assert_eq!(upload.staged, "{\"parts\": [1, 2]}");
    assert_eq!(upload.expires, at(7200));
    assert_eq!(rows.upload(&name("a"), "u", at(2)).await.unwrap(), Some(upload));
}

/// One writer at a time, until it lets go or its time is up; then its changes are refused.
pub async fn one_writer_holds_a_session(store: RowsUnderTest) {
    let rows = store.rows();
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    let claims = async |writer: &str, seconds: i64| {
        rows.claim_upload(&name("a"), &claim("u", writer), at(seconds), at(seconds + 60))
            .await
    };
    claims("w1", 0).await.unwrap();
    let refused = claims("w2", 59).await.unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "{refused}");
    claims("w1", 30).await.unwrap();
    let refused = claims("w2", 89).await.unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "{refused}");
    claims("w2", 90).await.unwrap();
    let refused = rows.advance_upload(progress("u", "w1", 0, 5)).await.unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "{refused}");
    rows.release_upload(&claim("u", "w1")).await.unwrap();
    let refused = claims("w3", 91).await.unwrap_err();
    assert!(
        matches!(refused, Error::UploadBusy),
        "another's release let go: {refused}"
    );
    rows.release_upload(&claim("u", "w2")).await.unwrap();
    claims("w3", 92).await.unwrap();
    assert_eq!(
        rows.upload(&name("a"), "u", at(92))
            .await
            .unwrap()
            .unwrap()
            .offset,
        0
    );
}

/// Progress is compared and swapped, and renews the claim or lets go.
pub async fn progress_is_from_where_the_session_stands(store: RowsUnderTest) {
    let rows = store.rows();
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    let refused = rows.advance_upload(progress("u", "w", 0, 5)).await.unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "without a claim: {refused}");
    rows.claim_upload(&name("a"), &claim("u", "w"), at(0), at(60))
        .await
        .unwrap();
    let mut first = progress("u", "w", 0, 5);
    first.hold = Some(at(120));
    rows.advance_upload(first.clone()).await.unwrap();
    let refused = rows.advance_upload(first).await.unwrap_err();
    assert!(matches!(refused, Error::UploadMoved { offset: 5 }), "{refused}");
    let refused = rows
        .claim_upload(&name("a"), &claim("u", "x"), at(119), at(200))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "{refused}");
    rows.advance_upload(progress("u", "w", 5, 6)).await.unwrap();
    rows.claim_upload(&name("a"), &claim("u", "x"), at(2), at(60))
        .await
        .unwrap();
}

/// An expired session is unknown, and listed for its staged bytes to be given back.
pub async fn an_expired_session_is_unknown_and_listed(store: RowsUnderTest) {
    let rows = store.rows();
    for (id, expires) in [("late", 200), ("early", 100), ("held", 100), ("open", 4000)] {
        let mut begun = session(id, "a");
        begun.expires = at(expires);
        rows.begin_upload(begun, 10).await.unwrap();
    }
    rows.claim_upload(&name("a"), &claim("held", "w"), at(99), at(300))
        .await
        .unwrap();
    assert!(rows.upload(&name("a"), "early", at(99)).await.unwrap().is_some());
    assert_eq!(rows.upload(&name("a"), "early", at(100)).await.unwrap(), None);
    let refused = rows
        .claim_upload(&name("a"), &claim("early", "w"), at(100), at(160))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::UploadUnknown), "{refused}");
    let expired = async |seconds, limit| {
        let uploads = rows.expired_uploads(at(seconds), limit).await.unwrap();
        uploads.into_iter().map(|upload| upload.id).collect::<Vec<_>>()
    };
    assert_eq!(expired(99, 10).await, [""; 0]);
    assert_eq!(expired(299, 10).await, ["early", "late"]);
    assert_eq!(expired(300, 10).await, ["early", "held", "late"]);
    assert_eq!(expired(300, 1).await, ["early"]);
    assert_eq!(
        rows.end_upload(&name("a"), "early").await.unwrap().unwrap().id,
        "early"
    );
    rows.forget_upload("early").await.unwrap();
    assert_eq!(expired(299, 10).await, ["late"]);
}

/// A session that has ended is unknown to whoever writes; it is listed with the expired ones until it is forgotten, so
/// that a crash before its bytes are gone is made good.
pub async fn an_ended_session_is_listed_until_it_is_forgotten(store: RowsUnderTest) {
    let rows = store.rows();
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    rows.claim_upload(&name("a"), &claim("u", "w"), at(0), at(60))
        .await
        .unwrap();
    rows.forget_upload("u").await.unwrap();
    assert!(
        rows.upload(&name("a"), "u", at(1)).await.unwrap().is_some(),
        "it has not ended"
    );
    let ended = rows.end_upload(&name("a"), "u").await.unwrap().unwrap();
    assert_eq!(ended.id, "u");
    assert_eq!(rows.upload(&name("a"), "u", at(1)).await.unwrap(), None);
    let refused = rows.advance_upload(progress("u", "w", 0, 5)).await.unwrap_err();
    assert!(matches!(refused, Error::UploadUnknown), "{refused}");
    let mut pushed = commit("a", "content");
    pushed.upload = Some(claim("u", "w"));
    let refused = rows.commit_blob(pushed).await.unwrap_err();
    assert!(matches!(refused, Error::UploadUnknown), "{refused}");
    let listed = rows.expired_uploads(at(1), 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|upload| upload.id.as_str()).collect::<Vec<_>>(),
        ["u"]
    );
    // Whoever comes later, or at the same time, is told the same and may do it again.
    assert!(rows.end_upload(&name("a"), "u").await.unwrap().is_some());
    rows.forget_upload("u").await.unwrap();
    assert_eq!(rows.expired_uploads(at(1), 10).await.unwrap(), []);
    assert_eq!(rows.end_upload(&name("a"), "u").await.unwrap(), None);
}

/// A session that lives for one request is held by its maker from its begin on, however many are open.
pub async fn a_session_can_be_held_from_its_begin_on(store: RowsUnderTest) {
    let rows = store.rows();
    rows.begin_upload(session("open", "a"), 1).await.unwrap();
    let mut begun = session("u", "a");
    begun.held = Some(("w".to_owned(), at(60)));
    rows.begin_upload(begun, 1).await.unwrap();
    let refused = rows
        .claim_upload(&name("a"), &claim("u", "other"), at(59), at(100))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::UploadBusy), "{refused}");
    let mut pushed = commit("a", "content");
    pushed.upload = Some(claim("u", "w"));
    rows.commit_blob(pushed).await.unwrap();
    assert_eq!(rows.end_upload(&name("a"), "u").await.unwrap(), None);
}

/// The limit is on an owner's open sessions; ended and expired ones do not count.
pub async fn open_sessions_are_limited_by_owner(store: RowsUnderTest) {
    let rows = store.rows();
    let begin = async |id: &str, owner: &str, seconds: i64| {
        let mut begun = session(id, "a");
        owner.clone_into(&mut begun.owner);
        (begun.now, begun.expires) = (at(seconds), at(seconds + 100));
        rows.begin_upload(begun, 2).await
    };
    begin("1", "alice", 0).await.unwrap();
    begin("2", "alice", 0).await.unwrap();
    let refused = begin("3", "alice", 99).await.unwrap_err();
    assert!(matches!(refused, Error::TooManyUploads { limit: 2 }), "{refused}");
    begin("4", "bob", 99).await.unwrap();
    assert_eq!(rows.open_uploads("alice", at(99)).await.unwrap(), 2);
    assert_eq!(rows.open_uploads("alice", at(100)).await.unwrap(), 0);
    rows.end_upload(&name("a"), "1").await.unwrap().unwrap();
    begin("3", "alice", 99).await.unwrap();
    begin("5", "alice", 100).await.unwrap();
    let refused = begin("6", "alice", 100).await.unwrap_err();
    assert!(matches!(refused, Error::TooManyUploads { .. }), "{refused}");
}

/// A server that starts alone lets go of what its predecessor held.
pub async fn a_lone_server_lets_go_of_all_claims(store: RowsUnderTest) {
    let rows = store.rows();
    rows.begin_upload(session("u", "a"), 10).await.unwrap();
    rows.claim_upload(&name("a"), &claim("u", "w"), at(0), at(3000))
        .await
        .unwrap();
    rows.advance_upload(UploadProgress {
        hold: Some(at(3000)),
        ..progress("u", "w", 0, 5)
    })
    .await
    .unwrap();
    let rows = store.restarted().await;
    rows.release_all_uploads().await.unwrap();
    let upload = rows
        .claim_upload(&name("a"), &claim("u", "v"), at(1), at(60))
        .await
        .unwrap();
    assert_eq!(upload.offset, 5);
}
