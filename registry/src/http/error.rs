//! The one place where an error becomes an answer.

#![deny(clippy::wildcard_enum_match_arm)]

use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use wharf_protocol::error::{ErrorBody, ErrorCode, ErrorEntry};

use super::operation::Refusal;
use super::server::BodyTooSlow;
use super::token::BadTokenRequest;
use super::{answer, origin, uploads};
use crate::app::App;
use crate::auth::{Denial, Denied};
use crate::metadata;
use crate::repo::Error;

/// When to come back after a fault that may pass.
const RETRY_AFTER_S: u64 = 5;

/// Whatever can go wrong with a request.
#[derive(Debug)]
pub enum Failure {
    /// It is no operation.
    Refusal(Refusal),
    /// The caller may not.
    Denied(Box<Denied>),
    /// A login at `/token` failed.
    Login(Denial),
    /// A request for a token is wrong.
    Token(BadTokenRequest),
    /// A blob has no such bytes.
    RangeUnmet {
        /// How many it has.
        size: u64,
    },
    /// A rule refused it, or a store failed.
    Repo(Error),
    /// Too many bodies are in memory.
    NoRoom,
    /// Our own mistake.
    Panicked,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Box<Denied>> for Failure {
    fn from(denied: Box<Denied>) -> Self {
        Self::Denied(denied)
    }
}

impl From<BadTokenRequest> for Failure {
    fn from(bad: BadTokenRequest) -> Self {
        Self::Token(bad)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Repo(error)
    }
}

/// Answers a failed request; what is our fault is logged, once, here.
pub(super) fn answer(app: &App, head: &Parts, failure: &Failure, id: &str) -> Response {
    let (status, code) = status(failure);
    let body = if status.is_server_error() {
        log(head, failure, status, id);
        ErrorBody::new(
            code,
            "the registry could not do this",
            json!({ "request_id": id }),
        )
    } else {
        body(code, failure)
    };
    let mut answer = answer::json(status, &body);
    dress(&mut answer, app, head, failure);
    let retries = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    if retries && !answer.headers().contains_key(header::RETRY_AFTER) {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    answer
}

/// Makes the answer to a request whose head is so large that it was not read.
pub fn head_too_large(limit_bytes: usize) -> http::Response<bytes::Bytes> {
    let message = format!(
        "the request's line and headers have more than the {limit_bytes} bytes of limits.header_bytes"
    );
    let body = ErrorBody::new(ErrorCode::Unsupported, message, json!({ "limit": limit_bytes }));
    // A tree of strings and numbers always has a JSON form.
    let mut answer = http::Response::new(serde_json::to_vec(&body).unwrap_or_default().into());
    *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(super::API_VERSION, HeaderValue::from_static("registry/2.0"));
    answer
}

/// Returns the status and the code of a failure.
fn status(failure: &Failure) -> (StatusCode, ErrorCode) {
    match failure {
        Failure::Refusal(refusal) => refusal_status(refusal),
        Failure::Denied(denied) => denial_status(&denied.why),
        Failure::Login(denial) => denial_status(denial),
        Failure::Token(bad) => match bad {
            BadTokenRequest::Form
            | BadTokenRequest::Missing(_)
            | BadTokenRequest::GrantType
            | BadTokenRequest::TooManyScopes { .. } => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
        },
        Failure::RangeUnmet { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid),
        Failure::Repo(error) => repo_status(error),
        Failure::NoRoom => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        Failure::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
    }
}

fn refusal_status(refusal: &Refusal) -> (StatusCode, ErrorCode) {
    let bad = StatusCode::BAD_REQUEST;
    match refusal {
        Refusal::PathUnknown => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
        Refusal::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
        Refusal::Name(_) => (bad, ErrorCode::NameInvalid),
        Refusal::Digest(_) | Refusal::DigestMissing => (bad, ErrorCode::DigestInvalid),
        Refusal::TagUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
        Refusal::Tag(_) | Refusal::QueryTag(_) | Refusal::ContentType(_) => (bad, ErrorCode::ManifestInvalid),
        Refusal::TooManyTags { .. } => (StatusCode::URI_TOO_LONG, ErrorCode::Unsupported),
        Refusal::TagsWithoutDigest | Refusal::PageSize(_) | Refusal::EntityTags(_) => {
            (bad, ErrorCode::Unsupported)
        }
        Refusal::ContentRange(_) => (bad, ErrorCode::SizeInvalid),
    }
}

fn denial_status(denial: &Denial) -> (StatusCode, ErrorCode) {
    match denial {
        Denial::Unauthenticated
        | Denial::WrongCredentials
        | Denial::BadJwt { .. }
        | Denial::InvalidToken(_)
        | Denial::InsufficientScope => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized),
        Denial::Forbidden { .. } | Denial::AdminsOnly => (StatusCode::FORBIDDEN, ErrorCode::Denied),
        Denial::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        Denial::IssuerUnreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TooManyRequests),
        Denial::Metadata(error) => database_status(error),
    }
}

