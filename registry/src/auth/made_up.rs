//! Secrets that the registry makes up: those of robots, of API keys, and refresh tokens.
//!
//! Each is 32 bytes that nobody can foretell, behind a prefix that leak scanners know. So a plain hash of it is kept
//! (there is nothing to guess that a slow one would protect), and verifying costs next to nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::random::Random;

/// What the secret of a robot begins with.
const ROBOT: &str = "wharf_rb_";
/// What an API key begins with.
pub(super) const KEY: &str = "wharf_ak_";
/// What a refresh token begins with.
const REFRESH: &str = "wharf_rt_";
/// What a robot's whole name begins with, which is no user's: those have no slash.
const ROBOT_NAME: &str = "robot/";

/// Makes up the secret of a robot.
pub fn robot_secret(random: &dyn Random) -> String {
    secret(ROBOT, random)
}

pub(super) fn refresh_token(random: &dyn Random) -> String {
    secret(REFRESH, random)
}

fn secret(prefix: &str, random: &dyn Random) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random.secret()))
}

/// An API key: its id, by which its row is found, and the whole of it.
#[derive(Debug)]
pub struct NewKey {
    /// The part that is no secret.
    pub id: String,
    /// What is shown instead of a password.
    pub key: String,
}

/// Makes up an API key.
pub fn api_key(random: &dyn Random) -> NewKey {
    let id = format!("{:016x}", random.number() >> 64);
    let key = format!("{KEY}{id}_{}", URL_SAFE_NO_PAD.encode(random.secret()));
    NewKey { id, key }
}

/// Returns the id of what looks like an API key.
pub(super) fn key_id(password: &str) -> Option<&str> {
    let (id, _) = password.strip_prefix(KEY)?.split_once('_')?;
    Some(id)
}

/// Returns the name that a robot logs in with, and that rules know it by.
pub fn robot_name(name: &str) -> String {
    format!("{ROBOT_NAME}{name}")
}

/// Returns the part of a robot's name that is its own.
pub fn robots_own_name(name: &str) -> Option<&str> {
    name.strip_prefix(ROBOT_NAME)
}

/// Hashes a secret for its row.
pub fn hash(secret: &str) -> String {
    as_text(&hash_bytes(secret))
}

/// Hashes a secret for a row that holds bytes.
pub fn hash_bytes(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Writes a hash as a row of text holds it.
pub(super) fn as_text(hash: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_key_names_its_row_and_no_two_are_the_same() {
        let (one, two) = (api_key(&SystemRandom), api_key(&SystemRandom));
        assert_eq!(key_id(&one.key), Some(one.id.as_str()));
        assert_ne!((one.id, one.key), (two.id, two.key));
        for text in ["", "wharf_ak_", "wharf_ak_1", "wharf_rb_1_2", "x"] {
            assert_eq!(key_id(text), None, "{text}");
        }
        assert_ne!(robot_secret(&SystemRandom), robot_secret(&SystemRandom));
    }
}
