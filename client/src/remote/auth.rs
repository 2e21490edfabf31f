//! Challenges and tokens: the only place where a login leaves the machine.
//!
//! The flows are those of the Docker registry token documents: GET with Basic, POST with a refresh token
//! or a password.

use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use reqwest::Url;
use serde::Deserialize;

use super::credentials::Login;
use super::error::{RemoteError, words_of};

/// What a registry asks for before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// The login itself, with each request.
    Basic,
    /// A token from a realm.
    Bearer {
        /// Where tokens are to be had.
        realm: Url,
        /// For whom they are.
        service: Option<String>,
        /// What the refused request would have needed.
        scope: Option<String>,
    },
}

/// A token and until when it may be used.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) until: Instant,
    pub(crate) refresh_token: Option<String>,
}

/// Who asks for a token and what for.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    /// The registry's own address.
    pub(crate) registry: &'a Url,
    pub(crate) login: Option<&'a Login>,
    pub(crate) scopes: &'a [String],
    /// A refresh token is wanted too: a login.
    pub(crate) offline: bool,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

const CLIENT: &str = "wharf";
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Reads the challenges of a 401; Bearer is preferred.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let of = |name: &str| {
                parameters(rest)
                    .into_iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value)
            };
            let Some(realm) = of("realm").and_then(|realm| Url::parse(&realm).ok()) else {
                continue;
            };
            return Some(Challenge::Bearer {
                realm,
                service: of("service"),
                scope: of("scope"),
            });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
    }
    found
}

/// The parameters of a challenge: `key="quoted \" value", key=token`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let mut value = String::new();
        match after.strip_prefix('"') {
            Some(quoted) => {
                let mut letters = quoted.chars();
                while let Some(letter) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' => value.extend(letters.next()),
                        other => value.push(other),
                    }
                }
                rest = letters.as_str();
            }
            None => {
                let (token, after) = after.split_once(',').unwrap_or((after, ""));
                value.push_str(token.trim());
                rest = after;
            }
        }
        found.push((key, value));
    }
    found
}

/// Whether a login for this registry may be sent to this realm: to the registry itself, never less safely
/// than the registry was reached; to another origin only when both speak TLS, so that nobody on the way
/// can have named it.
pub fn may_send(registry: &Url, realm: &Url) -> bool {
    same_origin(registry, realm) || (registry.scheme() == "https" && realm.scheme() == "https")
}

/// Whether two addresses are one origin: scheme, host and port.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Gets a token from a realm.
pub(crate) async fn fetch_token(
    client: &reqwest::Client,
    realm: &Url,
    service: Option<&str>,
    asking: &Asking<'_>,
) -> Result<Token, RemoteError> {
    if asking.login.is_some() && !may_send(asking.registry, realm) {
        return Err(RemoteError::ForeignRealm {
            host: asking.registry.authority().to_owned(),
            realm: realm.to_string(),
        });
    }
    if !matches!(realm.scheme(), "http" | "https") {
        return Err(not_a_registry(
            realm,
            format!("its realm {realm} is no web address"),
        ));
    }
    let request = match asking.login {
        Some(Login::Token { refresh_token, .. }) => by_post(
            client,
            realm,
            service,
            asking,
            &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)],
        ),
        login => by_get(client, realm, service, asking, login),
    };
    let (status, body) = send(request, realm).await?;
    if matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    ) && let Some(Login::Password { user, password }) = asking.login
    {
        // A server that only knows OAuth2.
        let grant = [
            ("grant_type", "password"),
            ("username", user.as_str()),
            ("password", password.as_str()),
        ];
        let (status, body) = send(by_post(client, realm, service, asking, &grant), realm).await?;
        return read_answer(realm, status, &body);
    }
    read_answer(realm, status, &body)
}

fn by_get(
    client: &reqwest::Client,
    realm: &Url,
    service: Option<&str>,
    asking: &Asking<'_>,
    login: Option<&Login>,
) -> reqwest::RequestBuilder {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in asking.scopes {
            query.append_pair("scope", scope);
        }
        if let Some(login) = login {
            query.append_pair("account", login.user());
        }
        query.append_pair("client_id", CLIENT);
        if asking.offline {
            query.append_pair("offline_token", "true");
        }
    }
    let request = client.get(url);
    match login {
        Some(Login::Password { user, password }) => request.basic_auth(user, Some(password)),
        _ => request,
    }
}

