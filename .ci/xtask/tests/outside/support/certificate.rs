//! An authority of a test's own, and a certificate that it gave to a registry.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The files of a registry's certificate.
pub(crate) struct Certificate {
    /// The authority's own certificate, which a client must be told of.
    pub(crate) authority: PathBuf,
    /// The registry's certificate.
    pub(crate) chain: PathBuf,
    /// The key of `chain`.
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes an authority and a certificate for these names and addresses, in `folder`.
    pub(crate) fn make(folder: &Path, names: &[&str]) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        // OpenSSL takes a certificate whose two names are the same for its own issuer.
        authority
            .distinguished_name
            .push(DnType::CommonName, "the authority of a test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let chain = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let written = |name: &str, pem: String| {
            let path = folder.join(name);
            fs::write(&path, pem).unwrap();
            path
        };
        Self {
            authority: written("authority.pem", authority_pem),
            chain: written("chain.pem", chain.pem()),
            key: written("key.pem", key.serialize_pem()),
        }
    }

    /// The registry's settings: it serves by this certificate.
    pub(crate) fn settings(&self) -> String {
        format!("tls_cert = {:?}\ntls_key = {:?}\n", self.chain, self.key)
    }
}
