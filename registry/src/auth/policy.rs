//! What the database says of who may do what, remembered for as long as it has not changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wharf_protocol::name::RepositoryName;
use wharf_protocol::scope::Action;

use super::ANONYMOUS;
use crate::config::Anonymous;
use crate::metadata::{self, Actions, Metadata, Pattern, User, Visible};

/// How old what is remembered may be before the database is asked whether it has changed.
const FRESH: Duration = Duration::from_secs(1);
/// For how many names something is remembered at most.
const REMEMBERED: usize = 10_000;
/// The word of a rule for every user who logged in.
pub const EVERY_USER: &str = "*";

/// What somebody may do.
#[derive(Debug)]
pub struct Grants {
    name: String,
    user: Option<User>,
    rules: Vec<(Pattern, Actions)>,
}

impl Grants {
    /// Returns the caller's name, `anonymous` for those who have none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the user, if there is one of the name.
    pub(super) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Returns the version of the user's row.
    pub(super) fn version(&self) -> Option<i64> {
        self.user.as_ref().map(|user| user.version)
    }

    /// Returns whether the caller is an admin.
    pub fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.admin)
    }

    /// Returns whether the rules allow the action in this repository.
    pub fn allow(&self, name: &RepositoryName, action: Action) -> bool {
        self.is_admin()
            || self
                .rules
                .iter()
                .any(|(pattern, actions)| includes(*actions, action) && pattern.matches(name.as_str()))
    }

    /// Returns which repositories the caller may see.
    pub fn visible(&self) -> Visible {
        if self.is_admin() {
            return Visible::All;
        }
        let pulls = self.rules.iter().filter(|(_, actions)| actions.pull);
        Visible::Matching(pulls.map(|(pattern, _)| pattern.clone()).collect())
    }

    /// Returns whether there is any repository, now or later, that the caller may pull from.
    pub fn may_pull_something(&self) -> bool {
        self.is_admin() || self.rules.iter().any(|(_, actions)| actions.pull)
    }
}

fn includes(actions: Actions, action: Action) -> bool {
    match action {
        Action::Pull => actions.pull,
        Action::Push => actions.push,
        Action::Delete => actions.delete,
        Action::All | Action::Search => actions == Actions::ALL,
    }
}

/// Reads users and rules, and remembers them.
#[derive(Debug)]
pub struct Policy {
    metadata: Arc<dyn Metadata>,
    anonymous: Anonymous,
    remembered: RwLock<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    epoch: i64,
    asked: Option<Instant>,
    /// By name; those without one have the empty name, which no user has.
    grants: HashMap<String, Arc<Grants>>,
}

impl Policy {
    /// Makes a policy over the rows.
    pub fn new(metadata: Arc<dyn Metadata>, anonymous: Anonymous) -> Self {
        Self {
            metadata,
            anonymous,
            remembered: RwLock::default(),
        }
    }

    /// Returns what somebody may do: a user, or those who have no name. A name without a user may do nothing.
    ///
    /// # Errors
    /// The database does not answer, and what is remembered is too old.
    pub async fn grants(&self, name: Option<&str>) -> Result<Arc<Grants>, metadata::Error> {
        let name = name.unwrap_or_default();
        if let Some(grants) = self.fresh(name) {
            return Ok(grants);
        }
        // Asked before what it covers is read: a change in between is then found at the next look.
        let epoch = self.metadata.auth_epoch().await?;
        if let Some(grants) = self.unchanged(epoch, name) {
            return Ok(grants);
        }
        let grants = Arc::new(self.read(name).await?);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.epoch == epoch {
            if remembered.grants.len() >= REMEMBERED {
                remembered.grants.clear();
            }
            remembered.grants.insert(name.to_owned(), Arc::clone(&grants));
        }
        Ok(grants)
    }

    fn fresh(&self, name: &str) -> Option<Arc<Grants>> {
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = remembered.asked.is_some_and(|asked| asked.elapsed() < FRESH);
        if fresh {
            remembered.grants.get(name).map(Arc::clone)
        } else {
            None
        }
    }

    /// Notes the epoch, forgetting everything if it has moved.
    fn unchanged(&self, epoch: i64, name: &str) -> Option<Arc<Grants>> {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.epoch != epoch {
            remembered.grants.clear();
            remembered.epoch = epoch;
        }
        remembered.asked = Some(Instant::now());
        remembered.grants.get(name).map(Arc::clone)
    }

    async fn read(&self, name: &str) -> Result<Grants, metadata::Error> {
        let user = if name.is_empty() {
            None
        } else {
            self.metadata.user(name).await?
        };
        let words = match &user {
            Some(user) => vec![user.name.as_str(), EVERY_USER, ANONYMOUS],
            None if name.is_empty() => vec![ANONYMOUS],
            None => Vec::new(),
        };
        let mut rules = Vec::new();
        if !words.is_empty() {
            let rows = self.metadata.rules_of(&words).await?;
            rules.extend(rows.into_iter().map(|rule| (rule.pattern, rule.actions)));
            if self.anonymous == Anonymous::Pull {
                // "**" is always a pattern.
                let everywhere = "**".parse::<Pattern>().ok();
                rules.extend(everywhere.map(|all| {
                    (
                        all,
                        Actions {
                            pull: true,
                            ..Actions::default()
                        },
                    )
                }));
            }
        }
        let shown = if name.is_empty() { ANONYMOUS } else { name };
        Ok(Grants {
            name: shown.to_owned(),
            user,
            rules,
        })
    }
}
