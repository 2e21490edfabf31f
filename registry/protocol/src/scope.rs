//! Scopes of tokens: `repository:NAME:pull,push` (Docker's token documents).

use std::fmt;
use std::str::FromStr;

/// One thing that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Write manifests, blobs and tags.
    Push,
    /// Delete manifests, blobs and tags.
    Delete,
    /// Everything that the resource has; the catalog's own action.
    All,
    /// Search; docker's engine asks for it on the catalog.
    Search,
}

impl Action {
    /// Every action, in the order in which a set of them is written.
    pub const EVERY: [Action; 5] = [
        Action::Pull,
        Action::Push,
        Action::Delete,
        Action::All,
        Action::Search,
    ];

    /// The word of the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
            Action::All => "*",
            Action::Search => "search",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Action::Pull => 1,
            Action::Push => 2,
            Action::Delete => 4,
            Action::All => 8,
            Action::Search => 16,
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Actions(u8);

impl Actions {
    /// No action.
    pub const NONE: Actions = Actions(0);

    /// Reads a comma separated list. Words that are no [`Action`] are left out: a token grants less than
    /// was asked, it never fails for it.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        list.split(',')
            .filter_map(|word| {
                Action::EVERY
                    .into_iter()
                    .find(|action| action.as_str() == word.trim())
            })
            .collect()
    }

    /// Whether the set has `action` itself, or [`Action::All`].
    #[must_use]
    pub fn allows(self, action: Action) -> bool {
        self.0 & (action.bit() | Action::All.bit()) != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both sets, word by word; [`Action::All`] stands for itself alone.
    #[must_use]
    pub fn intersection(self, other: Actions) -> Actions {
        Actions(self.0 & other.0)
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }

    /// The actions, in the order of [`Action::EVERY`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::EVERY
            .into_iter()
            .filter(move |action| self.0 & action.bit() != 0)
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Actions(actions.into_iter().fold(0, |set, action| set | action.bit()))
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, action) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// What a token is asked for, or holds: actions on a named resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The resource's type: `repository` or `registry`; a class in parentheses is dropped.
    pub resource: String,
    /// The resource's name; it may hold a colon, as `host:5000/app` does.
    pub name: String,
    /// The actions.
    pub actions: Actions,
}

/// Why a text is not a [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: expected TYPE:NAME:ACTION[,ACTION…]")]
pub struct ScopeError;

impl Scope {
    /// A scope on a repository.
    #[must_use]
    pub fn repository(name: &str, actions: Actions) -> Self {
        Scope {
            resource: "repository".to_owned(),
            name: name.to_owned(),
            actions,
        }
    }

    /// The catalog's scope, `registry:catalog:*`.
    #[must_use]
    pub fn catalog() -> Self {
        let actions = Actions::from_iter([Action::All]);
        Scope {
            resource: "registry".to_owned(),
            name: "catalog".to_owned(),
            actions,
        }
    }

    /// Reads one value of the `scope` parameter: scopes separated by spaces.
    ///
    /// # Errors
    /// When one of them is no scope.
    pub fn parse_list(value: &str) -> Result<Vec<Scope>, ScopeError> {
        value.split_ascii_whitespace().map(str::parse).collect()
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (resource, rest) = text.split_once(':').ok_or(ScopeError)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError)?;
        let resource = resource
            .split_once('(')
            .map_or(resource, |(resource, _)| resource);
        if resource.is_empty() || name.is_empty() || name.contains(char::is_whitespace) {
            return Err(ScopeError);
        }
        let actions = Actions::parse(actions);
        Ok(Scope {
            resource: resource.to_owned(),
            name: name.to_owned(),
            actions,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.resource, self.name, self.actions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_a_port() {
        let scope: Scope = "repository:host:5000/app:pull,push".parse().unwrap();
        assert_eq!(scope.name, "host:5000/app");
        assert!(scope.actions.allows(Action::Push) && !scope.actions.allows(Action::Delete));
        assert_eq!(scope.to_string(), "repository:host:5000/app:pull,push");
    }

    #[test]
    fn unknown_actions_are_left_out_and_all_allows_each() {
        assert_eq!(Actions::parse("pull,fly"), Actions::from_iter([Action::Pull]));
        assert!(Actions::parse("*").allows(Action::Delete));
        assert!(Actions::parse("").is_empty());
    }

    #[test]
    fn scopes_without_two_colons_are_refused() {
        for text in ["", "repository", "repository:a", ":a:pull", "repository::pull"] {
            assert_eq!(text.parse::<Scope>(), Err(ScopeError), "{text:?}");
        }
        assert_eq!(
            Scope::parse_list("repository:a:pull  registry:catalog:*").map(|s| s.len()),
            Ok(2)
        );
        assert_eq!(
            "repository(plugin):a:pull".parse::<Scope>().map(|s| s.resource),
            Ok("repository".into())
        );
    }

    proptest! {
        #[test]
        fn a_scope_is_read_back_as_written(text in "(repository|registry):[a-z0-9:/]{1,20}:[a-z*,]{0,20}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
            }
        }
    }
}
