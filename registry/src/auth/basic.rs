//! Names and passwords.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metadata::User;
use crate::random::Random;

/// For how long a verified password is not hashed again.
const REMEMBER: Duration = Duration::from_secs(300);
/// How many users' passwords are remembered at most.
const REMEMBERED: usize = 10_000;
/// The longest password, in bytes.
const LONGEST: usize = 1024;
/// A hash that no password has, of the cost that ours have: what is verified for a user who doesn't exist.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a name or a password is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLogin {
    /// A user's name is the first component of repositories.
    #[error("a user's name is a-z, 0-9 and single . _ - between them, at most 64 characters: {0:?}")]
    Name(String),
    /// A name with a meaning of its own.
    #[error("the name {0:?} has a meaning of its own: choose another")]
    Reserved(String),
    /// The password is empty or too long.
    #[error("a password has 1 to {LONGEST} bytes")]
    Password,
    /// The hash could not be made.
    #[error("hashing the password failed: {0}")]
    Hash(String),
}

/// Verifies that a user may have this name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), BadLogin> {
    let one_component = !name.contains('/') && name.parse::<wharf_protocol::RepositoryName>().is_ok();
    if !one_component || name.len() > 64 {
        return Err(BadLogin::Name(name.to_owned()));
    }
    if name == super::ANONYMOUS {
        return Err(BadLogin::Reserved(name.to_owned()));
    }
    Ok(())
}

/// Hashes a password for its row. Takes tens of milliseconds and 19 MiB.
///
/// # Errors
/// The password is empty or too long.
pub fn hash(password: &str) -> Result<String, BadLogin> {
    if password.is_empty() || password.len() > LONGEST {
        return Err(BadLogin::Password);
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| BadLogin::Hash(error.to_string()))
}

/// Verifies passwords, a few at a time, and remembers for minutes which were right.
#[derive(Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Keeps what is remembered from being of use to anyone who reads this memory's dump.
    secret: [u8; 32],
    remembered: Mutex<HashMap<String, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    version: i64,
    proof: [u8; 32],
    until: Instant,
}

impl Passwords {
    /// Verifies as many passwords at once as there are processors.
    pub fn new(random: &dyn Random) -> Self {
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            secret: random.secret(),
            remembered: Mutex::default(),
        }
    }

    /// Returns whether this password was right a short time ago, and the user's row is the same since.
    pub(super) fn remembers(&self, user: Option<&User>, password: &str) -> bool {
        let Some(user) = user else { return false };
        let proof = self.proof(user, password);
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(&user.name).is_some_and(|known| {
            known.version == user.version && known.until > Instant::now() && known.proof.ct_eq(&proof).into()
        })
    }

    /// Waits until a password may be hashed. `None` never comes: the semaphore is not closed.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Verifies the password by its hash, in the same time for a user who doesn't exist.
    pub(super) async fn verify(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        user: Option<&User>,
        password: &str,
    ) -> bool {
        let hash = user.map_or_else(|| NOBODY.to_owned(), |user| user.password_hash.clone());
        let shown = password.to_owned();
        let hashed = tokio::task::spawn_blocking(move || {
            let right = shown.len() <= LONGEST
                && PasswordHash::new(&hash)
                    .is_ok_and(|hash| Argon2::default().verify_password(shown.as_bytes(), &hash).is_ok());
            drop(turn);
            right
        });
        let right = hashed.await.unwrap_or(false);
        match user {
            Some(user) if right => {
                self.remember(user, password);
                true
            }
            _ => false,
        }
    }

    fn remember(&self, user: &User, password: &str) {
        let known = Remembered {
            version: user.version,
            proof: self.proof(user, password),
            until: Instant::now() + REMEMBER,
        };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(user.name.clone(), known);
    }

    fn proof(&self, user: &User, password: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(user.version.to_le_bytes());
        hash.update(password.as_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_repository_component() {
        for good in ["a", "alice", "a.b-c_d", "0x"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "Alice", "a/b", "*", "a b", "-a", "a.", "é", &"x".repeat(65)] {
            assert!(matches!(check_name(bad), Err(BadLogin::Name(_))), "{bad}");
        }
        assert!(matches!(check_name("anonymous"), Err(BadLogin::Reserved(_))));
    }

    #[test]
    fn the_hash_of_nobody_costs_what_ours_cost_and_no_password_has_it() {
        let ours = hash("x").unwrap();
        let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(&ours), parameters(NOBODY));
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert!(Argon2::default().verify_password(b"", &nobody).is_err());
    }
}
