//! The cluster's own certificates: one authority for nodes, another for people, so that a person's certificate is
//! never a node's (THREATS 63). Names are URIs: `assize://CLUSTER/INCARNATION/node/N` and `…/person/NAME`.

mod tls;

use std::fmt;
use std::str::FromStr;

use domain::id::{Name, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub use tls::{admin_server_config, join_client_config, peer_client_config, peer_server_config};

/// The DNS name that every node's certificate carries besides its own; what a joining node asks for.
pub const ANY_NODE: &str = "peer.assize.internal";
/// ALPN of connections between nodes; the number is the version of the peer protocol.
pub const ALPN_PEER: &[u8] = b"assize-peer/1";
/// ALPN of the one question a machine without a certificate may ask.
pub const ALPN_JOIN: &[u8] = b"assize-join/1";

const AUTHORITY_YEARS: u64 = 20;
const NODE_YEARS: u64 = 10;
const PERSON_YEARS: u64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Malformed(String),
}

/// Who a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub incarnation: u64,
    pub subject: Subject,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Node(NodeId),
    Person(Name),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "assize://{}/{}/", self.cluster, self.incarnation)?;
        match &self.subject {
            Subject::Node(node) => write!(f, "node/{node}"),
            Subject::Person(name) => write!(f, "person/{name}"),
        }
    }
}

impl FromStr for Identity {
    type Err = PkiError;

    fn from_str(uri: &str) -> Result<Self, PkiError> {
        let parse = || {
            let mut parts = uri.strip_prefix("assize://")?.split('/');
            let cluster = parts.next()?.to_owned();
            let incarnation = parts.next()?.parse().ok()?;
            let subject = match (parts.next()?, parts.next()?) {
                ("node", n) => Subject::Node(NodeId(n.parse().ok()?)),
                ("person", name) => Subject::Person(name.parse().ok()?),
                _ => return None,
            };
            let end = parts.next().is_none();
            (end && !cluster.is_empty()).then_some(Identity { cluster, incarnation, subject })
        };
        parse().ok_or_else(|| PkiError::Malformed(format!("{uri:?} does not name a member of a cluster")))
    }
}

/// Reads the one `assize://` URI of a certificate that the TLS layer has already verified.
pub fn identity_of(der: &[u8]) -> Result<Identity, PkiError> {
    let malformed = |what: &str| PkiError::Malformed(format!("the certificate {what}"));
    let (_, cert) = X509Certificate::from_der(der).map_err(|_| malformed("cannot be parsed"))?;
    let names = cert.subject_alternative_name().map_err(|_| malformed("has malformed names"))?;
    let names = names.ok_or_else(|| malformed("has no alternative names"))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse(),
        _ => Err(malformed("must carry exactly one URI")),
    }
}

/// SHA-256 of a certificate's DER; what a join token pins.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// A certificate and its private key, PEM.
#[derive(Clone)]
pub struct Issued {
    pub cert_pem: String,
    pub key_pem: zeroize::Zeroizing<String>,
}

/// A certificate authority of the cluster.
pub struct Authority {
    pub cert_pem: String,
    key: KeyPair,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority([redacted])")
    }
}

impl Authority {
    pub fn generate(cluster: &str, incarnation: u64, purpose: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("Assize {purpose} {cluster} {incarnation}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, AUTHORITY_YEARS);
        let cert_pem = params.self_signed(&key)?.pem();
        Ok(Self { cert_pem, key })
    }

    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        Ok(Self { cert_pem: cert_pem.to_owned(), key: KeyPair::from_pem(key_pem)? })
    }

    pub fn key_pem(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(self.key.serialize_pem())
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, PkiError> {
        Ok(Issuer::from_ca_cert_pem(&self.cert_pem, &self.key)?)
    }

    /// Signs a joining node's request. Only its public key is taken from it: names come from the log.
    pub fn sign_node(&self, csr_der: &[u8], identity: &Identity, hosts: &[String]) -> Result<String, PkiError> {
        let csr = CertificateSigningRequestParams::from_der(&csr_der.to_vec().into())?;
        Ok(node_params(identity, hosts)?.signed_by(&csr.public_key, &self.issuer()?)?.pem())
    }

    /// A node certificate with a fresh key.
    pub fn issue_node(&self, identity: &Identity, hosts: &[String]) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        let cert_pem = node_params(identity, hosts)?.signed_by(&key, &self.issuer()?)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem().into() })
    }

    /// A certificate for the admin API. `self` must be the authority for people.
    pub fn issue_person(&self, identity: &Identity) -> Result<Issued, PkiError> {
        let Subject::Person(name) = &identity.subject else {
            return Err(PkiError::Malformed("a person's certificate needs a person".into()));
        };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.as_str());
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        validity(&mut params, PERSON_YEARS);
        let cert_pem = params.signed_by(&key, &self.issuer()?)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem().into() })
    }
}

/// A fresh key and the request for its certificate (DER), for a node that joins.
pub fn node_request() -> Result<(zeroize::Zeroizing<String>, Vec<u8>), PkiError> {
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default().serialize_request(&key)?;
    Ok((key.serialize_pem().into(), csr.der().to_vec()))
}

fn node_params(identity: &Identity, hosts: &[String]) -> Result<CertificateParams, PkiError> {
    let Subject::Node(node) = identity.subject else {
        return Err(PkiError::Malformed("a node's certificate needs a node".into()));
    };
    // `new` tells IP addresses from DNS names.
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params.distinguished_name = common_name(&format!("node {node}"));
    params.subject_alt_names.push(SanType::DnsName(node_host(node).try_into()?));
    params.subject_alt_names.push(SanType::DnsName(ANY_NODE.try_into()?));
    params.subject_alt_names.push(SanType::URI(identity.to_string().try_into()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    validity(&mut params, NODE_YEARS);
    Ok(params)
}

/// The DNS name by which a peer asks for this very node; TLS itself then refuses any other.
pub fn node_host(node: NodeId) -> String {
    format!("node-{node}.assize.internal")
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// From yesterday (clocks differ) for so many years.
fn validity(params: &mut CertificateParams, years: u64) {
    const DAY: u64 = 86_400;
    let today = crate::clock::wall_ms() / 1000 / DAY;
    let (from, to) = (civil(today.saturating_sub(1)), civil(today + years * 365));
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
}

/// Days since 1970-01-01 to year, month, day (Howard Hinnant's `civil_from_days`, for days ≥ 0).
fn civil(days: u64) -> (i32, u8, u8) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (i32::try_from(year).unwrap_or(9999), month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    fn identity(text: &str) -> Identity {
        text.parse().expect("identity")
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_780, (2026, 11, 23))] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn an_identity_survives_its_certificate() {
        let peers = Authority::generate("c1", 1, "nodes").expect("authority");
        let id = identity("assize://c1/1/node/3");
        let (_, csr) = node_request().expect("request");
        let pem = peers.sign_node(&csr, &id, &["127.0.0.1".into(), "db.example".into()]).expect("signed");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("pem");
        assert_eq!(identity_of(&der).expect("identity"), id);

        let again = Authority::load(&peers.cert_pem, &peers.key_pem()).expect("loads");
        assert!(again.issue_node(&id, &[]).is_ok());
        assert!(again.issue_node(&identity("assize://c1/1/person/ann"), &[]).is_err());
    }

    #[test]
    fn only_whole_names_are_taken() {
        for bad in ["assize://c1/1/node/x", "assize://c1/1/node/1/2", "assize://c1/node/1", "assize:///1/node/1", "https://c1/1/node/1"] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
