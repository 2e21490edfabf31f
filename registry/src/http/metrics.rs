//! `/metrics`, and what is counted where a request becomes an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::answer;
use super::error::Failure;
use crate::app::App;
use crate::auth::Denial;
use crate::metrics::{self, BadLogin, Format, Metrics, Present, UploadEvent};
use crate::operation::Kind;

/// Where the page is, for admins and on an address of its own.
pub(super) const PATH: &str = "/metrics";

/// Returns what answers on an address for the page alone: whoever can reach it may read the page and nothing else.
pub fn router(metrics: Arc<Metrics>) -> Router {
    Router::new().fallback(take).with_state(metrics)
}

async fn take(State(metrics): State<Arc<Metrics>>, request: Request<Body>) -> Response {
    if request.uri().path() != PATH {
        return answer::empty(StatusCode::NOT_FOUND);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        answer::put(&mut refused, header::ALLOW, "GET, HEAD");
        return refused;
    }
    page(&metrics, request.headers())
}

/// Answers with the page, as the client reads it.
pub(super) fn page(metrics: &Metrics, headers: &HeaderMap) -> Response {
    let open = headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept
            .to_str()
            .is_ok_and(|text| text.contains("application/openmetrics-text"))
    });
    let format = if open { Format::OpenMetrics } else { Format::Text };
    match metrics.page(format) {
        Ok(page) => {
            let content_type = HeaderValue::from_static(format.content_type());
            answer::content(StatusCode::OK, content_type, page)
        }
        Err(std::fmt::Error) => answer::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Counts a request that brings bytes of an upload, for as long as what this returns lives.
pub(super) fn bringing(app: &App, kind: Kind) -> Option<Present> {
    let brings = matches!(kind, Kind::AppendUpload | Kind::FinishUpload | Kind::PushBlob);
    brings.then(|| Present::new(&app.metrics.uploads_in_progress))
}

/// Counts an answer. `kind` is nothing where the request was no operation.
pub(super) fn answered(app: &App, kind: Option<Kind>, head: &Parts, status: StatusCode, took: Duration) {
    let metrics = &app.metrics;
    metrics.requests.inc(metrics::Request {
        kind,
        method: metrics::Method::from(&head.method),
        status: metrics::Status::from(status),
    });
    let Some(kind) = kind else { return };
    metrics.durations.observe(kind, took);
    if !status.is_success() {
        return;
    }
    let uploads = &metrics.uploads;
    match kind {
        Kind::IssueToken => {
            metrics.tokens_issued.inc();
        }
        Kind::StartUpload => uploads.inc(UploadEvent::Started),
        // A blob that could not be mounted is to be pushed: a session began.
        Kind::MountBlob if status == StatusCode::ACCEPTED => uploads.inc(UploadEvent::Started),
        Kind::PushBlob => {
            uploads.inc(UploadEvent::Started);
            uploads.inc(UploadEvent::Finished);
        }
        Kind::FinishUpload => uploads.inc(UploadEvent::Finished),
        Kind::CancelUpload => uploads.inc(UploadEvent::Cancelled),
        _ => {}
    }
}

/// Counts what is behind a failure.
pub(super) fn failed(app: &App, kind: Option<Kind>, failure: &Failure) {
    let metrics = &app.metrics;
    match failure {
        Failure::Denied(denied) => refused(metrics, &denied.why),
        Failure::Login(denial) => refused(metrics, denial),
        Failure::Repo(error) => {
            let brings = matches!(
                kind,
                Some(Kind::AppendUpload | Kind::FinishUpload | Kind::PushBlob)
            );
            if brings {
                metrics.uploads.inc(UploadEvent::Failed);
            }
            metrics.database_failed(error);
        }
        Failure::Refusal(_)
        | Failure::Token(_)
        | Failure::RangeUnmet { .. }
        | Failure::NoRoom
        | Failure::Panicked => {}
    }
}

fn refused(metrics: &Metrics, denial: &Denial) {
    match denial {
        Denial::WrongCredentials | Denial::BadJwt { .. } => metrics.bad_logins.inc(BadLogin::Credentials),
        Denial::InvalidToken(_) => metrics.bad_logins.inc(BadLogin::Token),
        Denial::Throttled { .. } => metrics.bad_logins.inc(BadLogin::Throttled),
        Denial::Metadata(error) => metrics.database_failed(error),
        Denial::Unauthenticated
        | Denial::IssuerUnreachable(_)
        | Denial::InsufficientScope
        | Denial::AdminsOnly
        | Denial::Forbidden { .. } => {}
    }
}
