//! The registry's own tokens: JWTs signed with keys that are rows.

mod keys;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharf_protocol::name::RepositoryName;
use wharf_protocol::scope::{Action, Actions, Scope};

pub use self::keys::{KeyError, KeyRing};
use super::grants::{Grants, Principal};
use super::{Denial, made_up};
use crate::clock::{Clock, Timestamp};
use crate::metadata::{self, Metadata, NewRefreshToken};
use crate::random::Random;

/// How many verified tokens are remembered at most.
const REMEMBERED: usize = 10_000;
/// How far another replica's clock may be ahead of ours.
const SKEW_S: i64 = 5;
const ISSUER: &str = "wharf-registry";

/// What a token says. The names are the JWT's.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    access: Vec<Access>,
    /// The version of the account at the time.
    #[serde(default)]
    ver: i64,
    /// The API key that acts for `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The issuer that vouched for `sub`, and its rules that are for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<Job>,
}

/// What is kept of the JWT that a token was given out for.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    issuer: String,
    rules: Vec<usize>,
}

/// One entry of a token's `access`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    pub resource: String,
    /// The repository's name, or `catalog`.
    pub name: String,
    /// What is allowed there.
    pub actions: Vec<String>,
}

/// A token whose signature was good.
#[derive(Debug)]
pub(crate) struct Verified {
    principal: Principal,
    version: i64,
    not_before_s: i64,
    expires_s: i64,
    repositories: Vec<(String, Actions)>,
    catalog: Actions,
}

impl Verified {
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn version(&self) -> i64 {
        self.version
    }

    pub(super) fn allows(&self, name: &RepositoryName, action: Action) -> bool {
        self.repositories
            .iter()
            .any(|(known, actions)| known == name.as_str() && actions.allows(action))
    }

    pub(super) fn lists_catalog(&self) -> bool {
        self.catalog.allows(Action::All)
    }

    fn is_current(&self, now: Timestamp) -> Result<(), Denial> {
        if now.as_secs() >= self.expires_s {
            return Err(Denial::InvalidToken("it has expired"));
        }
        if now.as_secs() + SKEW_S < self.not_before_s {
            return Err(Denial::InvalidToken("it is not valid yet"));
        }
        Ok(())
    }
}

impl From<Claims> for Verified {
    fn from(claims: Claims) -> Self {
        let principal = match (claims.sub, claims.key, claims.job) {
            (name, _, Some(Job { issuer, rules })) => Principal::Job { name, issuer, rules },
            (user, Some(id), None) => Principal::Key { user, id },
            (nobody, None, None) if nobody.is_empty() => Principal::Nobody,
            (name, None, None) => Principal::of_account(name),
        };
        let mut verified = Self {
            principal,
            version: claims.ver,
            not_before_s: claims.nbf,
            expires_s: claims.exp,
            repositories: Vec::new(),
            catalog: Actions::NONE,
        };
        for access in claims.access {
            let actions = Actions::parse(&access.actions.join(","));
            match access.resource.as_str() {
                "repository" => verified.repositories.push((access.name, actions)),
                "registry" if access.name == "catalog" => verified.catalog = verified.catalog.union(actions),
                _ => {}
            }
        }
        verified
    }
}

/// What a token is asked for.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// The scopes asked for.
    pub scopes: Vec<Scope>,
    /// Whether a refresh token is wanted.
    pub offline: bool,
    /// The client, by its own word.
    pub client: String,
}

/// A token, ready to be given out.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The JWT.
    pub token: String,
    /// A refresh token, if one was wanted by a user.
    pub refresh_token: Option<String>,
    /// From when.
    pub issued: Timestamp,
    /// For how long.
    pub life: Duration,
    /// What it allows.
    pub access: Vec<Access>,
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    metadata: Arc<dyn Metadata>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    keys: KeyRing,
    service: String,
    life: Duration,
    refresh_life: Duration,
    validation: Validation,
    remembered: RwLock<HashMap<[u8; 32], Arc<Verified>>>,
}

