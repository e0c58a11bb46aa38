//! Nodes, their keys, and what they reported.

use std::collections::BTreeMap;

use crate::id::{BootId, Digest, Index, Name, NodeId, RevocationId, SessionId};
use crate::time::LogTime;

/// A node as the control log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// QUIC address of the node, `host:port`.
    pub address: String,
    pub admin_address: String,
    /// Ed25519 key that signs this node's checkpoints, with the index from which it counts.
    pub checkpoint_keys: BTreeMap<Index, [u8; 32]>,
    /// X25519 public key secrets are sealed to when the node joins.
    pub sealing_key: [u8; 32],
    pub role: MemberRole,
    pub serving: Serving,
    pub feature_level_max: u32,
    pub version: Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRole {
    Voter,
    /// Proxies and enforces, does not vote.
    Learner,
    /// Its id is never given again.
    Removed,
}

/// In the serving set or not (DESIGN §4). A node that is not in it holds no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    No { left: Index },
    Yes { joined: Index },
}

/// Single-use permission for one node to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the secret.
    pub lookup: Digest,
    pub expires: LogTime,
    pub made_by: Name,
    pub spent_by: Option<NodeId>,
}

/// What a node says it did about a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReceipt {
    pub node: NodeId,
    pub boot: BootId,
    /// The index it enforces at least.
    pub enforced: Index,
    /// The last record sequence it used before it enforced.
    pub last_sequence: u64,
    pub sessions: Vec<SessionReceipt>,
    /// The node did not answer: its lease ran out at the latest now.
    pub by_expiry: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReceipt {
    pub session: SessionId,
    pub principal: Name,
    pub target: Name,
    pub upstream: Cancelled,
}

/// What became of the work a session had running at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    Idle,
    Cancelled,
    Pending,
    Unknown,
}

/// The answer to a narrowing command, also kept in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub revocation: RevocationId,
    pub nodes: Vec<NodeReceipt>,
    pub made: LogTime,
}
