//! The HTTP clients of one registry: one for plain HTTP, one that knows whom to believe over TLS. Each is made
//! when it is first needed, since reading the machine's certificates costs more than asking a registry
//! something.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Url};

use super::tls;
use crate::error::{Error, Result};

/// The clients of one registry.
#[derive(Debug)]
pub(super) struct Clients {
    authorities: Vec<Certificate>,
    insecure: bool,
    proxied: bool,
    plain: OnceLock<Client>,
    tls: OnceLock<Client>,
}

impl Clients {
    /// Prepares the clients for a host.
    pub(super) fn new(host: &str, address: &str, insecure: bool) -> Result<Self> {
        Ok(Self {
            authorities: tls::own_authorities(host)?,
            insecure,
            proxied: !tls::is_loopback(address),
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        })
    }

    /// The client for an address.
    pub(super) fn of(&self, url: &Url) -> Result<&Client> {
        let plain = url.scheme() == "http";
        let kept = if plain { &self.plain } else { &self.tls };
        if let Some(client) = kept.get() {
            return Ok(client);
        }
        let made = if plain {
            self.builder().tls_certs_only([]).build()
        } else {
            self.over_tls()
        };
        let client = made.map_err(|error| Error::io("prepare TLS", error))?;
        Ok(kept.get_or_init(|| client))
    }

    /// A client that believes the machine's authorities and the host's own. A machine that has none
    /// still speaks to registries that need none.
    fn over_tls(&self) -> reqwest::Result<Client> {
        let builder = || self.builder().tls_danger_accept_invalid_certs(self.insecure);
        let both = builder().tls_certs_merge(self.authorities.clone()).build();
        both.or_else(|_| builder().tls_certs_only(self.authorities.clone()).build())
    }

    fn builder(&self) -> ClientBuilder {
        let builder = Client::builder()
            .user_agent(format!("wharf/{}", crate::VERSION))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(Duration::from_secs(60));
        if self.proxied { builder } else { builder.no_proxy() }
    }
}
