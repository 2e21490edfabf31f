//! What a container is called: an id that nobody else has, and a name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A container's id: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// Text that is no container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a container id")]
pub struct NotAnId(String);

impl Id {
    /// Makes an id that nobody else has.
    pub fn random() -> Self {
        Self(crate::app::random_hex::<32>())
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as tables show them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Id {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says whether a container may be called so: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn is_valid_name(name: &str) -> bool {
    let mut characters = name.chars();
    let starts = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric());
    let rest = characters.as_str();
    starts
        && !rest.is_empty()
        && rest
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Makes a name up: an adjective and a harbour or a seafarer, with a digit once many are taken.
pub fn made_up_name(attempt: u32) -> String {
    let pick = |list: &[&'static str]| {
        let random = u32::from_str_radix(&crate::app::random_hex::<4>(), 16).unwrap_or_default();
        let at = usize::try_from(random).unwrap_or_default() % list.len();
        list.get(at).copied().unwrap_or("calm")
    };
    let name = format!("{}_{}", pick(ADJECTIVES), pick(SURNAMES));
    match attempt {
        0..4 => name,
        _ => format!("{name}{}", attempt - 3),
    }
}

const ADJECTIVES: &[&str] = &[
    "able", "amber", "ample", "apt", "azure", "bold", "bonny", "brave", "breezy", "bright", "brisk", "calm",
    "candid", "cheery", "civil", "clear", "clever", "coastal", "crisp", "curious", "daring", "deft", "eager",
    "early", "easy", "exact", "fair", "fleet", "fond", "frank", "free", "fresh", "frosty", "gallant",
    "gentle", "glad", "golden", "grand", "hale", "handy", "hardy", "hearty", "humble", "jolly", "keen",
    "kind", "late", "lean", "light", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mighty",
    "mild", "modest", "neat", "nimble", "noble", "northern", "open", "patient", "placid", "plucky", "polite",
    "prompt", "proud", "prudent", "quick", "quiet", "rapid", "ready", "robust", "salty", "sharp", "silent",
    "silver", "sincere", "sleek", "smart", "snug", "solid", "spry", "stable", "steady", "stout", "sturdy",
    "subtle", "sunny", "swift", "tidal", "tidy", "true", "upbeat", "vivid", "warm", "wise", "witty",
];

const SURNAMES: &[&str] = &[
    "abel",
    "agnesi",
    "amundsen",
    "anning",
    "backus",
    "baret",
    "barents",
    "beaufort",
    "bellingshausen",
    "bering",
    "bethe",
    "blum",
    "bougainville",
    "bowditch",
    "cabot",
    "cartier",
    "chapman",
    "cheng",
    "columbo",
    "cook",
    "cortona",
    "dampier",
    "dias",
    "drake",
    "eriksen",
    "fitzroy",
    "flinders",
    "frobisher",
    "gama",
    "gerritsz",
    "grace",
    "halley",
    "harrison",
    "hatteras",
    "herschel",
    "houtman",
    "hudson",
    "humboldt",
    "ibn_majid",
    "juan",
    "kepler",
    "kidd",
    "knox",
    "kotzebue",
    "kruse",
    "laperouse",
    "laplace",
    "lindgren",
    "lisiansky",
    "magellan",
    "malaspina",
    "marsden",
    "maury",
    "mercator",
    "munk",
    "nansen",
    "nares",
    "nordenskjold",
    "ogden",
    "pasha",
    "peary",
    "pytheas",
    "quiros",
    "reis",
    "ross",
    "rutter",
    "scoresby",
    "scott",
    "shackleton",
    "slocum",
    "somerville",
    "spilbergen",
    "tasman",
    "tharp",
    "torres",
    "vancouver",
    "vespucci",
    "villiers",
    "weddell",
    "wegener",
    "wilkes",
    "zhang",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_valid_and_so_are_users_but_not_all() {
        for attempt in 0..64 {
            assert!(is_valid_name(&made_up_name(attempt)));
        }
        for name in ["es", "foodtrucks-web", "a.b_c-1"] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", "a", "-a", ".a", "a/b", "..", "a b", "ä1"] {
            assert!(!is_valid_name(name), "{name}");
        }
    }

    #[test]
    fn an_id_is_64_lower_case_digits() {
        let id = Id::random();
        assert_eq!(id.as_str().parse::<Id>().as_ref(), Ok(&id));
        assert_eq!(id.short().len(), 12);
        for text in ["", "abc", &"A".repeat(64), &"../".repeat(22)] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
