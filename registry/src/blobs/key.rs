//! Names of objects.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

use crate::clock::Timestamp;

/// The name of an object: `blobs/<ulid>`. It is made once, never reused, and is not a digest, so that a delete by key
/// can never hit a later push of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Ulid);

const FOLDER: &str = "blobs/";

/// A text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object's key: {0:?}")]
pub struct KeyError(String);

impl Key {
    /// Makes a new key from the present moment and 80 bits of fresh randomness (the low ones of `random`).
    pub fn new(now: Timestamp, random: u128) -> Self {
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(Ulid::from_parts(ms, random))
    }

    /// Makes another key of the same moment from 80 other bits of randomness.
    pub(super) fn sibling(&self, random: u128) -> Self {
        Self(Ulid::from_parts(self.0.timestamp_ms(), random))
    }

    /// Returns the part after `blobs/`: 26 digits and capital letters, fit for a file's name.
    pub fn ulid(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FOLDER}{}", self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError(text.to_owned());
        let ulid = text.strip_prefix(FOLDER).ok_or_else(wrong)?;
        let key = Self(Ulid::from_string(ulid).ok().ok_or_else(wrong)?);
        // Ulid reads lower case too; a key has one spelling.
        if key.to_string() == text {
            Ok(key)
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let key = Key::new(Timestamp::from_millis(1_700_000_000_000), 42);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!(key.to_string().starts_with("blobs/01"));
    }

    #[test]
    fn keys_sort_by_time() {
        let at = |ms| Key::new(Timestamp::from_millis(ms), 7);
        assert!(at(1) < at(2));
        assert!(at(1).to_string() < at(2).to_string());
    }

    #[test]
    fn other_texts_are_refused() {
        let parsed = Key::new(Timestamp::from_millis(5), u128::MAX);
        let key = parsed.to_string();
        for text in [
            "",
            "blobs/",
            "blobs/../x",
            "blobs/01",
            &key.to_lowercase(),
            &parsed.ulid(),
            &format!("{key}/"),
        ] {
            assert_eq!(text.parse::<Key>(), Err(KeyError(text.to_owned())));
        }
    }
}
