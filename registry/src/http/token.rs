//! `/token`, as docker's token documents have it (GET) and as OAuth2 does (POST), and the public keys.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use thiserror::Error;
use wharf_protocol::scope::Scope;

use super::error::Failure;
use super::{answer, body, origin};
use crate::app::App;
use crate::auth::{Access, Credentials, Denial, Grants, Issued, TokenRequest};
use crate::operation::IssueToken;

/// The largest form.
const FORM_BYTES: usize = 64 << 10;

/// What is wrong with a request for a token, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadTokenRequest {
    /// The form is too large or broke off.
    #[error("the form could not be read, or is larger than {FORM_BYTES} bytes")]
    Form,
    /// The form lacks something.
    #[error("the form has no {0}")]
    Missing(&'static str),
    /// Another way to prove who one is.
    #[error("grant_type must be password or refresh_token")]
    GrantType,
    /// More scopes than allowed.
    #[error("{count} scopes in one token, more than the {limit} of limits.token_scopes")]
    TooManyScopes {
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
}

pub(super) async fn keys(app: &App) -> Response {
    answer::json(StatusCode::OK, &app.auth.tokens.key_set().await)
}

pub(super) async fn issue(
    app: &App,
    head: &Parts,
    issue: &IssueToken,
    body: Body,
) -> Result<Response, Failure> {
    if issue.form {
        by_form(app, head, body).await
    } else {
        by_query(app, head, &issue.query).await
    }
}

/// Docker's own way: who asks is in the `Authorization` header, or nobody.
async fn by_query(app: &App, head: &Parts, query: &str) -> Result<Response, Failure> {
    let parameters = || form_urlencoded::parse(query.as_bytes());
    let value = |name: &str| parameters().find(|(key, _)| key == name).map(|(_, value)| value);
    let scopes = scopes(
        app,
        parameters()
            .filter(|(key, _)| key == "scope")
            .map(|(_, value)| value),
    )?;
    let offline = value("offline_token").is_some_and(|value| value == "true");
    let client = value("client_id").unwrap_or_default().into_owned();
    let grants = caller(app, head).await.map_err(Failure::Login)?;
    let request = TokenRequest {
        scopes,
        offline,
        client,
    };
    let issued = app
        .auth
        .tokens
        .issue(&grants, &request)
        .await
        .map_err(Failure::Login)?;
    Ok(document(&issued, issued.refresh_token.as_deref(), false))
}

async fn caller(app: &App, head: &Parts) -> Result<Arc<Grants>, Denial> {
    match Credentials::parse(head.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)) {
        Credentials::None => app.auth.nobody().await,
        Credentials::Basic { name, password } => {
            app.auth
                .login(&name, &password, origin::client(&app.config, head))
                .await
        }
        Credentials::Bearer(_) | Credentials::Unreadable => Err(Denial::WrongCredentials),
    }
}

/// OAuth2's way: who asks is in the form.
async fn by_form(app: &App, head: &Parts, body: Body) -> Result<Response, Failure> {
    let whole = body::whole(body, FORM_BYTES, &app.buffers).await;
    let whole = whole.map_err(|unread| match unread {
        body::Unread::TooLarge | body::Unread::Cut(_) => BadTokenRequest::Form.into(),
        body::Unread::NoRoom => Failure::NoRoom,
    })?;
    let asked = form_urlencoded::parse(&whole.bytes)
        .filter(|(key, _)| key == "scope")
        .map(|(_, value)| value);
    let scopes = scopes(app, asked)?;
    let form: HashMap<Cow<'_, str>, Cow<'_, str>> = form_urlencoded::parse(&whole.bytes).collect();
    let value = |name: &'static str| {
        form.get(name)
            .map(AsRef::as_ref)
            .ok_or(BadTokenRequest::Missing(name))
    };
    let offline = form.get("access_type").is_some_and(|value| value == "offline");
    let client = form
        .get("client_id")
        .map(|client| client.clone().into_owned())
        .unwrap_or_default();
    let address = origin::client(&app.config, head);
    let (grants, kept) = match value("grant_type")? {
        "password" => {
            let login = app
                .auth
                .login(value("username")?, value("password")?, address)
                .await;
            (login.map_err(Failure::Login)?, None)
        }
        "refresh_token" => {
            let token = value("refresh_token")?;
            let grants = app.auth.refresh(token, address).await.map_err(Failure::Login)?;
            (grants, Some(token))
        }
        _ => return Err(BadTokenRequest::GrantType.into()),
    };
    let request = TokenRequest {
        scopes,
        offline: offline && kept.is_none(),
        client,
    };
    let issued = app
        .auth
        .tokens
        .issue(&grants, &request)
        .await
        .map_err(Failure::Login)?;
    // A client that refreshes goes on with what it has.
    Ok(document(&issued, kept.or(issued.refresh_token.as_deref()), true))
}

/// Reads scopes, repeated or separated by spaces. What is no scope grants nothing, and is no error.
fn scopes<'a>(app: &App, values: impl Iterator<Item = Cow<'a, str>>) -> Result<Vec<Scope>, BadTokenRequest> {
    let mut scopes = Vec::new();
    for value in values {
        scopes.extend(
            value
                .split_ascii_whitespace()
                .filter_map(|text| text.parse::<Scope>().ok()),
        );
    }
    let limit = app.config.limits.token_scopes;
    if scopes.len() > limit {
        return Err(BadTokenRequest::TooManyScopes {
            count: scopes.len(),
            limit,
        });
    }
    Ok(scopes)
}

fn document(issued: &Issued, refresh_token: Option<&str>, with_scope: bool) -> Response {
    let mut document = Map::new();
    document.insert("token".to_owned(), issued.token.as_str().into());
    document.insert("access_token".to_owned(), issued.token.as_str().into());
    document.insert("expires_in".to_owned(), issued.life.as_secs().into());
    if let Ok(time) = jiff::Timestamp::from_millisecond(issued.issued.as_millis()) {
        document.insert("issued_at".to_owned(), time.to_string().into());
    }
    if let Some(token) = refresh_token {
        document.insert("refresh_token".to_owned(), token.into());
    }
    if with_scope {
        document.insert("scope".to_owned(), scope_text(&issued.access).into());
        document.insert("token_type".to_owned(), "Bearer".into());
    }
    let mut answer = answer::json(StatusCode::OK, &Value::Object(document));
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn scope_text(access: &[Access]) -> String {
    let scopes: Vec<String> = access
        .iter()
        .map(|access| format!("{}:{}:{}", access.resource, access.name, access.actions.join(",")))
        .collect();
    scopes.join(" ")
}
