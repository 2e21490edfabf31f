//! A container's id, which is also the name of its folder.

use std::{fmt, str::FromStr};

use crate::error::Error;

/// `[A-Za-z0-9_+.-]`, at most 255 bytes, no dot first: safe as one part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerId(String);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        // A file name may be 255 bytes long.
        if text.is_empty() || text.len() > 255 || text.starts_with('.') || !text.bytes().all(letters) {
            let short: String = text.chars().take(64).collect();
            return Err(Error::Usage(format!(
                "invalid container id {short:?}: letters, digits and _+.- are allowed, no dot first, at most 255"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_leave_its_folder_is_refused() {
        for text in [
            "",
            ".",
            "..",
            ".x",
            "a/b",
            "../x",
            "a b",
            "a\n",
            "é",
            "a\0b",
            &"x".repeat(256),
        ] {
            assert!(text.parse::<ContainerId>().is_err(), "{text:?}");
        }
        for text in ["a", "A-z_0.9+", "x".repeat(255).as_str()] {
            assert!(text.parse::<ContainerId>().is_ok(), "{text:?}");
        }
    }
}
