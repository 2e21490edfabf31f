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

use super::{Grants, made_up};
use crate::random::Random;

/// For how long a verified password is not hashed again.
const REMEMBER: Duration = Duration::from_secs(300);
/// How many users' passwords are remembered at most.
const REMEMBERED: usize = 10_000;
/// The longest password, in bytes.
const LONGEST: usize = 1024;
/// The longest password of a bcrypt hash, in bytes.
const LONGEST_BCRYPT: usize = 72;
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
    /// What begins so is looked up as a key.
    #[error("a password does not begin with {}, as API keys do", made_up::KEY)]
    KeyLike,
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
    if password.starts_with(made_up::KEY) {
        return Err(BadLogin::KeyLike);
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| BadLogin::Hash(error.to_string()))
}

/// What somebody shows to prove who they are, as we keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// A password, by its argon2 hash in PHC form.
    Argon2(String),
    /// A password, by its bcrypt hash.
    Bcrypt {
        /// The hash, with its salt and cost.
        hash: String,
        /// The cost.
        cost: u32,
    },
    /// What we made up ourselves, by the hash of [`made_up`].
    MadeUp(String),
    /// Nothing: an issuer vouches for them.
    None,
}

impl Secret {
    /// Returns whether this is the password. Takes the hash's time, whatever the password is.
    pub(super) fn is(&self, password: &str) -> bool {
        match self {
            Self::None => false,
            Self::MadeUp(hash) => made_up::hash(password).as_bytes().ct_eq(hash.as_bytes()).into(),
            Self::Argon2(hash) => {
                password.len() <= LONGEST
                    && PasswordHash::new(hash).is_ok_and(|hash| {
                        Argon2::default()
                            .verify_password(password.as_bytes(), &hash)
                            .is_ok()
                    })
            }
            // bcrypt hashes 72 bytes and drops the rest, and takes a NUL for the end.
            Self::Bcrypt { hash, .. } => {
                bcrypt::verify(password, hash).is_ok_and(|same| same)
                    && password.len() <= LONGEST_BCRYPT
                    && !password.contains('\0')
            }
        }
    }

    /// Returns what is left to do after a wrong password so that it has cost what every wrong password costs: one
    /// argon2 hash, and as many of bcrypt's rounds as the costliest line of the htpasswd file takes.
    fn rest(&self, costliest: u32) -> Rest {
        match self {
            Self::Argon2(_) if costliest == 0 => Rest {
                argon2: false,
                bcrypt: 0..0,
            },
            // Nobody guesses it, whatever the time tells.
            Self::MadeUp(_) | Self::None => Rest {
                argon2: false,
                bcrypt: 0..0,
            },
            Self::Argon2(_) => Rest {
                argon2: false,
                bcrypt: costliest..costliest.saturating_add(1),
            },
            // 2^c rounds were done, and 2^c + … + 2^(n-1) = 2^n - 2^c are left.
            Self::Bcrypt { cost, .. } => Rest {
                argon2: true,
                bcrypt: *cost..costliest,
            },
        }
    }
}

/// Work that has no result.
struct Rest {
    argon2: bool,
    /// A hash of each of these costs.
    bcrypt: std::ops::Range<u32>,
}

impl Rest {
    fn work_off(self, password: &str) {
        if self.argon2 {
            std::hint::black_box(Secret::Argon2(NOBODY.to_owned()).is(password));
        }
        for cost in self.bcrypt {
            std::hint::black_box(bcrypt::hash_with_salt_bytes(password, cost, [0; 16]).is_ok());
        }
    }
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

    /// Returns whether this password was right a short time ago, and the account is the same since.
    pub(super) fn remembers(&self, grants: &Grants, password: &str) -> bool {
        let Some(version) = grants.version() else {
            return false;
        };
        let proof = self.proof(version, password);
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(grants.name()).is_some_and(|known| {
            known.version == version && known.until > Instant::now() && known.proof.ct_eq(&proof).into()
        })
    }

    /// Waits until a password may be hashed. `None` never comes: the semaphore is not closed.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Verifies the password by its hash; a wrong one takes the same time whosever it is, and for somebody who doesn't
    /// exist. `costliest` is the largest cost of the htpasswd file, 0 without one.
    pub(super) async fn verify(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        grants: &Grants,
        password: &str,
        costliest: u32,
    ) -> bool {
        let account = grants.account();
        let secret = account.map_or_else(
            || Secret::Argon2(NOBODY.to_owned()),
            |account| account.secret.clone(),
        );
        let shown = password.to_owned();
        let hashed = tokio::task::spawn_blocking(move || {
            let right = secret.is(&shown);
            if !right {
                secret.rest(costliest).work_off(&shown);
            }
            drop(turn);
            right
        });
        let right = hashed.await.unwrap_or(false);
        match grants.version() {
            Some(version) if right => {
                self.remember(grants.name(), version, password);
                true
            }
            _ => false,
        }
    }

    fn remember(&self, name: &str, version: i64, password: &str) {
        let known = Remembered {
            version,
            proof: self.proof(version, password),
            until: Instant::now() + REMEMBER,
        };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(name.to_owned(), known);
    }

    fn proof(&self, version: i64, password: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(version.to_le_bytes());
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

    #[test]
    fn a_wrong_password_costs_the_same_whosever_it_is() {
        let argon2 = Secret::Argon2(NOBODY.to_owned());
        let bcrypt = |cost| Secret::Bcrypt {
            hash: String::new(),
            cost,
        };
        let whole = |secret: &Secret, costliest| {
            let rest = secret.rest(costliest);
            let (argon2, rounds) = match secret {
                Secret::Argon2(_) => (1, 0),
                Secret::Bcrypt { cost, .. } => (0, 1 << cost),
                Secret::MadeUp(_) | Secret::None => (0, 0),
            };
            (
                argon2 + u32::from(rest.argon2),
                rounds + rest.bcrypt.map(|cost| 1_u64 << cost).sum::<u64>(),
            )
        };
        assert_eq!(whole(&argon2, 0), (1, 0));
        for secret in [argon2, bcrypt(4), bcrypt(7), bcrypt(10)] {
            assert_eq!(whole(&secret, 10), (1, 1 << 10), "{secret:?}");
        }
    }
}
