//! Who somebody is, and what they may do.

use wharf_protocol::name::RepositoryName;
use wharf_protocol::scope::Action;

use super::basic::Secret;
use super::{ANONYMOUS, made_up};
use crate::clock::Timestamp;
use crate::metadata::{Actions, Allowance, Pattern, Visible};

/// Somebody, as logins and tokens name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Those who don't log in.
    Nobody,
    /// A user of the database, or of the htpasswd file.
    User(String),
    /// A robot, by its whole name.
    Robot(String),
    /// A key that acts for a user.
    Key {
        /// For whom.
        user: String,
        /// Its id.
        id: String,
    },
    /// A job that an issuer of the settings vouches for.
    Job {
        /// The issuer's name and the subject, `github:repo:acme/app:ref:refs/heads/main`.
        name: String,
        /// The issuer's name.
        issuer: String,
        /// Which of the issuer's rules are for it.
        rules: Vec<usize>,
    },
}

impl Principal {
    /// Whoever logs in by this name and a password.
    pub(super) fn of_account(name: String) -> Self {
        if made_up::robots_own_name(&name).is_some() {
            Self::Robot(name)
        } else {
            Self::User(name)
        }
    }

    /// Returns the name that rules, rows and logs know them by.
    pub fn name(&self) -> &str {
        match self {
            Self::Nobody => ANONYMOUS,
            Self::User(name) | Self::Robot(name) | Self::Key { user: name, .. } | Self::Job { name, .. } => {
                name
            }
        }
    }
}

/// What proves that somebody is who they say, and since when.
#[derive(Debug, Clone)]
pub(super) struct Account {
    /// Another one after each change: what is remembered of somebody is remembered under this number.
    pub(super) version: i64,
    /// What they show.
    pub(super) secret: Secret,
    /// Whether they may do everything.
    pub(super) admin: bool,
    /// From when on it is nobody's any more.
    pub(super) expires: Option<Timestamp>,
    /// Whether they get refresh tokens, which are rows that belong to a row of theirs.
    pub(super) refreshes: bool,
}

/// What somebody may do.
#[derive(Debug)]
pub struct Grants {
    principal: Principal,
    account: Option<Account>,
    rules: Vec<Allowance>,
    /// What all of it is cut to.
    within: Option<Vec<Allowance>>,
}

impl Grants {
    /// What an account may do by these rules; without one, what nobody may.
    pub(super) fn new(principal: Principal, account: Option<Account>, rules: Vec<Allowance>) -> Self {
        Self {
            principal,
            account,
            rules,
            within: None,
        }
    }

    /// The rights of somebody who doesn't exist.
    pub(super) fn none(principal: Principal) -> Self {
        Self::new(principal, None, Vec::new())
    }

    /// The same rights in another's hands, cut to a scope.
    pub(super) fn narrowed(self, principal: Principal, account: Account, scope: Vec<Allowance>) -> Self {
        let account = Account {
            admin: self.may_all(),
            ..account
        };
        Self {
            principal,
            account: Some(account),
            rules: self.rules,
            within: Some(scope),
        }
    }

    /// Returns the caller's name, `anonymous` for those who have none.
    pub fn name(&self) -> &str {
        self.principal.name()
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns the account, if there is one of the name.
    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Returns the version of the account.
    pub(super) fn version(&self) -> Option<i64> {
        self.account.as_ref().map(|account| account.version)
    }

    /// Returns whether the account has come to its end.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        let expires = self.account.as_ref().and_then(|account| account.expires);
        expires.is_some_and(|expires| expires <= now)
    }

    /// Returns whether the caller is an admin. A key with a scope is none, whoever's it is.
    pub fn is_admin(&self) -> bool {
        self.may_all() && self.within.is_none()
    }

    /// Returns whether no rule is needed.
    fn may_all(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.admin)
    }

    /// Returns whether the rules allow the action in this repository.
    pub fn allow(&self, name: &RepositoryName, action: Action) -> bool {
        let by_rule = self.may_all() || any_allows(&self.rules, name, action);
        by_rule
            && self
                .within
                .as_ref()
                .is_none_or(|scope| any_allows(scope, name, action))
    }

    /// Returns which repositories the caller may see.
    pub fn visible(&self) -> Visible {
        let by_rule = if self.may_all() {
            Visible::All
        } else {
            Visible::Matching(pulled(&self.rules))
        };
        match &self.within {
            None => by_rule,
            Some(scope) => Visible::Within(Box::new(by_rule), pulled(scope)),
        }
    }

    /// Returns whether there is any repository, now or later, that the caller may pull from.
    pub fn may_pull_something(&self) -> bool {
        let pulls = |list: &[Allowance]| list.iter().any(|allowance| allowance.actions.pull);
        (self.may_all() || pulls(&self.rules)) && self.within.as_deref().is_none_or(pulls)
    }
}

fn any_allows(list: &[Allowance], name: &RepositoryName, action: Action) -> bool {
    list.iter()
        .any(|one| includes(one.actions, action) && one.pattern.matches(name.as_str()))
}

fn pulled(list: &[Allowance]) -> Vec<Pattern> {
    let pulls = list.iter().filter(|one| one.actions.pull);
    pulls.map(|one| one.pattern.clone()).collect()
}

fn includes(actions: Actions, action: Action) -> bool {
    match action {
        Action::Pull => actions.pull,
        Action::Push => actions.push,
        Action::Delete => actions.delete,
        Action::All | Action::Search => actions == Actions::ALL,
    }
}
