//! TLS or not: which hosts may be spoken to without it, when, and whose certificates are believed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::{Error, Kind};

/// How long a port of this machine may think about a greeting.
const GREETING_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

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

/// Greets a port in TLS and says whether it answers anything else, or hangs up: then it does not speak it. A port
/// that cannot be reached or keeps silent is not known not to.
pub(super) async fn hangs_up_on_tls(host: &str) -> bool {
    let with_port = if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:443")
    };
    let greeted = async {
        let greeting = greeting().ok()?;
        let mut stream = tokio::net::TcpStream::connect(&with_port).await.ok()?;
        stream.write_all(&greeting).await.ok()?;
        let mut first = [0_u8; 1];
        Some(match stream.read(&mut first).await {
            // TLS answers with a record of a handshake or an alert.
            Ok(1) => !matches!(first, [0x15 | 0x16]),
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        })
    };
    matches!(
        tokio::time::timeout(GREETING_TIMEOUT, greeted).await,
        Ok(Some(true))
    )
}

/// The first bytes of a TLS connection. It is never gone on with, so no certificate is looked at.
fn greeting() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name)?;
    let mut greeting = Vec::new();
    connection.write_tls(&mut greeting)?;
    Ok(greeting)
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