impl Tokens {
    /// Makes an issuer for one service.
    pub fn new(
        metadata: Arc<dyn Metadata>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        keys: KeyRing,
        service: String,
        life: Duration,
        refresh_life: Duration,
    ) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        // Times are compared with our own clock, see `is_current`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_audience(&[&service]);
        validation.set_issuer(&[ISSUER]);
        let remembered = RwLock::default();
        Self {
            metadata,
            clock,
            random,
            keys,
            service,
            life,
            refresh_life,
            validation,
            remembered,
        }
    }

    /// Returns the public keys as a JSON Web Key Set.
    pub async fn key_set(&self) -> serde_json::Value {
        self.keys.public(self.clock.now()).await
    }

    /// Verifies a token with our own keys; one it brings along is not looked at (CVE-2025-24976).
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Verified>, Denial> {
        let fingerprint: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now();
        if let Some(verified) = self.remembered(&fingerprint) {
            verified.is_current(now)?;
            return Ok(verified);
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|_not| Denial::InvalidToken("it is not a JWT"))?;
        let kid = header.kid.unwrap_or_default();
        let key = self.keys.verifying(&kid, now).await?;
        let key = key.ok_or(Denial::InvalidToken("its key is not one of ours"))?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &self.validation)
            .map_err(|_not| Denial::InvalidToken("its signature, issuer or audience is wrong"))?
            .claims;
        let verified = Arc::new(Verified::from(claims));
        verified.is_current(now)?;
        self.remember(fingerprint, Arc::clone(&verified), now);
        Ok(verified)
    }

    fn remembered(&self, fingerprint: &[u8; 32]) -> Option<Arc<Verified>> {
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        remembered.get(fingerprint).map(Arc::clone)
    }

    fn remember(&self, fingerprint: [u8; 32], verified: Arc<Verified>, now: Timestamp) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, known| known.is_current(now).is_ok());
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(fingerprint, verified);
    }

    /// Issues a token that allows what is both asked for and allowed.
    ///
    /// # Errors
    /// The keys or rows could not be read, or the user was changed meanwhile.
    pub async fn issue(&self, grants: &Grants, request: &TokenRequest) -> Result<Issued, Denial> {
        let now = self.clock.now();
        let access = granted(grants, &request.scopes);
        let (key, job) = match grants.principal() {
            Principal::Key { id, .. } => (Some(id.clone()), None),
            Principal::Job { issuer, rules, .. } => {
                let (issuer, rules) = (issuer.clone(), rules.clone());
                (None, Some(Job { issuer, rules }))
            }
            Principal::Nobody | Principal::User(_) | Principal::Robot(_) => (None, None),
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: subject(grants),
            aud: self.service.clone(),
            exp: now.plus(self.life).as_secs(),
            nbf: now.as_secs(),
            iat: now.as_secs(),
            jti: format!("{:032x}", self.random.number()),
            access: access.clone(),
            ver: grants.version().unwrap_or_default(),
            key,
            job,
        };
        let (kid, key) = self.keys.signing(now).await?;
        let header = Header {
            kid: Some(kid),
            ..Header::new(Algorithm::ES256)
        };
        let token = jsonwebtoken::encode(&header, &claims, &key)
            .map_err(|_not| Denial::InvalidToken("signing it failed"))?;
        let refresh_token = match grants.account() {
            Some(account) if request.offline && account.refreshes => {
                let token = self.refresh_token(grants.name(), account.version, &request.client, now);
                Some(token.await?)
            }
            _ => None,
        };
        Ok(Issued {
            token,
            refresh_token,
            issued: now,
            life: self.life,
            access,
        })
    }

    async fn refresh_token(
        &self,
        user: &str,
        user_version: i64,
        client: &str,
        now: Timestamp,
    ) -> Result<String, Denial> {
        let token = made_up::refresh_token(&*self.random);
        let row = NewRefreshToken {
            hash: made_up::hash_bytes(&token).to_vec(),
            user: user.to_owned(),
            user_version,
            client: client.chars().take(100).collect(),
            now,
            life: self.refresh_life,
        };
        match self.metadata.add_refresh_token(row).await {
            Ok(()) => Ok(token),
            Err(metadata::Error::UserUnknown(_)) => Err(Denial::WrongCredentials),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the refresh tokens that have died of age.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_dead_refresh_tokens(&self) -> Result<(), metadata::Error> {
        self.metadata.remove_dead_refresh_tokens(self.clock.now()).await?;
        Ok(())
    }

    /// Returns whose refresh token this is, if anybody's.
    pub(super) async fn refresh(&self, token: &str) -> Result<Option<String>, metadata::Error> {
        let hash = made_up::hash_bytes(token);
        let user = self
            .metadata
            .use_refresh_token(&hash, self.clock.now(), self.refresh_life)
            .await?;
        Ok(user.map(|user| user.name))
    }
}

/// Returns a token's `sub`; nobody's is empty (docker's token documents).
fn subject(grants: &Grants) -> String {
    match grants.principal() {
        Principal::Nobody => String::new(),
        named => named.name().to_owned(),
    }
}

/// Returns what is both asked for and allowed, one entry a name.
fn granted(grants: &Grants, asked: &[Scope]) -> Vec<Access> {
    let mut granted: Vec<Access> = Vec::new();
    for scope in asked {
        let actions = match scope.resource.as_str() {
            "repository" => repository_actions(grants, scope),
            "registry" if scope.name == "catalog" => catalog_actions(grants, scope),
            _ => continue,
        };
        if actions.is_empty() {
            continue;
        }
        let known = granted
            .iter_mut()
            .find(|known| known.resource == scope.resource && known.name == scope.name);
        let words = actions.iter().map(|action| action.as_str().to_owned());
        match known {
            Some(known) => {
                for word in words {
                    if !known.actions.contains(&word) {
                        known.actions.push(word);
                    }
                }
            }
            None => granted.push(Access {
                resource: scope.resource.clone(),
                name: scope.name.clone(),
                actions: words.collect(),
            }),
        }
    }
    granted
}

/// `*` asks for all three actions, and is granted as itself to those who have all three.
fn repository_actions(grants: &Grants, scope: &Scope) -> Actions {
    let Ok(name) = scope.name.parse::<RepositoryName>() else {
        return Actions::NONE;
    };
    let each = [Action::Pull, Action::Push, Action::Delete];
    let all = scope.actions.allows(Action::All) && each.into_iter().all(|action| grants.allow(&name, action));
    let wanted = each
        .into_iter()
        .filter(|action| scope.actions.allows(*action) && grants.allow(&name, *action));
    wanted.chain(all.then_some(Action::All)).collect()
}

fn catalog_actions(grants: &Grants, scope: &Scope) -> Actions {
    if grants.account().is_none() && !grants.may_pull_something() {
        return Actions::NONE;
    }
    scope
        .actions
        .intersection([Action::All, Action::Search].into_iter().collect())
}
