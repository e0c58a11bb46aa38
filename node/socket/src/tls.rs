//! The parts of TLS that every user of it here needs alike. What is refused or trusted beyond that is theirs.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

/// The system's roots on Debian, and on most others.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Certificates or a key that cannot be used, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(String);

impl BadCertificate {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The one TLS provider of this workspace.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Whom to trust: these certificates in PEM, or the system's if there are none. The system's are read once.
///
/// # Errors
/// Text that is no PEM; no file of the system's.
pub fn roots(pem: &str) -> Result<Arc<RootCertStore>, BadCertificate> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if !pem.is_empty() {
        let given = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(BadCertificate::new)?;
        return Ok(store(given));
    }
    if let Some(roots) = SYSTEM.get() {
        return Ok(roots.clone());
    }
    let found = CertificateDer::pem_file_iter(Path::new(SYSTEM_ROOTS));
    let found = found.map_err(|error| BadCertificate(format!("the system's: {error}")))?;
    // A store of many: one that this library cannot read does not spoil the others.
    Ok(SYSTEM.get_or_init(|| store(found.filter_map(Result::ok))).clone())
}

fn store(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    Arc::new(roots)
}

/// A listener's side, from a certificate chain (leaf first) and its key, both PEM, that agrees on one protocol name.
/// Gives the leaf too.
///
/// # Errors
/// Text that is no PEM, no certificate in it, or a key that does not fit.
pub fn server_config(chain: &[u8], key: &[u8], alpn: &[u8]) -> Result<(ServerConfig, CertificateDer<'static>), BadCertificate> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(BadCertificate::new)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(BadCertificate::new)?;
    let leaf = chain.first().ok_or_else(|| BadCertificate("no certificate".into()))?.clone();
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(BadCertificate::new)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(BadCertificate::new)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok((config, leaf))
}
