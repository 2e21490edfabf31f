//! What a registry can do wrong, and what can go wrong on the way to it.

use http::StatusCode;
use wharf_protocol::error::ErrorBody;

use crate::error::{Error, Kind};

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The registry does not know what was asked for.
    #[error("{message}")]
    NotFound {
        /// The registry's own words.
        message: String,
    },
    /// A login is missing or wrong.
    #[error("{message}")]
    Unauthorized {
        /// The registry's own words.
        message: String,
    },
    /// The login is right and may not do this.
    #[error("{message}")]
    Denied {
        /// The registry's own words.
        message: String,
    },
    /// Any other refusal.
    #[error("{method} {url} was answered {status}: {message}")]
    Status {
        /// The request's method.
        method: String,
        /// What was asked for.
        url: String,
        /// The answer.
        status: StatusCode,
        /// The registry's own words.
        message: String,
    },
    /// The registry cannot be reached.
    #[error("Get \"{url}\"")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// An answer broke off more often than it was worth trying.
    #[error("the answer to {url} broke off")]
    Cut {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// What answered is no registry, or a broken one.
    #[error("{host} did not answer as a registry does: {problem}")]
    NotARegistry {
        /// Who answered.
        host: String,
        /// What was wrong with it.
        problem: String,
    },
    /// A login was not sent, because the place that asks for it cannot be trusted with it.
    #[error(
        "{host} names {realm} as the place to log in, which is another host and not reached over TLS from end to end; the login was not sent there"
    )]
    ForeignRealm {
        /// The registry.
        host: String,
        /// Where it wants the login sent.
        realm: String,
    },
    /// A request was sent on to where it must not go.
    #[error("{from} sends the request on to {to}, which is refused: {why}")]
    Redirect {
        /// Who.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// Something on this machine.
    #[error(transparent)]
    Local(#[from] Box<Error>),
}

impl From<Error> for RemoteError {
    fn from(error: Error) -> Self {
        Self::Local(Box::new(error))
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        let kind = match &error {
            RemoteError::NotFound { .. } => Kind::NotFound,
            RemoteError::Unauthorized { .. }
            | RemoteError::Denied { .. }
            | RemoteError::ForeignRealm { .. } => Kind::Denied,
            RemoteError::Status { .. } | RemoteError::NotARegistry { .. } | RemoteError::Redirect { .. } => {
                Kind::Registry
            }
            RemoteError::Unreachable { .. } | RemoteError::Cut { .. } => Kind::Unreachable,
            RemoteError::Local(_) => Kind::System,
        };
        match error {
            RemoteError::Local(error) => *error,
            RemoteError::Unreachable { url, source } => {
                Self::engine(kind, format!("Get \"{url}\"")).because(source.without_url())
            }
            RemoteError::Cut { url, source } => Self::engine(kind, format!("the answer to {url} broke off"))
                .because(source.without_url())
                .hint("Try again: what has arrived is kept."),
            RemoteError::NotARegistry { .. } => Self::engine(kind, error.to_string())
                .hint("Check the host's name and port; the answer did not come from a registry."),
            other => Self::engine(kind, other.to_string()),
        }
    }
}

/// The registry's own words from the body of a refusal: `code: message`, as docker prints them.
pub(crate) fn words_of(status: StatusCode, body: &[u8]) -> String {
    if let Ok(ErrorBody { errors }) = serde_json::from_slice(body)
        && !errors.is_empty()
    {
        let words = |code: &str| code.to_lowercase().replace('_', " ");
        let lines: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", words(&error.code), printable(&error.message, 500)))
            .collect();
        return lines.join("\n");
    }
    #[derive(serde::Deserialize)]
    struct Details {
        details: String,
    }
    if let Ok(Details { details }) = serde_json::from_slice(body) {
        return printable(&details, 500);
    }
    let text = printable(&String::from_utf8_lossy(body), 120);
    let reason = status.canonical_reason().unwrap_or("no reason given");
    if text.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {text}")
    }
}

/// A stranger's text on one line, short, without what could steer a terminal.
pub(crate) fn printable(text: &str, longest: usize) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(longest)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusals_words_are_the_registrys_and_cannot_steer_a_terminal() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown\u001b[31m"}]}"#;
        assert_eq!(
            words_of(StatusCode::NOT_FOUND, body),
            "manifest unknown: manifest unknown [31m"
        );
        assert_eq!(
            words_of(StatusCode::BAD_GATEWAY, b"<html>"),
            "Bad Gateway: <html>"
        );
        assert_eq!(words_of(StatusCode::NOT_FOUND, b""), "Not Found");
    }
}
