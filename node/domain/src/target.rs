//! What is protected: a target, and the credential the gateway uses towards it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{Index, Name};
use crate::operation::Protocol;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: Name,
    pub protocol: Protocol,
    /// `host:port`.
    pub address: String,
    pub tls: UpstreamTls,
    pub credential: Name,
    /// The database a session gets when the client names only the target.
    pub default_database: String,
    /// How long a held operation keeps its client waiting before it gets an error that names the request.
    pub hold: Duration,
    /// How long a request made by being held stays open for a decision.
    pub request_expiry: Duration,
    /// How many approvals, by different people, a request for this target needs.
    pub approvals_needed: u32,
    /// Owner of the target: may decide on requests for it.
    pub owner: Option<Name>,
    pub labels: BTreeMap<String, String>,
    /// The target stands behind a pooler: cancelling by backend pid may miss; receipts say so.
    pub weak_cancel: bool,
    pub version: Index,
    pub narrowed: Index,
}

/// TLS towards the target. `VerifyFull` is the default; the others must be asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamTls {
    /// PEM roots; empty means the system's.
    VerifyFull {
        roots_pem: String,
        server_name: Option<String>,
    },
    /// Encrypted, the peer not verified. For tests and migrations only.
    RequireUnverified,
    Off,
}
