//! Who calls, and what they may do.
//!
//! [`Auth::authorize`] is the one way from an [`Operation`] to an [`Authorized`] one, which is all that `repo` takes.
//! A caller shows nothing, a password (Basic) or a token (Bearer) that [`Auth::issue`](token) gave out. Whatever is
//! shown, the rules of the database decide as they stand now (a second old at most): a token can narrow them, never
//! widen them.
//!
//! What this module must not know: how a refusal looks on the wire.

mod authorized;
pub mod basic;
mod credentials;
mod grants;
pub mod htpasswd;
pub mod issuers;
pub mod made_up;
mod policy;
mod throttle;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wharf_protocol::name::RepositoryName;
use wharf_protocol::scope::{Action, Scope};

pub use self::authorized::{Allowed, Authorized};
pub use self::basic::Passwords;
pub use self::credentials::Credentials;
pub use self::grants::{Grants, Principal};
pub use self::htpasswd::Htpasswd;
use self::issuers::Issuer;
pub use self::issuers::Issuers;
pub use self::policy::{EVERY_USER, Policy};
pub use self::throttle::Throttle;
use self::token::Verified;
pub use self::token::{Access, Issued, KeyError, KeyRing, TokenRequest, Tokens};
use crate::clock::Clock;
use crate::metadata;
use crate::operation::{Need, Operation};

/// The name that rules and logs know those by who don't log in.
pub const ANONYMOUS: &str = "anonymous";

