//! The making of answers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use wharf_protocol::digest::Digest;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Makes an answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Makes an answer of some content.
pub(super) fn content(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<bytes::Bytes>,
) -> Response {
    let body = body.into();
    let length = body.len();
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

/// Makes an answer of a JSON document.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    // Only maps with keys that are no text fail, and there are none.
    let body = serde_json::to_vec(document).unwrap_or_default();
    content(status, HeaderValue::from_static("application/json"), body)
}

/// Adds a header. The value is text of our own making, or was parsed; what no header can hold is left out.
pub(super) fn put(answer: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Adds the digest of the content, which is also its entity tag.
pub(super) fn put_digest(answer: &mut Response, digest: &Digest) {
    put(answer, CONTENT_DIGEST, digest.as_str());
    put(answer, header::ETAG, &format!("\"{digest}\""));
}
