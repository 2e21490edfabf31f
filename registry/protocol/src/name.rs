//! Repository names and tags (distribution-spec, "Pulling manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most characters that a repository name may have.
///
/// The specification lets clients limit host and name together to 255.
pub const MAX_NAME_LEN: usize = 255;
/// The most characters that a tag may have.
pub const MAX_TAG_LEN: usize = 128;

/// Why a text is not a [`RepositoryName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("repository name is empty")]
    Empty,
    /// It is longer than [`MAX_NAME_LEN`].
    #[error("repository name is longer than {MAX_NAME_LEN} characters")]
    TooLong,
    /// It has an uppercase letter, the most common mistake.
    #[error("repository name must be lowercase")]
    Uppercase,
    /// One of its components is not lowercase letters and digits, joined by `.`, `_`, `__` or dashes.
    #[error(
        "repository name component {component:?} is not lowercase letters and digits joined by \".\", \"_\", \"__\" or \"-\""
    )]
    Component {
        /// The first component that is wrong.
        component: String,
    },
}

/// A repository's name: components separated by slashes.
///
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`, at most [`MAX_NAME_LEN`]
/// characters. Cloning shares the text; the order is the text's byte order.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components between the slashes; there is at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong);
        }
        match text.split('/').find(|component| !is_component(component)) {
            None => Ok(RepositoryName(text.into())),
            Some(_) if text.bytes().any(|b| b.is_ascii_uppercase()) => Err(NameError::Uppercase),
            Some(component) => Err(NameError::Component {
                component: component.to_owned(),
            }),
        }
    }
}

/// Whether `text` is runs of letters and digits joined by one separator each.
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let run = rest.iter().take_while(|b| is_alphanumeric(**b)).count();
        if run == 0 {
            return false;
        }
        rest = rest.split_at(run).1;
        let separator = match rest {
            [] => return true,
            [b'.', ..] => 1,
            [b'_', b'_', ..] => 2,
            [b'_', ..] => 1,
            [b'-', ..] => rest.iter().take_while(|b| **b == b'-').count(),
            _ => return false,
        };
        rest = rest.split_at(separator).1;
    }
}

/// Why a text is not a [`Tag`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a tag: expected a letter, digit or \"_\", then at most 127 of letters, digits, \"_\", \".\" and \"-\""
)]
pub struct TagError;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. The order is the text's byte order.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag that stands where none was given: `latest`.
    #[must_use]
    pub fn latest() -> Self {
        Tag("latest".into())
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let mut bytes = text.bytes();
        let well_formed = text.len() <= MAX_TAG_LEN
            && bytes.next().is_some_and(word)
            && bytes.all(|b| word(b) || b == b'.' || b == b'-');
        if well_formed {
            Ok(Tag(text.into()))
        } else {
            Err(TagError)
        }
    }
}

macro_rules! text_traits {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

text_traits!(RepositoryName);
text_traits!(Tag);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_grammar_are_taken() {
        for name in [
            "a",
            "0",
            "library/busybox",
            "a.b_c__d-e--f/g",
            "foo/bar/baz",
            &"a".repeat(255),
        ] {
            assert_eq!(
                name.parse::<RepositoryName>().map(|n| n.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for name in [
            "-a", "a-", "a..b", "a___b", "a._b", "a//b", "/a", "a/", "a b", "ä", ".", "..", "a/../b", "_a",
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
        assert_eq!("".parse::<RepositoryName>(), Err(NameError::Empty));
        assert_eq!("Foo".parse::<RepositoryName>(), Err(NameError::Uppercase));
        assert_eq!("a".repeat(256).parse::<RepositoryName>(), Err(NameError::TooLong));
    }

    #[test]
    fn tags_begin_with_a_word_character_and_have_at_most_128() {
        for tag in ["latest", "_x", "1.0-rc.1", "A", &"t".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        for tag in ["", ".x", "-x", "a:b", "a/b", "ä", &"t".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn what_the_grammar_makes_is_taken(
            name in "[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}(/[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}){0,3}"
        ) {
            prop_assert!(name.parse::<RepositoryName>().is_ok());
        }

        #[test]
        fn a_taken_name_has_only_the_grammars_characters(name in "[a-zA-Z0-9._/-]{0,20}") {
            if name.parse::<RepositoryName>().is_ok() {
                prop_assert!(!name.contains("//") && !name.contains("..") && !name.starts_with('/'));
            }
        }
    }
}
