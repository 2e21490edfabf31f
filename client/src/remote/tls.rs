//! TLS or not: which hosts may be spoken to without it, when, and whose certificates are believed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind};

/// Whether a host can only be this machine, so that plain HTTP shows nothing to anybody else.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether a connection failed for any other reason than that the port does not speak TLS: nobody
/// listens, or TLS was spoken and a certificate was wrong.
pub(super) fn speaks_tls(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return !matches!(tls, rustls::Error::InvalidMessage(_));
        }
        cause = match error.downcast_ref::<std::io::Error>() {
            // The port took our greeting and hung up.
            Some(io) if matches!(io.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return false;
            }
            // An I/O error that wraps another names that one's cause as its own.
            Some(io) => match io.get_ref() {
                Some(inner) => Some(inner),
                None => None,
            },
            None => error.source(),
        };
    }
    true
}

/// The certificate authorities that the user put beside a host's name, in docker's folders.
pub(super) fn own_authorities(host: &str) -> Result<Vec<reqwest::Certificate>, Error> {
    let user = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let mut folders = vec![PathBuf::from("/etc/docker/certs.d")];
    folders.extend(user.map(|folder| folder.join("docker/certs.d")));
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder.join(host)) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "crt") {
                continue;
            }
            let bad = |cause: Box<dyn std::error::Error + Send + Sync>| {
                Error::new(
                    Kind::Damaged,
                    format!("the certificate authority {} cannot be used", path.display()),
                )
                .because(cause)
            };
            let bytes = std::fs::read(&path).map_err(|error| bad(error.into()))?;
            found.extend(reqwest::Certificate::from_pem_bundle(&bytes).map_err(|error| bad(error.into()))?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_alone() {
        for host in ["127.0.0.1", "127.8.0.1:5000", "localhost:80", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "127.0.0.1.example",
            "localhost.example:5000",
            "10.0.0.1",
            "docker.io",
            "[::2]:1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