/// What a failed look at rights comes to.
fn database_status(error: &metadata::Error) -> (StatusCode, ErrorCode) {
    use metadata::Error as M;
    match error {
        M::Unavailable(_) | M::WritesStopped(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TooManyRequests)
        }
        M::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unknown),
        M::ReferencesMissing(_)
        | M::PreconditionFailed { .. }
        | M::RepositoryUnknown
        | M::BlobInUse { .. }
        | M::UploadUnknown
        | M::UploadBusy
        | M::UploadMoved { .. }
        | M::TooManyUploads { .. }
        | M::UserExists(_)
        | M::UserUnknown(_)
        | M::Newer { .. }
        | M::Corrupt { .. }
        | M::Open { .. }
        | M::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
    }
}

fn repo_status(error: &Error) -> (StatusCode, ErrorCode) {
    let bad = StatusCode::BAD_REQUEST;
    match error {
        Error::NameUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        Error::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
        Error::BlobUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
        Error::UploadUnknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        Error::UploadBusy | Error::TooManyUploads { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests)
        }
        Error::ChunkOutOfOrder { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid),
        Error::LengthMismatch { .. } => (bad, ErrorCode::SizeInvalid),
        Error::BodyCut(cause) if too_slow(cause.as_ref()) => {
            (StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid)
        }
        Error::BodyCut(_) => (bad, ErrorCode::BlobUploadInvalid),
        Error::DigestMismatch { .. } => (bad, ErrorCode::DigestInvalid),
        Error::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid),
        Error::ManifestInvalid(_) | Error::MediaTypeRefused { .. } => (bad, ErrorCode::ManifestInvalid),
        Error::ReferencesMissing(_) => (bad, ErrorCode::ManifestBlobUnknown),
        Error::PreconditionFailed { .. } => (StatusCode::PRECONDITION_FAILED, ErrorCode::Denied),
        Error::BlobInUse { .. } | Error::DeletesOff => {
            (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
        }
        Error::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unknown),
        Error::WritesStopped(_) | Error::Unavailable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TooManyRequests)
        }
        Error::Fault { .. } => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
    }
}

fn too_slow(cause: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(cause), |error| error.source()).any(|error| error.is::<BodyTooSlow>())
}

/// Says what was wrong, and with what.
fn body(code: ErrorCode, failure: &Failure) -> ErrorBody {
    if let Failure::Repo(Error::ReferencesMissing(digests)) = failure {
        let entry = |digest| ErrorEntry {
            code: code.as_str().to_owned(),
            message: "the manifest names a blob or manifest that is not in this repository".to_owned(),
            detail: json!({ "digest": digest }),
        };
        return ErrorBody {
            errors: digests.iter().map(entry).collect(),
        };
    }
    ErrorBody::new(code, message(failure), detail(failure))
}

fn message(failure: &Failure) -> String {
    match failure {
        Failure::Refusal(refusal) => refusal.to_string(),
        Failure::Denied(denied) => denied.why.to_string(),
        Failure::Login(denial) => denial.to_string(),
        Failure::Token(bad) => bad.to_string(),
        Failure::RangeUnmet { size } => format!("the blob has {size} bytes, none in this range"),
        Failure::Repo(error) => error.to_string(),
        Failure::NoRoom => "other requests' bodies take all the memory of limits.buffer_bytes".to_owned(),
        Failure::Panicked => String::new(),
    }
}

fn detail(failure: &Failure) -> Value {
    match failure {
        Failure::Denied(denied) => {
            let scopes: Vec<String> = denied.scopes.iter().map(ToString::to_string).collect();
            if scopes.is_empty() {
                Value::Null
            } else {
                json!({ "scope": scopes.join(" ") })
            }
        }
        Failure::RangeUnmet { size } => json!({ "size": size }),
        Failure::Repo(error) => repo_detail(error),
        Failure::Refusal(_) | Failure::Login(_) | Failure::Token(_) | Failure::NoRoom | Failure::Panicked => {
            Value::Null
        }
    }
}

