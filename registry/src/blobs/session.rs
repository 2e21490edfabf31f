//! An upload's state, as its row holds it.

use serde::{Deserialize, Serialize};
use wharf_protocol::digest::{Algorithm, Hasher};

use super::{HashState, Key};

/// An upload on its way. A row holds all of it; nothing else does.
///
/// In the row, `key` is a text, `offset` a number, `staged` a text ([`Staged::to_text`]), and `hash` the algorithm's
/// name, a format's number and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The object that this upload becomes.
    pub key: Key,
    /// How many bytes are durable and hashed.
    pub offset: u64,
    /// Where they are.
    pub staged: Staged,
    /// The hash over them, to be continued.
    pub hash: HashState,
}

impl Session {
    /// Begins an upload that will be the object `key`, never used before, hashed by `algorithm` as it streams.
    ///
    /// No store knows of it until its first bytes come.
    pub fn new(key: Key, algorithm: Algorithm) -> Self {
        Self {
            key,
            offset: 0,
            staged: Staged::Nothing,
            hash: HashState::of(&Hasher::new(algorithm)),
        }
    }
}

/// Where an upload's bytes lie until it is finished.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staged {
    /// Nowhere: there were none yet.
    #[default]
    Nothing,
    /// In a file on the store's disk that has the name of the session's key.
    File,
    /// In parts of a multipart upload to the session's key, and in tails that are too small for a part.
    Multipart(Multipart),
}

/// Where an upload's bytes lie in a cloud: first the parts, then the tails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multipart {
    /// The multipart upload, once there was enough for a first part.
    pub id: Option<String>,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// The bytes after the last part, if any, in order.
    pub tails: Vec<Tail>,
    /// Objects that may be there and hold none of these bytes: the next call deletes them.
    pub stale: Vec<String>,
}

/// A part of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the cloud calls it (S3: its ETag).
    pub id: String,
    /// How many bytes it holds.
    pub size: u64,
}

/// Bytes that wait for more, in an object of their own, so that any replica finds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The object's name under the store's prefix.
    pub object: String,
    /// How many bytes it holds.
    pub size: u64,
}

impl Staged {
    /// Returns the text for the row; it is empty for [`Staged::Nothing`].
    pub fn to_text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            // A tree of strings and numbers always has a JSON form.
            staged => serde_json::to_string(staged).unwrap_or_default(),
        }
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// The text is something else: a damaged row, or one of a newer version.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        if text.is_empty() {
            Ok(Self::Nothing)
        } else {
            serde_json::from_str(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_reads_back_from_its_text() {
        let tails = vec![Tail {
            object: "uploads/x/1".into(),
            size: 3,
        }];
        let parts = vec![Part {
            id: "\"e\"".into(),
            size: 8,
        }];
        let multipart = Staged::Multipart(Multipart {
            id: Some("m".into()),
            parts,
            tails,
            stale: vec!["uploads/x/0".into()],
        });
        for staged in [Staged::Nothing, Staged::File, multipart] {
            assert_eq!(Staged::from_text(&staged.to_text()).unwrap(), staged);
        }
        assert_eq!(Staged::Nothing.to_text(), "");
        assert!(Staged::from_text("{").is_err());
    }
}