fn by_post(
    client: &reqwest::Client,
    realm: &Url,
    service: Option<&str>,
    asking: &Asking<'_>,
    grant: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let mut form = realm.clone();
    form.set_query(None);
    {
        let mut pairs = form.query_pairs_mut();
        for (key, value) in grant {
            pairs.append_pair(key, value);
        }
        if let Some(service) = service {
            pairs.append_pair("service", service);
        }
        pairs.append_pair("client_id", CLIENT);
        pairs.append_pair("scope", &asking.scopes.join(" "));
        if asking.offline {
            pairs.append_pair("access_type", "offline");
        }
    }
    client
        .post(realm.clone())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
}

/// Sends a request for a token. A redirect is refused: the login would go with it.
async fn send(request: reqwest::RequestBuilder, realm: &Url) -> Result<(StatusCode, Vec<u8>), RemoteError> {
    let unreachable = |source| RemoteError::Unreachable {
        url: realm.to_string(),
        source,
    };
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if status.is_redirection() {
        let to = response
            .headers()
            .get(header::LOCATION)
            .and_then(|to| to.to_str().ok())
            .unwrap_or("nowhere");
        return Err(RemoteError::Redirect {
            from: realm.to_string(),
            to: to.to_owned(),
            why: "a login is not sent on",
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(not_a_registry(realm, "its token is endless".to_owned()));
        }
    }
    Ok((status, body))
}

fn read_answer(realm: &Url, status: StatusCode, body: &[u8]) -> Result<Token, RemoteError> {
    if status == StatusCode::UNAUTHORIZED {
        return Err(RemoteError::Unauthorized {
            message: "unauthorized: incorrect username or password".to_owned(),
        });
    }
    if status == StatusCode::FORBIDDEN {
        return Err(RemoteError::Denied {
            message: words_of(status, body),
        });
    }
    if !status.is_success() {
        return Err(RemoteError::Status {
            method: "GET".to_owned(),
            url: realm.to_string(),
            status,
            message: words_of(status, body),
        });
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| not_a_registry(realm, format!("what should be a token is not: {error}")))?;
    let text = answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| not_a_registry(realm, "it answered without a token".to_owned()))?;
    // The documents' own default, and no longer than a day: a clock may stand still.
    let seconds = answer.expires_in.unwrap_or(60).clamp(60, 86_400);
    Ok(Token {
        text,
        until: Instant::now() + Duration::from_secs(seconds.saturating_sub(10)),
        refresh_token: answer.refresh_token.filter(|token| !token.is_empty()),
    })
}

fn not_a_registry(realm: &Url, problem: String) -> RemoteError {
    RemoteError::NotARegistry {
        host: realm.authority().to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_bearer_challenge_is_read_with_its_quotes_and_commas() {
        let challenge = challenge(&headers(&[
            "Basic realm=\"x\"",
            "Bearer realm=\"https://auth.example/token\",service=\"reg\", scope=\"repository:a:pull,push\"",
        ]))
        .unwrap();
        let Challenge::Bearer {
            realm,
            service,
            scope,
        } = challenge
        else {
            panic!("{challenge:?}")
        };
        assert_eq!(realm.as_str(), "https://auth.example/token");
        assert_eq!(service.as_deref(), Some("reg"));
        assert_eq!(scope.as_deref(), Some("repository:a:pull,push"));
        assert_eq!(
            super::challenge(&headers(&["Basic realm=\"x\""])),
            Some(Challenge::Basic)
        );
        assert_eq!(super::challenge(&headers(&["Bearer service=\"x\""])), None);
    }

    #[test]
    fn a_login_goes_to_another_origin_only_over_tls_on_both_sides() {
        let may = |a: &str, b: &str| may_send(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(may("https://r.example", "https://r.example/token"));
        assert!(may("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"));
        assert!(may("https://r.example", "https://auth.example/token"));
        assert!(!may("https://r.example", "http://r.example/token"));
        assert!(!may("http://127.0.0.1:5000", "http://127.0.0.1:6000/token"));
        assert!(!may("http://127.0.0.1:5000", "https://evil.example/token"));
    }
}
