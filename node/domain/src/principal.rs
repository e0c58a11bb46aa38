//! Who acts: agents and the people who answer for them.

use std::collections::BTreeMap;

use crate::id::{Digest, Index, Name, TokenId};
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: Name,
    pub kind: PrincipalKind,
    /// A principal that is not active is admitted to nothing, and neither are the agents it owns.
    pub active: bool,
    pub tokens: BTreeMap<TokenId, Token>,
    pub labels: BTreeMap<String, String>,
    pub version: Index,
    /// When something this principal may do was last taken away (DESIGN §3).
    pub narrowed: Index,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalKind {
    Agent { owner: Name, backup_owner: Option<Name>, job: Option<Name> },
    Person { email: Option<String>, certificate: Option<Digest> },
}

/// What a token was issued for. A gateway token opens sessions to targets, an admin token the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenUse {
    Gateway,
    Admin,
}

impl TokenUse {
    pub fn as_str(self) -> &'static str {
        match self {
            TokenUse::Gateway => "gateway",
            TokenUse::Admin => "admin",
        }
    }
}

/// What is kept of a token: enough to check it, not enough to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub usage: TokenUse,
    /// SHA-256 of the whole secret, for look-up of bearer tokens.
    pub lookup: Digest,
    /// For PostgreSQL and other SCRAM protocols; one salt per agent, so that several live tokens work.
    pub scram: ScramVerifier,
    pub label: String,
    pub expires: Option<LogTime>,
    /// A review is to say by then whether it is still needed; overdue, it opens nothing.
    pub review_due: Option<LogTime>,
    pub issued_by: Name,
    pub issued: LogTime,
}

/// RFC 5802 / RFC 7677 SCRAM-SHA-256 verifier.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub salt: [u8; 16],
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramVerifier([redacted])")
    }
}
