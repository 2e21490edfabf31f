//! An issuer's keys: fetched when they are needed, kept for minutes, fetched again for one that is not known.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use serde::Deserialize;

use super::Refusal;
use crate::config::KeySource;
use crate::outgoing::{FetchError, Fetcher};

/// How long fetched keys are good without being asked for again: a key that its issuer takes back is gone after it.
const FRESH: Duration = Duration::from_secs(600);
/// How long they are used while the issuer does not answer.
const USABLE: Duration = Duration::from_secs(86_400);
/// How often they are fetched at most, whatever key ids strangers make up.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
/// How often a file is read at most.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// The shortest RSA modulus, in base64 digits: 2048 bits.
const SHORTEST_RSA: usize = 341;

/// One issuer's keys.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: String,
    source: Source,
    held: RwLock<Held>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Source {
    Discovery(String, Fetcher),
    Url(String, Fetcher),
    File(PathBuf),
}

#[derive(Debug, Default, Clone)]
struct Held {
    keys: Arc<Vec<Jwk>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// What we read of an issuer's description of itself (OpenID Connect Discovery 1.0).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Keys {
    pub(super) fn new(issuer: &str, source: &KeySource, ca: Option<&Path>) -> Result<Self, FetchError> {
        let fetcher = |address: &str| {
            let url: Url = address
                .parse()
                .map_err(|_not| FetchError::Url(address.to_owned()))?;
            Fetcher::new(&url, ca)
        };
        let source = match source {
            KeySource::Discovery(issuer) => Source::Discovery(issuer.clone(), fetcher(issuer)?),
            KeySource::Url(url) => Source::Url(url.clone(), fetcher(url)?),
            KeySource::File(path) => Source::File(path.clone()),
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            source,
            held: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the key that a JWT's header names, if it may sign so.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Option<DecodingKey>, Refusal> {
        let held = self.held();
        if held.is_fresh(self.fresh())
            && let Some(key) = find(&held.keys, kid, alg)
        {
            return Ok(Some(key));
        }
        let _turn = self.fetching.lock().await;
        // Whoever waited looks again: another has fetched meanwhile.
        let held = self.held();
        if held.tried.is_none_or(|tried| tried.elapsed() >= self.again()) {
            self.refresh().await;
        }
        let held = self.held();
        if !held.is_fresh(USABLE) {
            return Err(Refusal::Unreachable);
        }
        Ok(find(&held.keys, kid, alg))
    }

    fn fresh(&self) -> Duration {
        match self.source {
            Source::Discovery(..) | Source::Url(..) => FRESH,
            Source::File(_) => READ_AGAIN,
        }
    }

    fn again(&self) -> Duration {
        match self.source {
            Source::Discovery(..) | Source::Url(..) => FETCH_AGAIN,
            Source::File(_) => READ_AGAIN,
        }
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refresh(&self) {
        let fetched = self.fetch().await;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.tried = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                held.keys = Arc::new(keys.keys);
                held.fetched = held.tried;
            }
            Err(problem) => tracing::warn!(
                issuer = self.issuer,
                problem,
                "the keys of an issuer cannot be had: those it had last are used for a day"
            ),
        }
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        match &self.source {
            Source::Url(url, fetcher) => fetcher.json(url).await.map_err(|error| error.to_string()),
            Source::Discovery(issuer, fetcher) => {
                let address = format!(
                    "{}/.well-known/openid-configuration",
                    issuer.trim_end_matches('/')
                );
                let found: Discovery = fetcher.json(&address).await.map_err(|error| error.to_string())?;
                if found.issuer != *issuer {
                    return Err(format!(
                        "{address} is about {:?}, not about {issuer:?}",
                        found.issuer
                    ));
                }
                fetcher
                    .json(&found.jwks_uri)
                    .await
                    .map_err(|error| error.to_string())
            }
            Source::File(path) => {
                let problem = |error: &dyn std::fmt::Display| format!("reading {}: {error}", path.display());
                let bytes = tokio::fs::read(path).await.map_err(|error| problem(&error))?;
                serde_json::from_slice(&bytes).map_err(|error| problem(&error))
            }
        }
    }
}

impl Held {
    fn is_fresh(&self, life: Duration) -> bool {
        self.fetched.is_some_and(|fetched| fetched.elapsed() < life)
    }
}

/// A JWT without a key id is taken where there is one key that could have signed it.
fn find(keys: &[Jwk], kid: Option<&str>, alg: Algorithm) -> Option<DecodingKey> {
    let mut fitting = keys.iter().filter(|key| {
        let named = kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
        named && may_sign(key, alg)
    });
    let key = fitting.next()?;
    if kid.is_none() && fitting.next().is_some() {
        return None;
    }
    DecodingKey::from_jwk(key).ok()
}

/// Whether the key is of the algorithm's kind, and meant for signing by it.
fn may_sign(key: &Jwk, alg: Algorithm) -> bool {
    let meant = key
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let named = key.common.key_algorithm.as_ref();
    let named = named.is_none_or(|named| *named == KeyAlgorithm::from(alg));
    let kind = match (&key.algorithm, alg) {
        (
            AlgorithmParameters::RSA(rsa),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => rsa.n.trim_end_matches('=').len() >= SHORTEST_RSA,
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::ES256) => ec.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::ES384) => ec.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(pair), Algorithm::EdDSA) => pair.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    meant && named && kind
}
