//! What the database says of who may do what, remembered for as long as it has not changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::ANONYMOUS;
use super::basic::Secret;
use super::grants::{Account, Grants, Principal};
use super::htpasswd::{Entries, Htpasswd};
use super::issuers::Issuers;
use super::made_up;
use crate::config::Anonymous;
use crate::metadata::{self, Actions, Allowance, Metadata};

/// How old what is remembered may be before the database is asked whether it has changed.
const FRESH: Duration = Duration::from_secs(1);
/// For how many names something is remembered at most.
const REMEMBERED: usize = 10_000;
/// The word of a rule for every user who logged in.
pub const EVERY_USER: &str = "*";

/// Reads users and rules, and remembers them.
#[derive(Debug)]
pub struct Policy {
    metadata: Arc<dyn Metadata>,
    anonymous: Anonymous,
    htpasswd: Option<Htpasswd>,
    pub(super) issuers: Issuers,
    remembered: RwLock<Remembered>,
}

/// What has changed when rights may have changed: the rows, or the htpasswd file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Epoch {
    rows: i64,
    file: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    epoch: Epoch,
    asked: Option<Instant>,
    grants: HashMap<Principal, Arc<Grants>>,
}

impl Policy {
    /// Makes a policy over the rows, a file of more users, and the issuers of the settings.
    pub fn new(
        metadata: Arc<dyn Metadata>,
        anonymous: Anonymous,
        htpasswd: Option<Htpasswd>,
        issuers: Issuers,
    ) -> Self {
        Self {
            metadata,
            anonymous,
            htpasswd,
            issuers,
            remembered: RwLock::default(),
        }
    }

    /// Returns what somebody may do. Whoever does not exist may do nothing.
    ///
    /// # Errors
    /// The database does not answer, and what is remembered is too old.
    pub async fn grants(&self, who: &Principal) -> Result<Arc<Grants>, metadata::Error> {
        if let Some(grants) = self.fresh(who) {
            return Ok(grants);
        }
        // Asked before what it covers is read: a change in between is then found at the next look.
        let file = self.file().await;
        let epoch = Epoch {
            rows: self.metadata.auth_epoch().await?,
            file: file.generation,
        };
        if let Some(grants) = self.unchanged(epoch, who) {
            return Ok(grants);
        }
        let grants = Arc::new(self.read(who, &file).await?);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.epoch == epoch {
            if remembered.grants.len() >= REMEMBERED {
                remembered.grants.clear();
            }
            remembered.grants.insert(who.clone(), Arc::clone(&grants));
        }
        Ok(grants)
    }

    /// Returns the largest cost of a password of the htpasswd file, 0 without one.
    pub(super) async fn costliest(&self) -> u32 {
        self.file().await.costliest
    }

    async fn file(&self) -> Arc<Entries> {
        match &self.htpasswd {
            Some(file) => file.entries().await,
            None => Arc::default(),
        }
    }

    fn fresh(&self, who: &Principal) -> Option<Arc<Grants>> {
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = remembered.asked.is_some_and(|asked| asked.elapsed() < FRESH);
        if fresh {
            remembered.grants.get(who).map(Arc::clone)
        } else {
            None
        }
    }

    /// Notes the epoch, forgetting everything if it has moved.
    fn unchanged(&self, epoch: Epoch, who: &Principal) -> Option<Arc<Grants>> {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.epoch != epoch {
            remembered.grants.clear();
            remembered.epoch = epoch;
        }
        remembered.asked = Some(Instant::now());
        remembered.grants.get(who).map(Arc::clone)
    }

    async fn read(&self, who: &Principal, file: &Entries) -> Result<Grants, metadata::Error> {
        match who {
            Principal::Nobody => {
                let rules = self.rules(&[ANONYMOUS]).await?;
                Ok(Grants::new(who.clone(), None, rules))
            }
            Principal::User(name) => self.user(name, file).await,
            Principal::Robot(name) => self.robot(name).await,
            Principal::Key { user, id } => self.key(user, id, file).await,
            Principal::Job { issuer, rules, .. } => self.job(who, issuer, rules).await,
        }
    }

