//! The wire's error codes and the JSON body that carries them (distribution-spec, "Error Codes").

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// A code of an error body.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const EVERY: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The word of the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $text,)+
                }
            }

            /// The code of a word; `None` for one that no document names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($text => Some(ErrorCode::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Blob unknown to registry.
    BlobUnknown = "BLOB_UNKNOWN",
    /// Blob upload invalid.
    BlobUploadInvalid = "BLOB_UPLOAD_INVALID",
    /// Blob upload unknown to registry.
    BlobUploadUnknown = "BLOB_UPLOAD_UNKNOWN",
    /// Provided digest did not match uploaded content.
    DigestInvalid = "DIGEST_INVALID",
    /// Manifest references a manifest or blob unknown to registry.
    ManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN",
    /// Manifest invalid.
    ManifestInvalid = "MANIFEST_INVALID",
    /// Manifest unknown to registry.
    ManifestUnknown = "MANIFEST_UNKNOWN",
    /// Invalid repository name.
    NameInvalid = "NAME_INVALID",
    /// Repository name not known to registry.
    NameUnknown = "NAME_UNKNOWN",
    /// Provided length did not match content length.
    SizeInvalid = "SIZE_INVALID",
    /// Authentication required.
    Unauthorized = "UNAUTHORIZED",
    /// Requested access to the resource is denied.
    Denied = "DENIED",
    /// The operation is unsupported.
    Unsupported = "UNSUPPORTED",
    /// Too many requests.
    TooManyRequests = "TOOMANYREQUESTS",
    /// A fault of the server's own: the one word outside the specification's.
    Unknown = "UNKNOWN",
}

/// One error of a body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// The code's word; other registries send words of their own.
    pub code: String,
    /// What went wrong, for people.
    #[serde(default)]
    pub message: String,
    /// What helps to mend it; any JSON.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

/// The body of a refused request: `{"errors":[{code,message,detail}]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// At least one, in what this project sends.
    pub errors: Vec<ErrorEntry>,
}

impl ErrorBody {
    /// A body of one error; `detail` may be [`serde_json::Value::Null`].
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, detail: serde_json::Value) -> Self {
        ErrorBody {
            errors: vec![ErrorEntry {
                code: code.as_str().to_owned(),
                message: message.into(),
                detail,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_word() {
        for code in ErrorCode::EVERY {
            assert_eq!(ErrorCode::from_word(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::EVERY.len(), 15);
    }

    #[test]
    fn a_body_without_message_or_detail_is_read() {
        let body: ErrorBody = serde_json::from_str(r#"{"errors":[{"code":"X"}]}"#).unwrap();
        assert_eq!(body.errors.first().unwrap().code, "X");
        let ours = ErrorBody::new(ErrorCode::Denied, "no", serde_json::Value::Null);
        assert_eq!(
            serde_json::to_string(&ours).unwrap(),
            r#"{"errors":[{"code":"DENIED","message":"no"}]}"#
        );
    }
}
