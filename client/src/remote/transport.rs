//! Sending a request to a registry: TLS or not, tokens, redirects, retries.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{Response, Url};

use super::answer::{refusal, shown};
use super::auth::{self, Asking, Challenge, Token};
use super::clients::Clients;
use super::credentials::Login;
use super::error::RemoteError;
use super::tls::{hangs_up_on_tls, is_loopback, speaks_tls};
use crate::config::{DOCKER_HUB, Settings};
use crate::error::Error;

/// How often a request is tried.
const TRIES: u32 = 5;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 8;
/// The longest that a registry may make us wait.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// One registry, and what was learnt of it.
#[derive(Debug)]
pub struct Registry {
    host: String,
    login: Option<Login>,
    insecure: bool,
    clients: Clients,
    learnt: Mutex<Learnt>,
}

/// What the registry's answers taught.
#[derive(Debug, Default)]
struct Learnt {
    base: Option<Url>,
    challenge: Option<Challenge>,
    tokens: HashMap<Vec<String>, Token>,
}

/// A body that can be sent again.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    Bytes(Bytes),
    /// The rest of a file from an offset.
    File {
        path: PathBuf,
        offset: u64,
        size_bytes: u64,
    },
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// A path with its query, or a whole address that the registry gave.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// What a token must allow.
    pub(crate) scopes: Vec<String>,
}

impl Request {
    pub(crate) fn new(method: Method, target: impl Into<String>, scopes: &[String]) -> Self {
        Self {
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Body::Empty,
            scopes: scopes.to_vec(),
        }
    }

    /// Adds a header; a value that cannot be one is left out.
    pub(crate) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl Registry {
    /// Prepares to talk to a registry; nothing is sent yet.
    ///
    /// # Errors
    /// A certificate authority that cannot be read.
    pub fn new(host: &str, login: Option<Login>, settings: &Settings) -> Result<Self, Error> {
        let insecure = settings.registry(host).insecure.unwrap_or(false);
        let address = if host == DOCKER_HUB {
            "registry-1.docker.io"
        } else {
            host
        };
        Ok(Self {
            host: address.to_owned(),
            login,
            insecure,
            clients: Clients::new(host, address, insecure)?,
            learnt: Mutex::default(),
        })
    }

    /// The registry's host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Sends a request and returns the answer, whatever its status, after following redirects, answering
    /// challenges and trying again what is worth it.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, RemoteError> {
        let mut answered_challenge = false;
        let mut wait = Duration::from_millis(300);
        for attempt in 1..=TRIES {
            let result = self.send_once(&request).await;
            let response = match result {
                Ok(response) => response,
                Err(error) if attempt < TRIES && worth_retrying(&error) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && !answered_challenge && self.owns(response.url()) {
                answered_challenge = true;
                if self.learn_challenge(&response, &request.scopes) {
                    continue;
                }
            }
            if attempt < TRIES && is_busy(status) {
                tokio::time::sleep(retry_after(response.headers()).unwrap_or(wait).min(MAX_WAIT)).await;
                wait *= 2;
                continue;
            }
            return Ok(response);
        }
        Err(RemoteError::NotARegistry {
            host: self.host.clone(),
            problem: format!("it answered {TRIES} times that it is busy"),
        })
    }

    /// Sends a request; any status but a success is an error with the registry's own words.
    pub(crate) async fn send_ok(&self, request: Request) -> Result<Response, RemoteError> {
        let method = request.method.clone();
        let response = self.send(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(&method, response).await)
        }
    }

    /// Forgets what is known of tokens and asks the registry anew; returns a refresh token where it gave
    /// one: a login.
    ///
    /// # Errors
    /// [`RemoteError::Unauthorized`] when the login is wrong.
    pub async fn log_in(&self) -> Result<Option<String>, RemoteError> {
        let ping = || Request::new(Method::GET, "/v2/", &[]);
        let response = self.send_once(&ping()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return if response.status().is_success() {
                Ok(None)
            } else {
                Err(refusal(&Method::GET, response).await)
            };
        }
        let found = auth::challenge(response.headers()).ok_or_else(|| RemoteError::NotARegistry {
            host: self.host.clone(),
            problem: "it asks for a login without saying how".to_owned(),
        })?;
        let mut refresh_token = None;
        if let Challenge::Bearer { realm, service, .. } = &found {
            let registry = self.base();
            let asking = Asking {
                registry: &registry,
                login: self.login.as_ref(),
                scopes: &[],
                offline: true,
            };
            let token =
                auth::fetch_token(self.clients.of(realm)?, realm, service.as_deref(), &asking).await?;
            refresh_token = token.refresh_token.clone();
            self.learnt().tokens.insert(Vec::new(), token);
        }
        self.learnt().challenge = Some(found);
        let response = self.send_once(&ping()).await?;
        match response.status() {
            status if status.is_success() => Ok(refresh_token),
            StatusCode::UNAUTHORIZED => Err(RemoteError::Unauthorized {
                message: "unauthorized: incorrect username or password".to_owned(),
            }),
            _ => Err(refusal(&Method::GET, response).await),
        }
    }

    fn learnt(&self) -> std::sync::MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry's own address, as far as known.
    fn base(&self) -> Url {
        if let Some(base) = self.learnt().base.clone() {
            return base;
        }
        self.address("https")
    }

