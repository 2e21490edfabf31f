//! The keys that tokens are signed with: rows, so that every replica has the same.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::json;
use thiserror::Error;

use crate::auth::Denial;
use crate::clock::{Clock, Timestamp};
use crate::metadata::{self, Metadata, SigningKey};
use crate::random::Random;

const ALGORITHM: &str = "ES256";
/// For how long a key signs.
const SIGNS: Duration = Duration::from_secs(30 * 86_400);
/// For how long a key verifies: longer than it signs by more than any token lives.
const VERIFIES: Duration = Duration::from_secs(60 * 86_400);
/// How often unknown keys' ids make us look for new rows at most.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The rows could not be read.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// A key could not be made, or a row's bytes are no key.
    #[error("the signing key {id} cannot be used: {problem}")]
    Key {
        /// Its id.
        id: String,
        /// What is wrong.
        problem: String,
    },
}

/// The keys in use.
#[derive(Debug)]
pub struct KeyRing {
    metadata: Arc<dyn Metadata>,
    random: Arc<dyn Random>,
    keys: RwLock<Loaded>,
    /// Held by whoever looks for new rows.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Loaded {
    /// The newest first: it signs.
    keys: Vec<Arc<Key>>,
    /// When the rows were asked for.
    looked: Instant,
}

struct Key {
    id: String,
    created: Timestamp,
    expires: Timestamp,
    signing: EncodingKey,
    verifying: DecodingKey,
    public: serde_json::Value,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Reads the keys, making the first one if there is none young enough to sign.
    ///
    /// # Errors
    /// The rows can't be read, or a key can't be made.
    pub async fn load(
        metadata: Arc<dyn Metadata>,
        random: Arc<dyn Random>,
        clock: &dyn Clock,
    ) -> Result<Self, KeyError> {
        let looked = Instant::now();
        let rows = with_a_young_one(&*metadata, &*random, clock.now()).await?;
        let keys = RwLock::new(Loaded {
            keys: keys(rows)?,
            looked,
        });
        Ok(Self {
            metadata,
            random,
            keys,
            looking: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the key that signs now, and its id. Makes a new one when the last has signed for long enough.
    pub(super) async fn signing(&self, now: Timestamp) -> Result<(String, EncodingKey), Denial> {
        let young = |keys: &[Arc<Key>]| {
            keys.first()
                .filter(|key| key.created > now.minus(SIGNS))
                .map(Arc::clone)
        };
        let known = young(&self.loaded());
        let key = match known {
            Some(key) => key,
            None => {
                let looked = Instant::now();
                let rows = with_a_young_one(&*self.metadata, &*self.random, now).await;
                self.note(looked, rows.and_then(keys))?;
                young(&self.loaded()).ok_or(Denial::InvalidToken("there is no key to sign it with"))?
            }
        };
        Ok((key.id.clone(), key.signing.clone()))
    }

    /// Returns the key of this id. One that is not known may be another replica's new one: the rows are read again, after
    /// a moment if they were just read. Those who come meanwhile share what is found.
    pub(super) async fn verifying(&self, id: &str, now: Timestamp) -> Result<Option<DecodingKey>, Denial> {
        if let Some(key) = self.find(id, now) {
            return Ok(Some(key));
        }
        let asked = Instant::now();
        let _turn = self.looking.lock().await;
        let looked = self.keys.read().unwrap_or_else(PoisonError::into_inner).looked;
        if looked < asked {
            tokio::time::sleep_until((looked + LOOK_AGAIN).into()).await;
            let looked = Instant::now();
            let rows = self.metadata.current_signing_keys(now).await;
            self.note(looked, rows.map_err(KeyError::from).and_then(keys))?;
        }
        Ok(self.find(id, now))
    }

    fn find(&self, id: &str, now: Timestamp) -> Option<DecodingKey> {
        let keys = self.loaded();
        keys.iter()
            .find(|key| key.id == id && key.expires > now)
            .map(|key| key.verifying.clone())
    }

    /// Takes the rows that were asked for at `looked`.
    fn note(&self, looked: Instant, found: Result<Vec<Arc<Key>>, KeyError>) -> Result<(), Denial> {
        let keys = found.map_err(|error| match error {
            KeyError::Metadata(error) => Denial::Metadata(error),
            KeyError::Key { id, problem } => {
                tracing::error!(id, problem, "a signing key cannot be used");
                Denial::InvalidToken("the signing keys cannot be used")
            }
        })?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Loaded { keys, looked };
        Ok(())
    }

    fn loaded(&self) -> Vec<Arc<Key>> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys
            .clone()
    }

    /// Returns the public halves of the keys that verify now, as a JSON Web Key Set (RFC 7517): another replica's new
    /// one too. While the rows can't be read, those that are known.
    pub(super) async fn public(&self, now: Timestamp) -> serde_json::Value {
        let looked = self.keys.read().unwrap_or_else(PoisonError::into_inner).looked;
        if looked.elapsed() >= LOOK_AGAIN {
            let looked = Instant::now();
            let rows = self.metadata.current_signing_keys(now).await;
            if let Err(error) = self.note(looked, rows.map_err(KeyError::from).and_then(keys)) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the signing keys could not be read again: those known are published"
                );
            }
        }
        let known = self.loaded();
        let current = known.iter().filter(|key| key.expires > now);
        let keys: Vec<_> = current.map(|key| key.public.clone()).collect();
        json!({ "keys": keys })
    }
}

