//! The wire: connections, requests parsed into operations, answers.
//!
//! One handler takes every request: [`operation::parse`] → `auth` → the file of the operation's resource, which calls
//! `repo` and turns what it returns into an answer. What fails, wherever it fails, becomes an answer in [`error`] and
//! nowhere else.

mod answer;
mod base;
mod blobs;
mod body;
mod buffers;
mod catalog;
pub mod error;
mod health;
mod listing;
mod manifests;
pub mod metrics;
mod namespace;
pub mod operation;
mod origin;
mod referrers;
mod search;
pub mod server;
mod tags;
mod token;
mod uploads;
mod warning;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Version, header};
use tracing::Instrument as _;

pub use self::buffers::Buffers;
use self::error::Failure;
use crate::app::App;
use crate::auth::{Allowed, Credentials};
use crate::operation::Kind;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns what answers every request.
pub fn router(app: Arc<App>) -> Router {
    Router::new().fallback(take).with_state(app)
}

/// Answers a request.
async fn take(State(app): State<Arc<App>>, request: Request) -> Response {
    let id = app.request_id();
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let mut asked = Asked::default();
    let outcome = AssertUnwindSafe(carry_out(&app, &head, body, &id, &mut asked))
        .catch_unwind()
        .await
        .unwrap_or(Err(Failure::Panicked));
    let mut answer = outcome.unwrap_or_else(|failure| {
        metrics::failed(&app, asked.kind, &failure);
        error::answer(&app, &head, &failure, text(&id))
    });
    let headers = answer.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    if let Ok(id) = HeaderValue::from_bytes(&id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(host) = asked.namespace {
        namespace::dress(&mut answer, &host);
    }
    // Whoever keeps the connection open must come back on another one, which leads to another replica.
    if app.is_stopping() && head.version == Version::HTTP_11 {
        answer
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let took = started.elapsed();
    metrics::answered(&app, asked.kind, &head, answer.status(), took);
    if app.config.access_log {
        log(&app, &head, &answer, text(&id), took);
    }
    answer
}

/// What a request turned out to ask for, however it ends.
#[derive(Debug, Default)]
struct Asked {
    /// Which operation, if it is one.
    kind: Option<Kind>,
    /// The mirrored registry whose content it asks for.
    namespace: Option<String>,
}

/// Does what the request asks for, and tells what that is as soon as it is known.
async fn carry_out(
    app: &Arc<App>,
    head: &Parts,
    body: Body,
    id: &[u8; 16],
    asked: &mut Asked,
) -> Result<Response, Failure> {
    let mut operation = operation::parse(&head.method, &head.uri, &head.headers, app.parse_limits)?;
    let kind = *asked.kind.insert(operation.kind());
    asked.namespace = namespace::apply(&app.config.namespaces, head.uri.query(), &mut operation);
    let credentials = Credentials::parse(head.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
    let client = origin::client(&app.config, head);
    let allowed = app.auth.authorize(credentials, client, operation).await?.split();
    // The one that is asked for most does without a span: making one costs as much as answering from memory.
    if let Allowed::ReadManifest(read) = &allowed {
        return manifests::read(app, read).await;
    }
    let _bringing = metrics::bringing(app, kind);
    let span = tracing::info_span!("request", id = text(id), method = %head.method, path = head.uri.path());
    dispatch(app, head, body, allowed).instrument(span).await
}

/// Hands an allowed operation to its resource.
async fn dispatch(app: &Arc<App>, head: &Parts, body: Body, allowed: Allowed) -> Result<Response, Failure> {
    match allowed {
        Allowed::Base(_) => Ok(base::base()),
        Allowed::Discover(_) => Ok(base::discover()),
        Allowed::ListCatalog(list) => catalog::list(app, list).await,
        Allowed::ListTags(list) => tags::list(app, list).await,
        Allowed::ListReferrers(list) => referrers::list(app, &list).await,
        Allowed::ReadManifest(read) => manifests::read(app, &read).await,
        Allowed::WriteManifest(write) => manifests::write(app, head, write, body).await,
        Allowed::DeleteManifest(delete) => manifests::delete(app, delete).await,
        Allowed::ReadBlob(read) => blobs::read(app, head, &read).await,
        Allowed::DeleteBlob(delete) => blobs::delete(app, delete).await,
        Allowed::StartUpload(start) => uploads::start(app, start).await,
        Allowed::PushBlob(push) => uploads::push(app, push, body).await,
        Allowed::MountBlob(mount) => uploads::mount(app, mount).await,
        Allowed::ReadUpload(read) => uploads::read(app, &read).await,
        Allowed::AppendUpload(append) => uploads::append(app, append, body).await,
        Allowed::FinishUpload(finish) => uploads::finish(app, finish, body).await,
        Allowed::CancelUpload(cancel) => uploads::cancel(app, cancel).await,
        Allowed::SearchPing(_) => Ok(search::ping()),
        Allowed::Search(search) => search::search(app, &search).await,
        Allowed::IssueToken(issue) => token::issue(app, head, issue.operation(), body).await,
        Allowed::ReadKeys(_) => Ok(token::keys(app).await),
        Allowed::Health(_) => Ok(health::alive()),
        Allowed::Ready(_) => health::ready(app).await,
        Allowed::Metrics(_) => Ok(metrics::page(&app.metrics, &head.headers)),
    }
}

fn log(app: &App, head: &Parts, answer: &Response, id: &str, took: Duration) {
    let length = answer
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    tracing::info!(
        id,
        client = %origin::client(&app.config, head),
        method = %head.method,
        path = head.uri.path(),
        status = answer.status().as_u16(),
        bytes = length.unwrap_or("-"),
        ms = took.as_millis(),
        "answered",
    );
}

fn text(id: &[u8; 16]) -> &str {
    // Hexadecimal digits are text.
    std::str::from_utf8(id).unwrap_or_default()
}
