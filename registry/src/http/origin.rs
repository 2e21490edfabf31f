//! Who asks, and by what name they reached us: from the connection, and from headers of proxies that are trusted.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use http::{HeaderMap, header};

use super::server::Peer;
use crate::config::Config;

/// Returns the client's address: the connection's, or behind trusted proxies the last one that is not of those.
pub(super) fn client(config: &Config, head: &Parts) -> IpAddr {
    let peer = peer(head);
    if config.trusted_proxies.is_empty() || !trusted(config, peer) {
        return peer;
    }
    let hops = head
        .headers
        .get_all("x-forwarded-for")
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let Ok(hop) = hop.parse::<IpAddr>() else { break };
        client = hop;
        if !trusted(config, hop) {
            break;
        }
    }
    client
}

/// Returns `scheme://host[:port]` as the client knows us.
pub(super) fn base_url(config: &Config, head: &Parts) -> String {
    if let Some(url) = &config.public_url {
        return url.clone();
    }
    let proxied = !config.trusted_proxies.is_empty() && trusted(config, peer(head));
    let forwarded = |name| {
        if proxied {
            first_word(&head.headers, name)
        } else {
            None
        }
    };
    let tls = head.extensions.get::<Peer>().is_some_and(|peer| peer.tls);
    let scheme = match forwarded("x-forwarded-proto").or_else(|| element(config, head, "proto")) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        Some(_) => "http",
        None if tls => "https",
        None => "http",
    };
    let own = head.uri.authority().map(http::uri::Authority::as_str);
    let own = own.or_else(|| {
        head.headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
    });
    let host = forwarded("x-forwarded-host")
        .or_else(|| element(config, head, "host"))
        .or(own);
    match host.filter(|host| is_host(host)) {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://{}", config.listen),
    }
}

/// Returns a parameter of the first element of `Forwarded` (RFC 7239).
fn element<'a>(config: &Config, head: &'a Parts, name: &str) -> Option<&'a str> {
    if config.trusted_proxies.is_empty() || !trusted(config, peer(head)) {
        return None;
    }
    let first = first_word(&head.headers, "forwarded")?;
    let pairs = first.split(';').filter_map(|pair| pair.trim().split_once('='));
    let value = pairs
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value);
    value.map(|value| value.trim_matches('"'))
}

fn first_word<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()?
        .split(',')
        .next()
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn peer(head: &Parts) -> IpAddr {
    head.extensions
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip())
}

fn trusted(config: &Config, address: IpAddr) -> bool {
    config
        .trusted_proxies
        .iter()
        .any(|network| network.contains(address))
}

/// Whether the text can stand in a quoted URL: what a `Host` header holds is the client's to choose.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
}
