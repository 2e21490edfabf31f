//! Certificates, and TLS over a socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// HTTP/2's name in ALPN.
pub(super) const H2: &[u8] = b"h2";

/// How often the files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// A certificate chain with its key, read again when their files change.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind that is needed.
    #[error("{what} {path}: {source}", path = path.display())]
    Pem {
        /// What should be in the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The chain and the key cannot be used, or not together.
    #[error("the certificate {cert} and the key {key}: {source}", cert = cert.display(), key = key.display())]
    Unusable {
        /// The chain's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

#[derive(Debug)]
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.certificate.cert)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the chain and the key, both PEM.
    ///
    /// # Errors
    /// The files cannot be read or do not fit together.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(load(cert, key)?));
        let certificate = Arc::new(Certificate {
            cert: cert.into(),
            key: key.into(),
            current,
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|source| certificate.unusable(source))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Never completes: takes a changed certificate into use, for connections that come after.
    pub(super) async fn reload_when_changed(self) {
        let mut seen = self.certificate.changed();
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let now = self.certificate.changed();
            if now == seen {
                continue;
            }
            // Both files may be on their way; a half is refused here and tried again when the other changes.
            match load(&self.certificate.cert, &self.certificate.key) {
                Ok(key) => {
                    let mut current = self
                        .certificate
                        .current
                        .write()
                        .unwrap_or_else(PoisonError::into_inner);
                    *current = Arc::new(key);
                    tracing::info!(cert = %self.certificate.cert.display(), "the certificate was reloaded");
                }
                Err(error) => tracing::warn!(%error, "the changed certificate is not used"),
            }
            seen = now;
        }
    }
}

impl Certificate {
    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.cert, &self.key].map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let wrong = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong("reading the certificate", cert))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(wrong("reading the key", key))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|source| {
        TlsError::Unusable {
            cert: cert.into(),
            key: key.into(),
            source,
        }
    })
}