    /// Reads a user of the rows, else of the file.
    async fn user(&self, name: &str, file: &Entries) -> Result<Grants, metadata::Error> {
        let who = Principal::User(name.to_owned());
        if let Some(user) = self.metadata.user(name).await? {
            let account = Account {
                version: user.version,
                secret: Secret::Argon2(user.password_hash),
                admin: user.admin,
                expires: None,
                refreshes: true,
            };
            let rules = self.rules(&[name, EVERY_USER, ANONYMOUS]).await?;
            return Ok(Grants::new(who, Some(account), rules));
        }
        let Some(entry) = file.get(name) else {
            return Ok(Grants::none(who));
        };
        let account = Account {
            version: entry.version,
            secret: Secret::Bcrypt {
                hash: entry.hash.clone(),
                cost: entry.cost,
            },
            admin: false,
            expires: None,
            refreshes: false,
        };
        let mut rules = self.rules(&[name, EVERY_USER, ANONYMOUS]).await?;
        // A name is always one component.
        if let Ok(pattern) = format!("{name}/**").parse() {
            let actions = Actions::ALL;
            rules.push(Allowance { pattern, actions });
        }
        Ok(Grants::new(who, Some(account), rules))
    }

    /// Reads a robot. What every user may do is not for robots: only what a rule gives it, and what nobody needs a
    /// login for.
    async fn robot(&self, name: &str) -> Result<Grants, metadata::Error> {
        let who = Principal::Robot(name.to_owned());
        let Some(robot) = self.metadata.robot(name).await? else {
            return Ok(Grants::none(who));
        };
        let account = Account {
            version: robot.version,
            secret: Secret::MadeUp(robot.secret_hash),
            admin: false,
            expires: robot.expires,
            refreshes: false,
        };
        let rules = self.rules(&[name, ANONYMOUS]).await?;
        Ok(Grants::new(who, Some(account), rules))
    }

    /// Reads a key: what its user may do, cut to its scope.
    async fn key(&self, user: &str, id: &str, file: &Entries) -> Result<Grants, metadata::Error> {
        let who = Principal::Key {
            user: user.to_owned(),
            id: id.to_owned(),
        };
        let key = self.metadata.key(id).await?;
        let Some(key) = key.filter(|key| key.user == user) else {
            return Ok(Grants::none(who));
        };
        let account = Account {
            // A key's row never changes, and its id is never used again.
            version: key.created.as_millis(),
            secret: Secret::MadeUp(made_up::as_text(&key.secret_hash)),
            admin: false,
            expires: key.expires,
            refreshes: false,
        };
        let whole = self.user(user, file).await?;
        Ok(whole.narrowed(who, account, key.scope))
    }

    /// Reads what an issuer's rules allow; nothing if the settings have no such issuer any more.
    async fn job(&self, who: &Principal, issuer: &str, rules: &[usize]) -> Result<Grants, metadata::Error> {
        let Some((version, mut allowed)) = self.issuers.allowed(issuer, rules) else {
            return Ok(Grants::none(who.clone()));
        };
        let account = Account {
            version,
            secret: Secret::None,
            admin: false,
            expires: None,
            refreshes: false,
        };
        allowed.extend(self.rules(&[ANONYMOUS]).await?);
        Ok(Grants::new(who.clone(), Some(account), allowed))
    }

    /// Reads the rules that name one of these, and what the settings add for everybody.
    async fn rules(&self, words: &[&str]) -> Result<Vec<Allowance>, metadata::Error> {
        let rows = self.metadata.rules_of(words).await?;
        let mut rules: Vec<_> = rows
            .into_iter()
            .map(|rule| Allowance {
                pattern: rule.pattern,
                actions: rule.actions,
            })
            .collect();
        if self.anonymous == Anonymous::Pull {
            // That is always an allowance.
            rules.extend("**:pull".parse::<Allowance>());
        }
        Ok(rules)
    }
}