fn repo_detail(error: &Error) -> Value {
    match error {
        Error::NameUnknown { name } => json!({ "name": name.as_str() }),
        Error::ManifestUnknown { name, reference } => {
            json!({ "name": name.as_str(), "reference": reference.to_string() })
        }
        Error::BlobUnknown { name, digest } => json!({ "name": name.as_str(), "digest": digest }),
        Error::ChunkOutOfOrder { first, offset, .. } => json!({ "first": first, "offset": offset }),
        Error::LengthMismatch { announced, received } => {
            json!({ "announced": announced, "received": received })
        }
        Error::DigestMismatch { expected, computed } => json!({ "expected": expected, "computed": computed }),
        Error::ManifestTooLarge { limit } => json!({ "limit": limit }),
        Error::MediaTypeRefused { media_type } => json!({ "mediaType": media_type.as_str() }),
        Error::PreconditionFailed { current } => json!({ "current": current }),
        Error::BlobInUse { manifest } => json!({ "manifest": manifest }),
        Error::TooManyUploads { limit } => json!({ "limit": limit }),
        Error::UploadUnknown
        | Error::UploadBusy
        | Error::BodyCut(_)
        | Error::ManifestInvalid(_)
        | Error::ReferencesMissing(_)
        | Error::DeletesOff
        | Error::Full(_)
        | Error::WritesStopped(_)
        | Error::Unavailable(_)
        | Error::Fault { .. } => Value::Null,
    }
}

/// Adds the headers that tell a client what to do next.
fn dress(answer: &mut Response, app: &App, head: &Parts, failure: &Failure) {
    match failure {
        Failure::Refusal(Refusal::MethodNotAllowed { allow }) => {
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        Failure::Denied(denied) => {
            retry_after(answer, &denied.why);
            if answer.status() == StatusCode::UNAUTHORIZED {
                answer::put(answer, header::WWW_AUTHENTICATE, &challenge(app, head, denied));
            }
        }
        Failure::Login(denial) => {
            retry_after(answer, denial);
            if answer.status() == StatusCode::UNAUTHORIZED {
                let realm = origin::base_url(&app.config, head);
                answer::put(
                    answer,
                    header::WWW_AUTHENTICATE,
                    &format!("Basic realm=\"{realm}/token\""),
                );
            }
        }
        Failure::RangeUnmet { size } => {
            answer::put(answer, header::CONTENT_RANGE, &format!("bytes */{size}"));
        }
        Failure::Repo(Error::ChunkOutOfOrder { name, id, offset, .. }) => {
            uploads::place(answer, name, id, *offset)
        }
        Failure::Refusal(_) | Failure::Token(_) | Failure::Repo(_) | Failure::NoRoom | Failure::Panicked => {}
    }
}

fn retry_after(answer: &mut Response, denial: &Denial) {
    if let Denial::Throttled { retry_after } = denial {
        answer.headers_mut().insert(
            header::RETRY_AFTER,
            HeaderValue::from(retry_after.as_secs().max(1)),
        );
    }
}

/// Where to get a token, and for what (Docker's token documents). One challenge: clients read it by a pattern.
fn challenge(app: &App, head: &Parts, denied: &Denied) -> String {
    let realm = origin::base_url(&app.config, head);
    let mut text = format!(
        "Bearer realm=\"{realm}/token\",service=\"{}\"",
        app.config.service
    );
    if !denied.scopes.is_empty() {
        let scopes: Vec<String> = denied.scopes.iter().map(ToString::to_string).collect();
        text.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
    }
    match denied.why {
        Denial::InvalidToken(_) => text.push_str(",error=\"invalid_token\""),
        Denial::InsufficientScope => text.push_str(",error=\"insufficient_scope\""),
        Denial::Unauthenticated
        | Denial::WrongCredentials
        | Denial::BadJwt { .. }
        | Denial::IssuerUnreachable(_)
        | Denial::Forbidden { .. }
        | Denial::AdminsOnly
        | Denial::Throttled { .. }
        | Denial::Metadata(_) => {}
    }
    text
}

fn log(head: &Parts, failure: &Failure, status: StatusCode, id: &str) {
    let cause: &dyn std::error::Error = match failure {
        Failure::Repo(error) => error,
        Failure::Denied(denied) => &denied.why,
        Failure::Login(denial) => denial,
        Failure::Refusal(refusal) => refusal,
        Failure::Token(bad) => bad,
        Failure::RangeUnmet { .. } | Failure::NoRoom | Failure::Panicked => {
            tracing::error!(id, method = %head.method, path = head.uri.path(), ?failure, "a request failed");
            return;
        }
    };
    let causes: Vec<String> = std::iter::successors(Some(cause), |error| error.source())
        .map(ToString::to_string)
        .collect();
    let cause = causes.join(": ");
    let status = status.as_u16();
    tracing::error!(id, method = %head.method, path = head.uri.path(), status, cause, "a request failed");
}
