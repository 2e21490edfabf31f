//! Probes.

use axum::response::Response;
use http::{HeaderValue, StatusCode};

use super::answer;
use super::error::Failure;
use crate::app::App;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The process answers.
pub(super) fn alive() -> Response {
    answer::content(StatusCode::OK, PLAIN, "ok\n")
}

/// Database and storage answer, and the server goes on.
pub(super) async fn ready(app: &App) -> Result<Response, Failure> {
    if app.is_stopping() {
        return Ok(answer::content(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            "stopping\n",
        ));
    }
    app.repo.ready().await?;
    Ok(answer::content(StatusCode::OK, PLAIN, "ready\n"))
}