    fn address(&self, scheme: &str) -> Url {
        #[expect(
            clippy::expect_used,
            reason = "a host that was parsed as one makes an address"
        )]
        Url::parse(&format!("{scheme}://{}/", self.host)).expect("a scheme and a host are an address")
    }

    /// An address to encode a query with.
    pub(crate) fn query_address(&self) -> Url {
        self.base()
    }

    fn owns(&self, url: &Url) -> bool {
        auth::same_origin(&self.base(), url)
    }

    /// Sends a request once, following redirects; falls back to plain HTTP where that is allowed and the
    /// port does not speak TLS.
    async fn send_once(&self, request: &Request) -> Result<Response, RemoteError> {
        if self.learnt().base.is_some() {
            return self.follow(request).await;
        }
        if is_loopback(&self.host) && hangs_up_on_tls(&self.host).await {
            self.learnt().base = Some(self.address("http"));
            return self.follow(request).await;
        }
        let result = self.follow(request).await;
        match result {
            Err(RemoteError::Unreachable { source, .. }) if self.insecure && !speaks_tls(&source) => {
                self.learnt().base = Some(self.address("http"));
                self.follow(request).await
            }
            Ok(response) => {
                self.learnt().base.get_or_insert_with(|| self.address("https"));
                Ok(response)
            }
            Err(error) => Err(error),
        }
    }

    async fn follow(&self, request: &Request) -> Result<Response, RemoteError> {
        let base = self.base();
        let mut url = base
            .join(&request.target)
            .map_err(|error| RemoteError::NotARegistry {
                host: self.host.clone(),
                problem: format!("it gave an address that is none ({error})"),
            })?;
        if base.scheme() == "https" && url.scheme() != "https" {
            return Err(redirect(&base, &url, "it leaves TLS"));
        }
        for _ in 0..MAX_REDIRECTS {
            let mut headers = request.headers.clone();
            // An Authorization header goes to the registry's own origin and to no other.
            if auth::same_origin(&base, &url)
                && let Some(value) = self.authorization(&request.scopes).await?
            {
                headers.insert(header::AUTHORIZATION, value);
            }
            let sent = self
                .clients
                .of(&url)?
                .request(request.method.clone(), url.clone())
                .headers(headers);
            let response = with_body(sent, &request.body)
                .await?
                .send()
                .await
                .map_err(|source| RemoteError::Unreachable {
                    url: shown(&url),
                    source,
                })?;
            let follows = matches!(request.method, Method::GET | Method::HEAD)
                && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !follows {
                return Ok(response);
            }
            let location = response
                .headers()
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok());
            let next = location
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| RemoteError::NotARegistry {
                    host: self.host.clone(),
                    problem: "it sends the request on to nowhere".to_owned(),
                })?;
            if !matches!(next.scheme(), "http" | "https") {
                return Err(redirect(&url, &next, "it is no web address"));
            }
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(redirect(&url, &next, "it leaves TLS"));
            }
            url = next;
        }
        Err(redirect(&base, &url, "there were too many before"))
    }

    /// The header for a request with these scopes, as far as a challenge is known.
    async fn authorization(&self, scopes: &[String]) -> Result<Option<http::HeaderValue>, RemoteError> {
        let (challenge, cached) = {
            let learnt = self.learnt();
            let cached = learnt
                .tokens
                .get(scopes)
                .filter(|token| token.until > Instant::now());
            (learnt.challenge.clone(), cached.map(|token| token.text.clone()))
        };
        let text = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => match &self.login {
                Some(Login::Password { user, password }) => {
                    use base64::Engine;
                    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                    format!("Basic {pair}")
                }
                _ => return Ok(None),
            },
            Some(Challenge::Bearer { realm, service, .. }) => match cached {
                Some(token) => format!("Bearer {token}"),
                None => {
                    let registry = self.base();
                    let asking = Asking {
                        registry: &registry,
                        login: self.login.as_ref(),
                        scopes,
                        offline: false,
                    };
                    let token =
                        auth::fetch_token(self.clients.of(&realm)?, &realm, service.as_deref(), &asking)
                            .await?;
                    let text = format!("Bearer {}", token.text);
                    self.learnt().tokens.insert(scopes.to_vec(), token);
                    text
                }
            },
        };
        let mut value = http::HeaderValue::from_str(&text).map_err(|error| RemoteError::NotARegistry {
            host: self.host.clone(),
            problem: format!("its token cannot be sent back ({error})"),
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Takes up the challenge of a 401; returns whether trying again makes sense.
    fn learn_challenge(&self, response: &Response, scopes: &[String]) -> bool {
        let Some(found) = auth::challenge(response.headers()) else {
            return false;
        };
        if found == Challenge::Basic && self.login.is_none() {
            return false;
        }
        let mut learnt = self.learnt();
        let had_token = learnt.tokens.remove(scopes).is_some();
        let again = learnt.challenge.as_ref() != Some(&found) || had_token;
        learnt.challenge = Some(found);
        again
    }
}

fn redirect(from: &Url, to: &Url, why: &'static str) -> RemoteError {
    RemoteError::Redirect {
        from: shown(from),
        to: shown(to),
        why,
    }
}

async fn with_body(
    request: reqwest::RequestBuilder,
    body: &Body,
) -> Result<reqwest::RequestBuilder, RemoteError> {
    match body {
        Body::Empty => Ok(request),
        Body::Bytes(bytes) => Ok(request.body(bytes.clone())),
        Body::File {
            path,
            offset,
            size_bytes,
        } => {
            let stream = super::uploads::file_stream(path, *offset).await?;
            Ok(request
                .header(header::CONTENT_LENGTH, size_bytes.saturating_sub(*offset))
                .body(reqwest::Body::wrap_stream(stream)))
        }
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn worth_retrying(error: &RemoteError) -> bool {
    match error {
        RemoteError::Unreachable { source, .. } => !source.is_connect() && !source.is_builder(),
        _ => false,
    }
}

/// `Retry-After` in seconds; a date is not understood and the usual wait holds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}
