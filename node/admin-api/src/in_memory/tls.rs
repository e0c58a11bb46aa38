//! Certificates of the double: an authority for the node, another for people.

use std::sync::Arc;

use domain::id::Name;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// All that the parties of a test need, made anew for each.
pub struct Certificates {
    /// What clients trust.
    pub ca_pem: String,
    server: (String, String),
    people: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

impl Certificates {
    pub(super) fn make() -> Certificates {
        let nodes = authority("nodes");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).expect("names");
        let cert = params.signed_by(&key, &nodes).expect("a certificate");
        Certificates { ca_pem: nodes.pem(), server: (cert.pem(), key.serialize_pem()), people: authority("people") }
    }

    /// A client certificate (PEM) and its key (PEM), for this URI.
    pub fn client(&self, uri: &str) -> (String, String) {
        issue(&self.people, uri)
    }

    /// As [`Certificates::client`], by an authority nobody trusts.
    pub fn foreign_client(&self, uri: &str) -> (String, String) {
        issue(&authority("strangers"), uri)
    }

    pub(super) fn server_config(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.people.der().clone()).expect("an authority");
        let people = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let people = people.allow_unauthenticated().build().expect("a verifier");
        let chain = CertificateDer::pem_slice_iter(self.server.0.as_bytes()).collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(self.server.1.as_bytes()).expect("PEM");
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let mut config =
            config.with_client_cert_verifier(people).with_single_cert(chain, key).expect("key and certificate belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, uri: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.to_owned().try_into().expect("ASCII"))];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    (params.signed_by(&key, authority).expect("a certificate").pem(), key.serialize_pem())
}

/// Finds the name after `prefix` in a certificate that a test made: in DER the byte before a short text is its length.
/// The real reading is in the cluster's `pki`.
pub(super) fn person_of(der: &[u8], prefix: &str) -> Option<Name> {
    let at = der.windows(prefix.len()).position(|window| window == prefix.as_bytes())?;
    let length = usize::from(*der.get(at.checked_sub(1)?)?);
    let name = der.get(at + prefix.len()..at + length)?;
    std::str::from_utf8(name).ok()?.parse().ok()
}
