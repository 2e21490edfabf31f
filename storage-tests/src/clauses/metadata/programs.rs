//! Robots and API keys.

use wharf_registry::metadata::{ApiKey, Error, NewRobot};

use super::accounts::moved;
use super::{at, rule, user};
use crate::backends::rows::RowsUnderTest;

fn robot(name: &str, secret: &str) -> NewRobot {
    NewRobot {
        name: name.to_owned(),
        secret_hash: secret.to_owned(),
        created_by: "alice".to_owned(),
        expires: None,
        rules: vec![],
    }
}

fn key(id: &str, user: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        user: user.to_owned(),
        secret_hash: vec![0, 1, 255],
        scope: vec![
            "a/**:pull".parse().unwrap(),
            "b:pull,push,delete".parse().unwrap(),
        ],
        created: at(5),
        expires: Some(at(9)),
    }
}

/// A robot reads back, expired or not; put again it is the same one with another secret, end and version, and keeps
/// the rules that it has.
pub async fn a_robot_is_added_and_given_another_secret(store: RowsUnderTest) {
    let rows = store.rows();
    let mut new = robot("robot/b", "one");
    new.expires = Some(at(1));
    new.rules = vec![rule("robot/b", "a/**", "pull")];
    assert!(rows.put_robot(new, at(5)).await.unwrap());
    let first = rows.robot("robot/b").await.unwrap().unwrap();
    assert_eq!(
        (
            first.name.as_str(),
            first.secret_hash.as_str(),
            first.created_by.as_str()
        ),
        ("robot/b", "one", "alice")
    );
    assert_eq!((first.created, first.expires), (at(5), Some(at(1))));
    assert!(!rows.put_robot(robot("robot/b", "two"), at(6)).await.unwrap());
    let second = rows.robot("robot/b").await.unwrap().unwrap();
    assert_eq!((second.secret_hash.as_str(), second.expires), ("two", None));
    assert!(second.version > first.version);
    assert_eq!(rows.rules().await.unwrap(), [rule("robot/b", "a/**", "pull")]);
    for name in ["robot/B", "b", "", "robot/b\u{0}", "%"] {
        assert_eq!(rows.robot(name).await.unwrap(), None, "{name:?}");
    }
    assert!(rows.put_robot(robot("robot/a", "x"), at(7)).await.unwrap());
    let robots = rows.robots().await.unwrap();
    let names: Vec<&str> = robots.iter().map(|robot| robot.name.as_str()).collect();
    assert_eq!(names, ["robot/a", "robot/b"]);
}

/// It goes once, with the rules that name it and no others, and has another version when it comes again.
pub async fn a_removed_robot_takes_its_rules(store: RowsUnderTest) {
    let rows = store.rows();
    let mut new = robot("robot/b", "one");
    new.rules = vec![rule("robot/b", "a/**", "pull")];
    rows.put_robot(new, at(0)).await.unwrap();
    rows.grant(rule("b", "a/**", "pull")).await.unwrap();
    let version = rows.robot("robot/b").await.unwrap().unwrap().version;
    assert!(!rows.remove_robot("b").await.unwrap());
    assert!(rows.remove_robot("robot/b").await.unwrap());
    assert!(!rows.remove_robot("robot/b").await.unwrap());
    assert_eq!(rows.rules().await.unwrap(), [rule("b", "a/**", "pull")]);
    rows.put_robot(robot("robot/b", "one"), at(0)).await.unwrap();
    assert!(rows.robot("robot/b").await.unwrap().unwrap().version > version);
}

/// A key reads back exactly, is listed by user, belongs to a user who exists, and goes when it or its user does.
pub async fn a_key_reads_back_and_goes_with_its_user(store: RowsUnderTest) {
    let rows = store.rows();
    let refused = rows.add_key(key("1", "alice")).await.unwrap_err();
    assert!(matches!(refused, Error::UserUnknown(name) if name == "alice"));
    rows.add_user(user("bob"), at(0)).await.unwrap();
    rows.add_user(user("alice"), at(0)).await.unwrap();
    let mut lasting = key("2", "alice");
    lasting.expires = None;
    let (one, three) = (key("1", "bob"), key("3", "alice"));
    for key in [&one, &lasting, &three] {
        rows.add_key(key.clone()).await.unwrap();
    }
    assert_eq!(rows.key("2").await.unwrap(), Some(lasting.clone()));
    assert_eq!(rows.keys().await.unwrap(), [lasting, three, one.clone()]);
    for id in ["", "4", "1\u{0}", "%"] {
        assert_eq!(rows.key(id).await.unwrap(), None, "{id:?}");
    }
    assert!(rows.remove_key("2").await.unwrap());
    assert!(!rows.remove_key("2").await.unwrap());
    assert!(rows.remove_user("alice").await.unwrap());
    assert_eq!(rows.keys().await.unwrap(), [one]);
}

/// Every change is seen by every replica, for a command beside the server too.
pub async fn every_change_of_programs_moves_the_epoch_everywhere(store: RowsUnderTest) {
    let (rows, other, command) = (store.rows(), store.another().await, store.command().await);
    command.add_user(user("alice"), at(0)).await.unwrap();
    let mut here = rows.auth_epoch().await.unwrap();
    let mut there = other.auth_epoch().await.unwrap();
    command.put_robot(robot("robot/b", "one"), at(0)).await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    rows.put_robot(robot("robot/b", "two"), at(0)).await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    command.add_key(key("1", "alice")).await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    command.remove_key("1").await.unwrap();
    (here, there) = (moved(&*rows, here).await, moved(&*other, there).await);
    command.remove_robot("robot/b").await.unwrap();
    moved(&*rows, here).await;
    moved(&*other, there).await;
}
