//! The registry's signing keys, and the refresh tokens it has given out.

use std::time::Duration;

use super::{Answer, User};
use crate::clock::Timestamp;

/// A key that signs the registry's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its `kid`.
    pub id: String,
    /// Its algorithm, as JWT names it.
    pub algorithm: String,
    /// The private key, in the form that its maker chose.
    pub private: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when tokens signed with it are accepted.
    pub expires: Timestamp,
}

/// A refresh token to remember.
#[derive(Debug, Clone)]
pub struct NewRefreshToken {
    /// A hash of the token; the token itself is not kept.
    pub hash: Vec<u8>,
    /// Whose it is.
    pub user: String,
    /// The version of the user's row by which the caller knows the user: a password that was changed since then gets
    /// no token.
    pub user_version: i64,
    /// The client that asked for it, by its own word.
    pub client: String,
    /// The present moment.
    pub now: Timestamp,
    /// How long it lives without being used.
    pub life: Duration,
}

/// Signing keys and refresh tokens.
pub trait TokenRows {
    /// Returns the keys that have not expired, the newest first, after adding `candidate` if none of them was made at
    /// `newer_than` or later. Of replicas that start together, or rotate together, one adds its candidate and all
    /// return the same.
    fn signing_keys(
        &self,
        candidate: SigningKey,
        newer_than: Timestamp,
        now: Timestamp,
    ) -> Answer<'_, Vec<SigningKey>>;

    /// Returns the keys that have not expired, the newest first.
    fn current_signing_keys(&self, now: Timestamp) -> Answer<'_, Vec<SigningKey>>;

    /// Remembers a refresh token.
    ///
    /// # Errors
    /// [`Error::UserUnknown`](super::Error::UserUnknown) if there is no such user, or its row has another version.
    fn add_refresh_token(&self, token: NewRefreshToken) -> Answer<'_, ()>;

    /// Finds the user of a refresh token that is alive, and lets it live for `life` from now (to spare writes, up to
    /// a hundredth less). It is dead once unused for its life, with its user, and with a changed password.
    fn use_refresh_token<'a>(
        &'a self,
        hash: &'a [u8],
        now: Timestamp,
        life: Duration,
    ) -> Answer<'a, Option<User>>;

    /// Forgets a refresh token; returns whether there was one.
    fn remove_refresh_token<'a>(&'a self, hash: &'a [u8]) -> Answer<'a, bool>;

    /// Forgets the refresh tokens that have died of age; returns how many.
    fn remove_dead_refresh_tokens(&self, now: Timestamp) -> Answer<'_, u64>;
}