/// Why a caller is refused.
#[derive(Debug, Error)]
pub enum Denial {
    /// Nothing was shown, and something must be.
    #[error("log in first")]
    Unauthenticated,
    /// The name or the password is wrong, or what was shown can't be read.
    #[error("wrong name or password")]
    WrongCredentials,
    /// The JWT of an issuer of the settings is not good, or allows nothing here.
    #[error("the JWT of {issuer} is not good: {why}")]
    BadJwt {
        /// The issuer's name.
        issuer: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The keys of an issuer of the settings could not be had, so nobody can say whether its JWT is good.
    #[error("the issuer {0} does not answer: try again")]
    IssuerUnreachable(String),
    /// The token is not ours, has expired, or its user has changed since.
    #[error("the token is not good: {0}")]
    InvalidToken(&'static str),
    /// The token, or the rights of who holds it, do not cover this.
    #[error("the token does not allow this")]
    InsufficientScope,
    /// The user may not do this.
    #[error("{user} may not {action} in {name}")]
    Forbidden {
        /// Who.
        user: String,
        /// What.
        action: &'static str,
        /// Where.
        name: RepositoryName,
    },
    /// Only an admin may do this, by password: no token speaks of it.
    #[error("only an admin may do this, with the password")]
    AdminsOnly,
    /// Too many wrong passwords came for this account or from this address.
    #[error("too many failed logins: try again in {} seconds", retry_after.as_secs())]
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// The rights could not be read.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}

/// A refusal, and the scopes whose token would not have been refused.
#[derive(Debug)]
pub struct Denied {
    /// Why.
    pub why: Denial,
    /// What to ask a token for.
    pub scopes: Vec<Scope>,
}

/// Somebody, known by what they showed.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    grants: Arc<Grants>,
    shown: Shown,
}

#[derive(Debug, Clone)]
enum Shown {
    Nothing,
    Password,
    Token(Arc<Verified>),
}

/// Knows everybody.
#[derive(Debug)]
pub struct Auth {
    /// What the database says of users and rules.
    pub policy: Policy,
    /// Verifies passwords.
    pub passwords: Passwords,
    /// Slows guessing down.
    pub throttle: Throttle,
    /// Issues and verifies tokens.
    pub tokens: Tokens,
    /// Tells when robots and keys expire.
    pub clock: Arc<dyn Clock>,
}

impl Auth {
    /// Decides whether a caller may do this. `address` is the client's.
    ///
    /// # Errors
    /// A refusal that is the same whether what was asked about exists or not.
    pub async fn authorize(
        &self,
        credentials: Credentials<'_>,
        address: IpAddr,
        operation: Operation,
    ) -> Result<Authorized<Operation>, Box<Denied>> {
        let decision = self.decide(credentials, address, &operation).await;
        match decision {
            Ok((grants, source_readable)) => Ok(Authorized::new(operation, grants, source_readable)),
            Err(why) => Err(Box::new(Denied {
                why,
                scopes: operation.needs().scopes(),
            })),
        }
    }

    async fn decide(
        &self,
        credentials: Credentials<'_>,
        address: IpAddr,
        operation: &Operation,
    ) -> Result<(Arc<Grants>, bool), Denial> {
        let needs = operation.needs();
        let shown = if needs.must == Need::Nothing {
            Credentials::None
        } else {
            credentials
        };
        let identity = self.identify(shown, address).await?;
        identity.may(needs.must)?;
        let source_readable = needs
            .source
            .is_some_and(|source| identity.grants.allow(source, Action::Pull));
        Ok((identity.grants, source_readable))
    }

    async fn identify(&self, credentials: Credentials<'_>, address: IpAddr) -> Result<Identity, Denial> {
        match credentials {
            Credentials::None => Ok(Identity {
                grants: self.nobody().await?,
                shown: Shown::Nothing,
            }),
            Credentials::Unreadable => Err(Denial::WrongCredentials),
            Credentials::Basic { name, password } => {
                let grants = self.login(&name, &password, address).await?;
                Ok(Identity {
                    grants,
                    shown: Shown::Password,
                })
            }
            Credentials::Bearer(token) => {
                let verified = self.tokens.verify(token).await?;
                let grants = self.policy.grants(verified.principal()).await?;
                if grants.version().unwrap_or_default() != verified.version() {
                    return Err(Denial::InvalidToken(
                        "its user was changed or removed since it was issued",
                    ));
                }
                if grants.has_expired(self.clock.now()) {
                    return Err(Denial::InvalidToken(
                        "the account that it was issued to has expired",
                    ));
                }
                Ok(Identity {
                    grants,
                    shown: Shown::Token(verified),
                })
            }
        }
    }

    /// Returns what those may do who show nothing.
    ///
    /// # Errors
    /// The rights could not be read.
    pub async fn nobody(&self) -> Result<Arc<Grants>, Denial> {
        Ok(self.policy.grants(&Principal::Nobody).await?)
    }

    /// Verifies a refresh token.
    ///
    /// # Errors
    /// [`Denial::WrongCredentials`] if it is nobody's any more; [`Denial::Throttled`].
    pub async fn refresh(&self, token: &str, address: IpAddr) -> Result<Arc<Grants>, Denial> {
        match self.tokens.refresh(token).await? {
            Some(name) => Ok(self.policy.grants(&Principal::User(name)).await?),
            // A dead token does not tell whose it was.
            None => Err(self.refusal(&format!("{address}:"), address)),
        }
    }

    /// Verifies a name and a password, or what stands in a password's place: an API key of the user, the secret of a
    /// robot, a JWT of one of the settings' issuers (under whatever name).
    ///
    /// # Errors
    /// [`Denial::WrongCredentials`] after the same time for a user who doesn't exist; [`Denial::Throttled`];
    /// [`Denial::BadJwt`], [`Denial::IssuerUnreachable`].
    pub async fn login(&self, name: &str, password: &str, address: IpAddr) -> Result<Arc<Grants>, Denial> {
        if let Some(issuer) = self.policy.issuers.of(password) {
            return self.by_jwt(issuer, password, address).await;
        }
        let who = match made_up::key_id(password) {
            Some(id) => Principal::Key {
                user: name.to_owned(),
                id: id.to_owned(),
            },
            None => Principal::of_account(name.to_owned()),
        };
        let grants = self.policy.grants(&who).await?;
        match who {
            Principal::Nobody | Principal::User(_) => self.by_password(grants, password, address).await,
            Principal::Robot(_) | Principal::Key { .. } | Principal::Job { .. } => {
                self.by_made_up(grants, password, address)
            }
        }
    }

    /// Verifies a JWT. The right one is let in whatever has failed before, as with [`Auth::by_made_up`].
    async fn by_jwt(&self, issuer: &Issuer, jwt: &str, address: IpAddr) -> Result<Arc<Grants>, Denial> {
        match issuer.verify(jwt, self.clock.now()).await {
            Ok(who) => Ok(self.policy.grants(&who).await?),
            Err(issuers::Refusal::Unreachable) => Err(Denial::IssuerUnreachable(issuer.name().to_owned())),
            Err(issuers::Refusal::Bad(why)) => match self.refusal(&format!("{}:", issuer.name()), address) {
                Denial::WrongCredentials => Err(Denial::BadJwt {
                    issuer: issuer.name().to_owned(),
                    why,
                }),
                slowed => Err(slowed),
            },
        }
    }

    /// Verifies a secret that nobody can guess. The right one is let in whatever has failed before: else a stranger
    /// who fails in a robot's name would lock it out.
    fn by_made_up(&self, grants: Arc<Grants>, secret: &str, address: IpAddr) -> Result<Arc<Grants>, Denial> {
        let right = grants.account().is_some_and(|account| account.secret.is(secret));
        if right && !grants.has_expired(self.clock.now()) {
            return Ok(grants);
        }
        // An old key that somebody goes on using does not keep its user from logging in.
        let account = match grants.principal() {
            Principal::Key { user, .. } => format!("{user}:key"),
            named => named.name().to_owned(),
        };
        Err(self.refusal(&account, address))
    }

    async fn by_password(
        &self,
        grants: Arc<Grants>,
        password: &str,
        address: IpAddr,
    ) -> Result<Arc<Grants>, Denial> {
        if self.passwords.remembers(&grants, password) {
            return Ok(grants);
        }
        // Only so many hashes are computed at once. Whoever waited looks again: another may have verified the same
        // password meanwhile, or have failed once too often.
        let turn = self.passwords.turn().await;
        if self.passwords.remembers(&grants, password) {
            return Ok(grants);
        }
        self.throttle
            .check(grants.name(), address)
            .map_err(|retry_after| Denial::Throttled { retry_after })?;
        let costliest = self.policy.costliest().await;
        if self.passwords.verify(turn, &grants, password, costliest).await {
            Ok(grants)
        } else {
            self.throttle.failed(grants.name(), address);
            Err(Denial::WrongCredentials)
        }
    }

    /// Counts a failure, and says what it comes to.
    fn refusal(&self, account: &str, address: IpAddr) -> Denial {
        match self.throttle.check(account, address) {
            Err(retry_after) => Denial::Throttled { retry_after },
            Ok(()) => {
                self.throttle.failed(account, address);
                Denial::WrongCredentials
            }
        }
    }
}

impl Identity {
    fn may(&self, need: Need<'_>) -> Result<(), Denial> {
        match (need, &self.shown) {
            (Need::Nothing, _) | (Need::Identity | Need::Search | Need::Catalog, Shown::Password) => Ok(()),
            (Need::Identity | Need::Search, Shown::Token(_)) => Ok(()),
            (Need::Identity, Shown::Nothing) => Err(Denial::Unauthenticated),
            (Need::Search | Need::Catalog, Shown::Nothing) if self.grants.may_pull_something() => Ok(()),
            (Need::Search | Need::Catalog, Shown::Nothing) => Err(Denial::Unauthenticated),
            (Need::Catalog, Shown::Token(token)) if token.lists_catalog() => Ok(()),
            (Need::Catalog, Shown::Token(_)) => Err(Denial::InsufficientScope),
            (Need::Admin, Shown::Password) if self.grants.is_admin() => Ok(()),
            (Need::Admin, Shown::Nothing) => Err(Denial::Unauthenticated),
            (Need::Admin, Shown::Password | Shown::Token(_)) => Err(Denial::AdminsOnly),
            (Need::Repository { name, action }, shown) => self.may_in(name, action, shown),
        }
    }

    fn may_in(&self, name: &RepositoryName, action: Action, shown: &Shown) -> Result<(), Denial> {
        let allowed = self.grants.allow(name, action);
        match shown {
            Shown::Nothing if allowed => Ok(()),
            Shown::Nothing => Err(Denial::Unauthenticated),
            Shown::Password if allowed => Ok(()),
            Shown::Password => Err(Denial::Forbidden {
                user: self.grants.name().to_owned(),
                action: action.as_str(),
                name: name.clone(),
            }),
            Shown::Token(token) if allowed && token.allows(name, action) => Ok(()),
            Shown::Token(_) => Err(Denial::InsufficientScope),
        }
    }
}
