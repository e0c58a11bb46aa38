//! What openraft is told about our types. Only `cluster` sees them besides this crate.

use std::fmt;

use bytes::Bytes;
use openraft::vote::RaftLeaderId;

// The runtime is openraft's own for tokio; the re-export is marked as moving to another crate, the type stays.
#[allow(deprecated)]
type Runtime = openraft::impls::TokioRuntime;

openraft::declare_raft_types!(
    /// Node ids are numbers that are never given twice; one leader a term, as in the Raft paper.
    pub TypeConfig:
        D = Payload,
        R = Reply,
        NodeId = u64,
        Node = PeerNode,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

pub type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type Membership = openraft::Membership<u64, PeerNode>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// What is proposed: opaque here.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the machine answered. Empty for entries that carry no payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply(pub Bytes);

/// Where a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerNode {
    /// `host:port` of its QUIC listener.
    pub address: String,
}

impl fmt::Display for PeerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
