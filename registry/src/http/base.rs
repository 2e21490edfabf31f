//! `/v2/` and what extends it.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::answer;

pub(super) fn base() -> Response {
    answer::json(StatusCode::OK, &json!({}))
}

/// Lists the extensions (distribution-spec, "Extensions").
pub(super) fn discover() -> Response {
    let discover = json!({
        "name": "_oci",
        "description": "lists the extensions",
        "url": "https://github.com/opencontainers/distribution-spec/tree/main/extensions",
        "endpoints": ["_oci/ext/discover"],
    });
    answer::json(StatusCode::OK, &json!({ "extensions": [discover] }))
}
