//! Users and the rules that say what they may do.

use super::{Actions, Answer, Pattern};
use crate::clock::Timestamp;

/// A user to add.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name, which stays. Names are compared byte by byte.
    pub name: String,
    /// The argon2 hash of the password, in PHC form.
    pub password_hash: String,
    /// Whether the user may do everything.
    pub admin: bool,
    /// The rules that the user begins with, whoever they name.
    pub rules: Vec<Rule>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The argon2 hash of the password, in PHC form.
    pub password_hash: String,
    /// Whether the user may do everything.
    pub admin: bool,
    /// Goes up with every change of the user's row; never the same for two users, nor for one that was removed and
    /// added again. What is remembered of a user is remembered under this number.
    pub version: i64,
    /// When the user was added.
    pub created: Timestamp,
}

/// What somebody may do in the repositories of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A user's name, or a word that the policy gives a meaning to.
    pub who: String,
    /// Which repositories.
    pub pattern: Pattern,
    /// What is allowed there.
    pub actions: Actions,
}

/// Users and rules.
pub trait Accounts {
    /// Returns a number that has gone up since any change of users, passwords, robots, keys or rules more than a second ago, by
    /// whichever replica or command. It is cheap: what is remembered of rights is asked again when it has moved.
    fn auth_epoch(&self) -> Answer<'_, i64>;

    /// Adds a user with the first rules.
    ///
    /// # Errors
    /// [`Error::UserExists`](super::Error::UserExists).
    fn add_user(&self, user: NewUser, now: Timestamp) -> Answer<'_, ()>;

    /// Adds the first user of a database on which this has never been done; returns whether it did. Of replicas that
    /// start together, one does. It stays done when that user is removed.
    fn add_first_user(&self, user: NewUser, now: Timestamp) -> Answer<'_, bool>;

    /// Finds a user by name.
    fn user<'a>(&'a self, name: &'a str) -> Answer<'a, Option<User>>;

    /// Lists all users in byte order of their names.
    fn users(&self) -> Answer<'_, Vec<User>>;

    /// Gives a user another password; every refresh token of the user is dead with it.
    ///
    /// # Errors
    /// [`Error::UserUnknown`](super::Error::UserUnknown).
    fn set_password<'a>(&'a self, name: &'a str, password_hash: &'a str) -> Answer<'a, ()>;

    /// Removes a user with the rules that name it, its refresh tokens, its API keys and its stars; returns whether there was one.
    /// What it pushed stays.
    fn remove_user<'a>(&'a self, name: &'a str) -> Answer<'a, bool>;

    /// Sets what somebody may do in a pattern's repositories, in place of what a rule of the same pattern said. Nobody
    /// of that name need exist.
    fn grant(&self, rule: Rule) -> Answer<'_, ()>;

    /// Removes the rule of somebody for a pattern; returns whether there was one.
    fn revoke<'a>(&'a self, who: &'a str, pattern: &'a Pattern) -> Answer<'a, bool>;

    /// Lists all rules, by whom they name, then by pattern, in byte order.
    fn rules(&self) -> Answer<'_, Vec<Rule>>;

    /// Lists the rules that name one of these, in the same order.
    fn rules_of<'a>(&'a self, who: &'a [&'a str]) -> Answer<'a, Vec<Rule>>;
}
