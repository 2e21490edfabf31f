//! Signing keys and refresh tokens.

use std::time::Duration;

use wharf_registry::metadata::{Error, Metadata, NewRefreshToken, SigningKey};

use super::{at, user};
use crate::backends::rows::RowsUnderTest;

const LIFE: Duration = Duration::from_secs(1000);

fn key(id: &str, created: i64) -> SigningKey {
    SigningKey {
        id: id.to_owned(),
        algorithm: "ES256".to_owned(),
        private: vec![0, 1, 255],
        created: at(created),
        expires: at(created + 100),
    }
}

fn ids(keys: &[SigningKey]) -> Vec<&str> {
    keys.iter().map(|key| key.id.as_str()).collect()
}

/// A candidate is added only when no key is new enough; expired ones are not returned.
pub async fn a_signing_key_is_added_when_none_is_new_enough(store: RowsUnderTest) {
    let rows = store.rows();
    assert_eq!(rows.current_signing_keys(at(0)).await.unwrap(), []);
    let keys = rows.signing_keys(key("1", 0), at(-50), at(0)).await.unwrap();
    assert_eq!(keys, [key("1", 0)]);
    let keys = rows.signing_keys(key("2", 50), at(0), at(50)).await.unwrap();
    assert_eq!(ids(&keys), ["1"]);
    let keys = rows.signing_keys(key("3", 60), at(10), at(60)).await.unwrap();
    assert_eq!(ids(&keys), ["3", "1"]);
    assert_eq!(ids(&rows.current_signing_keys(at(99)).await.unwrap()), ["3", "1"]);
    assert_eq!(ids(&rows.current_signing_keys(at(100)).await.unwrap()), ["3"]);
}

/// Replicas that start together sign with one key.
pub async fn replicas_that_start_together_have_one_key(store: RowsUnderTest) {
    let replicas = [
        store.rows(),
        store.another().await,
        store.another().await,
        store.another().await,
    ];
    let keys = futures_util::future::join_all(replicas.iter().enumerate().map(async |(number, rows)| {
        rows.signing_keys(key(&number.to_string(), 0), at(-50), at(0))
            .await
            .unwrap()
    }))
    .await;
    for of_one in &keys {
        assert_eq!(of_one.len(), 1);
        assert_eq!(of_one, &keys[0]);
    }
}

async fn give(rows: &dyn Metadata, hash: &[u8], name: &str) -> Result<(), Error> {
    let version = rows.user(name).await.unwrap().map_or(0, |user| user.version);
    give_to(rows, hash, name, version).await
}

async fn give_to(rows: &dyn Metadata, hash: &[u8], name: &str, version: i64) -> Result<(), Error> {
    let token = NewRefreshToken {
        hash: hash.to_vec(),
        user: name.to_owned(),
        user_version: version,
        client: "docker\u{0}".to_owned(),
        now: at(0),
        life: LIFE,
    };
    rows.add_refresh_token(token).await
}

/// A token lives on while it is used, and is dead once it was not.
pub async fn a_refresh_token_slides(store: RowsUnderTest) {
    let rows = store.rows();
    rows.add_user(user("alice"), at(0)).await.unwrap();
    give(&*rows, b"\x00hash", "alice").await.unwrap();
    let used = async |seconds| {
        rows.use_refresh_token(b"\x00hash", at(seconds), LIFE)
            .await
            .unwrap()
    };
    let found = used(999).await.unwrap();
    assert_eq!(Some(found), rows.user("alice").await.unwrap());
    assert!(used(1980).await.is_some());
    assert!(used(2970 - 1).await.is_some());
    assert_eq!(used(2969 + 1000).await, None);
    assert_eq!(rows.use_refresh_token(b"other", at(0), LIFE).await.unwrap(), None);
    assert_eq!(rows.remove_dead_refresh_tokens(at(2000)).await.unwrap(), 0);
    assert_eq!(rows.remove_dead_refresh_tokens(at(5000)).await.unwrap(), 1);
    assert_eq!(used(3000).await, None);
}

/// It dies with its user, with a changed password, and when it is removed; nobody else's does.
pub async fn a_refresh_token_dies_with_user_and_password(store: RowsUnderTest) {
    let rows = store.rows();
    for name in ["alice", "bob", "carol"] {
        rows.add_user(user(name), at(0)).await.unwrap();
        give(&*rows, name.as_bytes(), name).await.unwrap();
    }
    let alive = async |name: &str| {
        rows.use_refresh_token(name.as_bytes(), at(1), LIFE)
            .await
            .unwrap()
            .is_some()
    };
    rows.set_password("alice", "x").await.unwrap();
    rows.remove_user("bob").await.unwrap();
    assert!(!alive("alice").await && !alive("bob").await && alive("carol").await);
    rows.add_user(user("bob"), at(0)).await.unwrap();
    assert!(!alive("bob").await);
    assert!(rows.remove_refresh_token(b"carol").await.unwrap());
    assert!(!rows.remove_refresh_token(b"carol").await.unwrap());
    assert!(!alive("carol").await);
}

/// Who logged in with a password that was changed since then gets no token.
pub async fn a_token_is_bound_to_the_password_that_was_checked(store: RowsUnderTest) {
    let rows = store.rows();
    rows.add_user(user("alice"), at(0)).await.unwrap();
    let version = rows.user("alice").await.unwrap().unwrap().version;
    rows.set_password("alice", "x").await.unwrap();
    for (name, version) in [("alice", version), ("nobody", version)] {
        let refused = give_to(&*rows, b"hash", name, version).await.unwrap_err();
        assert!(matches!(refused, Error::UserUnknown(_)), "{refused}");
    }
    assert_eq!(rows.use_refresh_token(b"hash", at(1), LIFE).await.unwrap(), None);
}
