//! Users and rules.

use std::time::{Duration, Instant};

use wharf_registry::metadata::{Error, Metadata};

use super::{at, pattern, rule, user};
use crate::backends::rows::RowsUnderTest;

/// Waits until a replica's epoch is another than this one; it must be within two seconds.
pub(super) async fn moved(rows: &dyn Metadata, epoch: i64) -> i64 {
    let begin = Instant::now();
    loop {
        let now = rows.auth_epoch().await.unwrap();
        if now != epoch {
            assert!(now > epoch, "the epoch went back from {epoch} to {now}");
            return now;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "the epoch stayed at {epoch}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A user reads back; a name is taken once, and compared byte by byte.
pub async fn a_user_is_added_once(store: RowsUnderTest) {
    let rows = store.rows();
    let mut alice = user("alice");
    alice.admin = true;
    alice.rules = vec![rule("alice", "alice/**", "pull,push,delete")];
    rows.add_user(alice.clone(), at(5)).await.unwrap();
    let found = rows.user("alice").await.unwrap().unwrap();
    assert_eq!(
        (found.name, found.password_hash, found.admin),
        ("alice".into(), alice.password_hash, true)
    );
    assert_eq!(found.created, at(5));
    assert_eq!(rows.rules().await.unwrap(), alice.rules);

    let mut again = user("alice");
    again.rules = vec![rule("alice", "**", "pull")];
    let refused = rows.add_user(again, at(6)).await.unwrap_err();
    assert!(matches!(refused, Error::UserExists(name) if name == "alice"));
    assert_eq!(rows.rules().await.unwrap(), alice.rules);
    for name in ["Alice", "alice ", "alic", "", "alice\u{0}", "alice'", "%"] {
        assert_eq!(rows.user(name).await.unwrap(), None, "{name:?}");
    }
    rows.add_user(user("Zoe"), at(6)).await.unwrap();
    rows.add_user(user("bob"), at(6)).await.unwrap();
    let names: Vec<String> = rows
        .users()
        .await
        .unwrap()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(names, ["Zoe", "alice", "bob"]);
}

/// The first user is made once in a database's life, and not beside others.
pub async fn the_first_user_is_made_once(store: RowsUnderTest) {
    let (rows, other) = (store.rows(), store.another().await);
    assert!(rows.add_first_user(user("admin"), at(0)).await.unwrap());
    assert!(!other.add_first_user(user("admin2"), at(0)).await.unwrap());
    assert!(rows.remove_user("admin").await.unwrap());
    assert!(!rows.add_first_user(user("admin"), at(1)).await.unwrap());
    assert_eq!(rows.users().await.unwrap(), []);
}

/// Of replicas that start together one makes it.
pub async fn replicas_that_start_together_make_one_first_user(store: RowsUnderTest) {
    let replicas = [store.rows(), store.another().await, store.another().await];
    let made = futures_util::future::join_all(
        replicas
            .iter()
            .map(async |rows| rows.add_first_user(user("admin"), at(0)).await.unwrap()),
    )
    .await;
    assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(store.rows().users().await.unwrap().len(), 1);
}

/// Where a command has added a user before the first start, no other is made.
pub async fn no_first_user_is_made_beside_others(store: RowsUnderTest) {
    let rows = store.rows();
    rows.add_user(user("alice"), at(0)).await.unwrap();
    assert!(!rows.add_first_user(user("admin"), at(1)).await.unwrap());
    assert_eq!(rows.user("admin").await.unwrap(), None);
}

/// A version is another one after each change, and for one who was removed and added again.
pub async fn a_users_version_is_never_the_same(store: RowsUnderTest) {
    let rows = store.rows();
    let mut versions = Vec::new();
    for round in 0..3 {
        rows.add_user(user("alice"), at(round)).await.unwrap();
        versions.push(rows.user("alice").await.unwrap().unwrap().version);
        rows.set_password("alice", "the same").await.unwrap();
        versions.push(rows.user("alice").await.unwrap().unwrap().version);
        rows.add_user(user("bob"), at(round)).await.unwrap();
        versions.push(rows.user("bob").await.unwrap().unwrap().version);
        assert!(rows.remove_user("alice").await.unwrap());
        assert!(rows.remove_user("bob").await.unwrap());
    }
    let distinct: std::collections::BTreeSet<i64> = versions.iter().copied().collect();
    assert_eq!(distinct.len(), versions.len(), "{versions:?}");
    let refused = rows.set_password("alice", "x").await.unwrap_err();
    assert!(matches!(refused, Error::UserUnknown(name) if name == "alice"));
    assert!(!rows.remove_user("alice").await.unwrap());
}

/// A rule replaces the one of the same pattern, goes when revoked, and goes with the user that it names.
pub async fn rules_are_set_and_removed(store: RowsUnderTest) {
    let rows = store.rows();
    rows.add_user(user("bob"), at(0)).await.unwrap();
    rows.grant(rule("bob", "b/**", "pull")).await.unwrap();
    rows.grant(rule("bob", "a/**", "pull")).await.unwrap();
    rows.grant(rule("alice", "z", "push")).await.unwrap();
    rows.grant(rule("*", "**", "pull")).await.unwrap();
    rows.grant(rule("bob", "b/**", "push,pull")).await.unwrap();
    let all = [
        rule("*", "**", "pull"),
        rule("alice", "z", "push"),
        rule("bob", "a/**", "pull"),
        rule("bob", "b/**", "pull,push"),
    ];
    assert_eq!(rows.rules().await.unwrap(), all);
    assert_eq!(rows.rules_of(&["bob"]).await.unwrap(), all[2..]);
    assert_eq!(
        rows.rules_of(&["bob", "*"]).await.unwrap(),
        [&all[..1], &all[2..]].concat()
    );
    assert_eq!(rows.rules_of(&[]).await.unwrap(), []);
    for odd in ["b'ob", "bo\"b", "bob\u{0}", "\\", "ä\n"] {
        assert_eq!(
            rows.rules_of(&[odd, "alice"]).await.unwrap(),
            all[1..2],
            "{odd:?}"
        );
    }
    assert!(rows.revoke("bob", &pattern("a/**")).await.unwrap());
    assert!(!rows.revoke("bob", &pattern("a/**")).await.unwrap());
    assert!(rows.remove_user("bob").await.unwrap());
    assert_eq!(rows.rules().await.unwrap(), all[..2]);
}

/// Every change of rights moves the epoch, on every replica, and for a command beside the server.
pub async fn every_change_of_rights_moves_the_epoch_everywhere(store: RowsUnderTest) {
    let (rows, other, command) = (store.rows(), store.another().await, store.command().await);
    let mut here = rows.auth_epoch().await.unwrap();
    let mut there = other.auth_epoch().await.unwrap();
    command.add_user(user("alice"), at(0)).await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    command.set_password("alice", "x").await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    rows.grant(rule("alice", "a", "pull")).await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    rows.revoke("alice", &pattern("a")).await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    command.remove_user("alice").await.unwrap();
    moved(&*rows, here).await;
    moved(&*other, there).await;
}
