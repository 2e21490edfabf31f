//! An upload's state, as its row holds it.

use serde::{Deserialize, Serialize};

use super::{HashState, Key};

/// An upload on its way. A row holds all of it; nothing else does.
///
/// `key` is a TEXT, `offset` a BIGINT, `staged` a TEXT (its JSON), and `hash` a TEXT, a BIGINT and a BLOB.
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

/// Where an upload's bytes lie until it is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staged {
    /// In a file of its own on the store's disk.
    File {
        /// Its name in the store's folder of uploads.
        name: String,
    },
    /// In parts of a multipart upload to `Session::key`, and a tail that is too small for a part.
    Multipart {
        /// The multipart upload, once there was enough for a first part.
        id: Option<String>,
        /// The parts, in order.
        parts: Vec<Part>,
        /// The bytes after the last part, if any.
        tail: Option<Tail>,
        /// Objects that only an older state of this session named: the next call deletes them.
        stale: Vec<String>,
    },
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
    /// Returns the JSON text for the row.
    pub fn to_json(&self) -> String {
        // A tree of strings and numbers always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what `to_json` wrote.
    ///
    /// # Errors
    /// The text is something else: a damaged row, or one of a newer version.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
