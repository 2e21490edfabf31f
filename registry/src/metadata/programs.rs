//! What programs log in with: accounts of their own, and keys that act for a user.

use super::{Allowance, Answer, Rule};
use crate::clock::Timestamp;

/// A robot to add: the account of a program.
#[derive(Debug, Clone)]
pub struct NewRobot {
    /// The name, by which rules know it too.
    pub name: String,
    /// A hash of its secret; the secret itself is not kept.
    pub secret_hash: String,
    /// Who adds it.
    pub created_by: String,
    /// From when on it can't log in; never without.
    pub expires: Option<Timestamp>,
    /// Rules to set with it.
    pub rules: Vec<Rule>,
}

/// A robot. What it may do are the rules that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Robot {
    /// The name.
    pub name: String,
    /// A hash of its secret.
    pub secret_hash: String,
    /// Goes up with every change of the row, and never comes again, as a [`User`](super::User)'s does.
    pub version: i64,
    /// Who added it.
    pub created_by: String,
    /// When it was added, or given its secret.
    pub created: Timestamp,
    /// From when on it can't log in; never without.
    pub expires: Option<Timestamp>,
}

/// A key that acts for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The part of the key that is no secret.
    pub id: String,
    /// For whom it acts.
    pub user: String,
    /// A hash of its secret; the secret itself is not kept.
    pub secret_hash: Vec<u8>,
    /// What it may do, of what the user may.
    pub scope: Vec<Allowance>,
    /// When it was added.
    pub created: Timestamp,
    /// From when on it is good for nothing; never without.
    pub expires: Option<Timestamp>,
}

/// Robots and keys. Every change moves [`auth_epoch`](super::Accounts::auth_epoch).
pub trait Programs {
    /// Adds a robot with its rules, or gives one that exists another secret and another end; returns whether it is
    /// new.
    fn put_robot(&self, robot: NewRobot, now: Timestamp) -> Answer<'_, bool>;

    /// Finds a robot by name, expired or not.
    fn robot<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Robot>>;

    /// Lists all robots in byte order of their names.
    fn robots(&self) -> Answer<'_, Vec<Robot>>;

    /// Removes a robot with the rules that name it; returns whether there was one. What it pushed stays.
    fn remove_robot<'a>(&'a self, name: &'a str) -> Answer<'a, bool>;

    /// Adds a key, whose id is new. It goes when its user does.
    ///
    /// # Errors
    /// [`Error::UserUnknown`](super::Error::UserUnknown).
    fn add_key(&self, key: ApiKey) -> Answer<'_, ()>;

    /// Finds a key by its id, expired or not.
    fn key<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ApiKey>>;

    /// Lists all keys by user, then by id, in byte order.
    fn keys(&self) -> Answer<'_, Vec<ApiKey>>;

    /// Removes a key; returns whether there was one.
    fn remove_key<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;
}