/// Reads the rows, after adding one if none is young enough to sign.
async fn with_a_young_one(
    metadata: &dyn Metadata,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Vec<SigningKey>, KeyError> {
    let candidate = candidate(random, now)?;
    Ok(metadata.signing_keys(candidate, now.minus(SIGNS), now).await?)
}

fn keys(rows: Vec<SigningKey>) -> Result<Vec<Arc<Key>>, KeyError> {
    rows.into_iter().map(|row| Key::read(row).map(Arc::new)).collect()
}

fn candidate(random: &dyn Random, now: Timestamp) -> Result<SigningKey, KeyError> {
    let id = format!("{:016x}", random.number() >> 64);
    let private = EcdsaKeyPair::generate_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws_lc_rs::rand::SystemRandom::new(),
    )
    .map_err(|error| KeyError::Key {
        id: id.clone(),
        problem: error.to_string(),
    })?;
    Ok(SigningKey {
        id,
        algorithm: ALGORITHM.to_owned(),
        private: private.as_ref().to_vec(),
        created: now,
        expires: now.plus(VERIFIES),
    })
}

impl Key {
    fn read(row: SigningKey) -> Result<Self, KeyError> {
        let wrong = |problem: String| KeyError::Key {
            id: row.id.clone(),
            problem,
        };
        if row.algorithm != ALGORITHM {
            return Err(wrong(format!(
                "its algorithm is {}, this program knows {ALGORITHM}",
                row.algorithm
            )));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &row.private)
            .map_err(|error| wrong(error.to_string()))?;
        // SEC 1: an uncompressed point is 0x04, then the two coordinates.
        let point = pair.public_key().as_ref();
        let (x, y) = point
            .split_at_checked(1)
            .and_then(|(_, rest)| rest.split_at_checked(32))
            .ok_or_else(|| wrong("its public point is not one of P-256".to_owned()))?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let verifying = DecodingKey::from_ec_components(&x, &y).map_err(|error| wrong(error.to_string()))?;
        let public = json!({ "kty": "EC", "crv": "P-256", "alg": ALGORITHM, "use": "sig", "kid": row.id, "x": x, "y": y });
        let signing = EncodingKey::from_ec_der(&row.private);
        Ok(Self {
            id: row.id,
            created: row.created,
            expires: row.expires,
            signing,
            verifying,
            public,
        })
    }
}
