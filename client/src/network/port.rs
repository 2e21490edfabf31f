//! What `-p` says, and what came of it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// One published port as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRequest {
    /// The port inside the container.
    pub container_port: u16,
    /// The host's address; none means every address, IPv6 ones too.
    #[serde(default)]
    pub host_ip: Option<IpAddr>,
    /// The host's port; none means any that is free.
    #[serde(default)]
    pub host_port: Option<u16>,
}

/// One published port as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The address and the port on the host.
    pub host: SocketAddr,
    /// The port inside the container.
    pub container_port: u16,
}

/// A `-p` value: one request, or several when it names ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(pub Vec<PublishRequest>);

/// A `-p` value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The container's port is missing or not a port.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// The host's port is not a port.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// The host's address is not an address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// Ranges of different length.
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
    /// No port at all.
    #[error("no port specified: {0}<empty>")]
    Empty(String),
    /// Something else than TCP.
    #[error("publishing {0} ports is not supported yet: only tcp is")]
    Protocol(String),
}

impl FromStr for Binding {
    type Err = PortError;

    /// Reads `[[IP:][HOST_PORT]:]CONTAINER_PORT[/tcp]`; ports may be ranges; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !protocol.eq_ignore_ascii_case("tcp") {
            return Err(PortError::Protocol(protocol.to_owned()));
        }
        let (host, container) = rest.rsplit_once(':').unwrap_or(("", rest));
        let (address, host_port) = match host.rsplit_once(':') {
            Some((address, port)) => (address, port),
            None => ("", host),
        };
        if container.is_empty() {
            return Err(PortError::Empty(text.to_owned()));
        }
        let host_ip = match address.trim_start_matches('[').trim_end_matches(']') {
            "" => None,
            address => Some(
                address
                    .parse()
                    .map_err(|_invalid: std::net::AddrParseError| PortError::Address(address.to_owned()))?,
            ),
        };
        let container_ports =
            range(container).ok_or_else(|| PortError::ContainerPort(container.to_owned()))?;
        let host_ports = match host_port {
            "" => None,
            port => Some(range(port).ok_or_else(|| PortError::HostPort(port.to_owned()))?),
        };
        if host_ports
            .as_ref()
            .is_some_and(|host| host.len() != container_ports.len())
        {
            return Err(PortError::Ranges(container.to_owned(), host_port.to_owned()));
        }
        let mut host_ports = host_ports.into_iter().flatten();
        let requests = container_ports.map(|container_port| PublishRequest {
            container_port,
            host_ip,
            // docker: port 0 on the host is "any".
            host_port: host_ports.next().filter(|port| *port != 0),
        });
        Ok(Self(requests.collect()))
    }
}

fn range(text: &str) -> Option<impl ExactSizeIterator<Item = u16> + use<>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    Some((0..length).map(move |offset| first + offset))
}

impl fmt::Display for Published {
    /// Writes docker's `0.0.0.0:8080->80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/tcp", self.host, self.container_port)
    }
}

impl PublishRequest {
    /// The host's addresses that the request asks for; the last may be missing on this machine.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        match self.host_ip {
            Some(address) => vec![address],
            None => vec![
                Ipv4Addr::UNSPECIFIED.into(),
                std::net::Ipv6Addr::UNSPECIFIED.into(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host_ip: Option<&str>, host_port: Option<u16>, container_port: u16) -> PublishRequest {
        PublishRequest {
            container_port,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
        }
    }

    #[test]
    fn every_form_of_a_binding_is_read() {
        for (text, expected) in [
            ("80", request(None, None, 80)),
            ("8080:80", request(None, Some(8080), 80)),
            ("8080:80/tcp", request(None, Some(8080), 80)),
            ("0:80", request(None, None, 80)),
            ("127.0.0.1:8080:80", request(Some("127.0.0.1"), Some(8080), 80)),
            ("127.0.0.1::80", request(Some("127.0.0.1"), None, 80)),
            ("[::1]:8080:80", request(Some("::1"), Some(8080), 80)),
        ] {
            assert_eq!(text.parse::<Binding>().unwrap().0, [expected], "{text}");
        }
        let two = "8000-8001:80-81".parse::<Binding>().unwrap();
        assert_eq!(
            two.0,
            [request(None, Some(8000), 80), request(None, Some(8001), 81)]
        );
    }

    #[test]
    fn a_binding_that_cannot_be_is_refused() {
        for text in [
            "",
            ":",
            "x",
            "80:x",
            "70000",
            "1.2.3:80:80",
            "8000-8002:80-81",
            "81-80",
            "53:53/udp",
        ] {
            assert!(text.parse::<Binding>().is_err(), "{text}");
        }
    }
}
