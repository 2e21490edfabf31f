//! Requests that the registry makes itself, to addresses that a document may name.
//!
//! Whoever writes such a document must not reach through us what only we can reach (server-side request forgery): a
//! host that the settings name may be anywhere, any other one only at a public address, after its name is resolved.
//! Redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;
use thiserror::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WHOLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest document.
const LARGEST_BYTES: usize = 1 << 20;

/// Why a document could not be had.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// The certificates to trust can't be used.
    #[error("the certificates in {}: {problem}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// TLS can't be set up.
    #[error("setting up TLS: {0}")]
    Tls(reqwest::Error),
    /// The address is not one that may be asked.
    #[error("{0} is at no public address, and the settings do not name it")]
    Private(String),
    /// The address is no URL, or of another scheme.
    #[error("{0:?} is no https URL")]
    Url(String),
    /// It was not answered.
    #[error("asking {url}: {problem}")]
    Unanswered {
        /// What was asked.
        url: Url,
        /// What happened.
        problem: String,
    },
    /// It was answered by something else than the document.
    #[error("{url} answers {what}")]
    Answer {
        /// What was asked.
        url: Url,
        /// With what.
        what: String,
    },
}

/// Fetches documents of one host that the settings name, and of public ones.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: Client,
    /// The host of the settings, as a URL holds it.
    host: String,
    /// Whether documents may come unencrypted: only if the settings' own address is so.
    plain: bool,
}

impl Fetcher {
    /// Makes a fetcher for an address of the settings, trusting the certificates of a file instead of the machine's.
    ///
    /// # Errors
    /// The certificates can't be used, or the machine has none.
    pub(crate) fn new(address: &Url, ca: Option<&Path>) -> Result<Self, FetchError> {
        let host = address.host_str().unwrap_or_default().to_owned();
        let guard = Guard { named: host.clone() };
        let mut client = Client::builder()
            .user_agent(concat!("wharf-registry/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(WHOLE_TIMEOUT)
            .dns_resolver(Arc::new(guard));
        if let Some(path) = ca {
            client = client.tls_certs_only(certificates(path)?);
        }
        Ok(Self {
            client: client.build().map_err(FetchError::Tls)?,
            host,
            plain: address.scheme() == "http",
        })
    }

    /// Fetches a JSON document.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(crate) async fn json<T: DeserializeOwned>(&self, address: &str) -> Result<T, FetchError> {
        let url = self.permitted(address)?;
        let unanswered = |error: &reqwest::Error| FetchError::Unanswered {
            url: url.clone(),
            problem: causes(error),
        };
        let mut answer = self
            .client
            .get(url.clone())
            .header("accept", "application/json")
            .send()
            .await
            .map_err(|error| unanswered(&error))?;
        let wrong = |what: String| FetchError::Answer {
            url: url.clone(),
            what,
        };
        if !answer.status().is_success() {
            return Err(wrong(answer.status().to_string()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| unanswered(&error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LARGEST_BYTES {
                return Err(wrong(format!("more than {LARGEST_BYTES} bytes")));
            }
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("something else than expected: {error}")))
    }

    /// Refuses an address that may not be asked, so far as it can be told before its name is resolved.
    fn permitted(&self, address: &str) -> Result<Url, FetchError> {
        let url: Url = address
            .parse()
            .map_err(|_not| FetchError::Url(address.to_owned()))?;
        if url.scheme() != "https" && !(self.plain && url.scheme() == "http") {
            return Err(FetchError::Url(address.to_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        match literal.parse::<IpAddr>() {
            Ok(address) if host != self.host && !is_public(address) => {
                Err(FetchError::Private(host.to_owned()))
            }
            _ => Ok(url),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, FetchError> {
    let unusable = |problem: String| FetchError::Certificates {
        path: path.to_owned(),
        problem,
    };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("there are none, give a PEM file".to_owned()));
    }
    Ok(certificates)
}

fn causes(error: &reqwest::Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes: Vec<String> = std::iter::successors(first.source().or(Some(first)), |error| error.source())
        .map(ToString::to_string)
        .collect();
    causes.join(": ")
}

/// Resolves names, and leaves out the addresses of hosts that the settings don't name and that are not public.
#[derive(Debug)]
struct Guard {
    named: String,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let named = name.as_str().eq_ignore_ascii_case(&self.named);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| named || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(FetchError::Private(name.as_str().to_owned()).into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Returns whether an address is one of the internet at large (IANA's registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    );
    !special
}

/// Global unicast is 2000::/3; of it, Teredo, documentation and 6to4 lead elsewhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let special = matches!((first, second), (0x2001, 0 | 0xdb8) | (0x2002 | 0x3fff, _));
    first >> 13 == 1 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2002:a00:1::",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn only_the_host_of_the_settings_may_be_at_a_private_address() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let fetcher = |address: &str| Fetcher::new(&address.parse().unwrap(), None).unwrap();
        let plain = fetcher("http://127.0.0.1:1/");
        assert!(plain.permitted("http://127.0.0.1:2/keys").is_ok());
        for address in ["http://127.0.0.2/", "http://[::1]/", "https://169.254.169.254/x"] {
            let named = plain.permitted(address);
            assert!(
                matches!(named, Err(FetchError::Private(_))),
                "{address}: {named:?}"
            );
        }
        let secure = fetcher("https://issuer.example/");
        for address in ["http://issuer.example/keys", "file:///etc/passwd", "x"] {
            assert!(
                matches!(secure.permitted(address), Err(FetchError::Url(_))),
                "{address}"
            );
        }
        // The name is resolved, and its address is not public.
        let refused = secure.json::<serde_json::Value>("https://localhost:1/").await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("localhost is at no public address"), "{text}");
    }
}
