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
pub use self::policy::{EVERY_USER, Grants, Policy};
pub use self::throttle::Throttle;
use self::token::Verified;
pub use self::token::{Access, Issued, KeyError, KeyRing, TokenRequest, Tokens};
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
                grants: self.policy.grants(None).await?,
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
                let grants = self.policy.grants(verified.subject()).await?;
                if verified.subject().is_some() && grants.version() != Some(verified.version()) {
                    return Err(Denial::InvalidToken(
                        "its user was changed or removed since it was issued",
                    ));
                }
                Ok(Identity {
                    grants,
                    shown: Shown::Token(verified),
                })
            }
        }
    }

    /// Verifies a name and a password.
    ///
    /// # Errors
    /// [`Denial::WrongCredentials`] after the same time for a user who doesn't exist; [`Denial::Throttled`].
    pub async fn login(&self, name: &str, password: &str, address: IpAddr) -> Result<Arc<Grants>, Denial> {
        let grants = self.policy.grants(Some(name)).await?;
        if self.passwords.remembers(grants.user(), password) {
            return Ok(grants);
        }
        // Only so many hashes are computed at once. Whoever waited looks again: another may have verified the same
        // password meanwhile, or have failed once too often.
        let turn = self.passwords.turn().await;
        if self.passwords.remembers(grants.user(), password) {
            return Ok(grants);
        }
        self.throttle
            .check(name, address)
            .map_err(|retry_after| Denial::Throttled { retry_after })?;
        if self.passwords.verify(turn, grants.user(), password).await {
            Ok(grants)
        } else {
            self.throttle.failed(name, address);
            Err(Denial::WrongCredentials)
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
