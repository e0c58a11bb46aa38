//! What nodes say to each other: our own protobuf messages, framed. openraft's types never travel; what belongs to
//! Raft (votes, log ids, entries, membership) is in `raft-store`'s versioned encodings, as bytes.
//!
//! A stream begins with one [`Open`] frame that says what it is for; what follows depends on it.

use bytes::Bytes;
use prost::Message;

use crate::peer_transport::PeerError;

/// Raised when a message changes its meaning; the hello refuses what it does not know.
pub(crate) const PROTOCOL_VERSION: u32 = 1;

/// First frame on a connection, both ways.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub boot: u64,
    #[prost(uint32, tag = "4")]
    pub class: u32,
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    Unknown = 0,
    /// Pipelined AppendEntries: [`AppendRequest`]s one way, [`AppendResponse`]s the other, in order.
    Append = 1,
    Vote = 2,
    PreVote = 3,
    TransferLeader = 4,
    /// [`SnapshotHead`] one way, [`SnapshotHave`] the other, then `raft-store`'s frames and an empty one; answered by a
    /// [`VoteResponse`].
    Snapshot = 5,
    Propose = 6,
    Renew = 7,
    AwaitEnforced = 8,
    /// [`Batch`]es one way, [`BatchResponse`]s the other, in order.
    Records = 9,
    Cosign = 10,
    Join = 11,
    Status = 13,
    /// Asks a leader to hand its group over.
    Transfer = 14,
    /// A barrier ran out waiting for this node; the leader looks whether it heard from it.
    Suspect = 15,
    /// A question of one gateway to another: [`GatewayMessage`] each way.
    Gateway = 16,
}

/// Opaque here: what the gateways of two nodes say to each other.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GatewayMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Open {
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    #[prost(uint32, tag = "2")]
    pub group: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AppendRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub vote: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub prev: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub commit: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub entries: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AppendResponse {
    #[prost(oneof = "Appended", tags = "1, 2, 3, 4")]
    pub result: Option<Appended>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Appended {
    /// Flushed up to this log id.
    #[prost(bytes = "bytes", tag = "1")]
    Matched(Bytes),
    /// Accepted, and the log is empty.
    #[prost(bool, tag = "2")]
    Empty(bool),
    /// The log differs at this log id.
    #[prost(bytes = "bytes", tag = "3")]
    Conflict(Bytes),
    #[prost(bytes = "bytes", tag = "4")]
    HigherVote(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VoteRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub vote: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub last: Option<Bytes>,
    #[prost(bool, tag = "3")]
    pub leadership_transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VoteResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub vote: Bytes,
    #[prost(bool, tag = "2")]
    pub granted: bool,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub last: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TransferLeaderRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub from: Bytes,
    #[prost(uint64, tag = "2")]
    pub to: u64,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub last: Option<Bytes>,
}

/// Empty message: taken over. Otherwise why not.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Outcome {
    #[prost(string, optional, tag = "1")]
    pub refused: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotHead {
    #[prost(bytes = "bytes", tag = "1")]
    pub vote: Bytes,
    /// `raft-store`'s encoding of the snapshot's metadata.
    #[prost(bytes = "bytes", tag = "2")]
    pub meta: Bytes,
}

/// How many leaves the receiver has: only those beyond travel.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotHave {
    #[prost(uint64, tag = "1")]
    pub leaves: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProposeRequest {
    /// `domain`'s encoding of the proposal; the leader sets its stamp.
    #[prost(bytes = "bytes", tag = "1")]
    pub proposal: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProposeResponse {
    #[prost(oneof = "Proposed", tags = "1, 2, 3")]
    pub result: Option<Proposed>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Proposed {
    #[prost(message, tag = "1")]
    Committed(Committed),
    /// It was certainly not appended here; names the leader if one is known.
    #[prost(message, tag = "2")]
    NotLeader(NotLeader),
    /// It may have been.
    #[prost(string, tag = "3")]
    Unknown(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Committed {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub reply: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NotLeader {
    #[prost(uint64, optional, tag = "1")]
    pub leader: Option<u64>,
    #[prost(string, tag = "2")]
    pub why: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RenewRequest {
    #[prost(uint64, tag = "1")]
    pub boot: u64,
    #[prost(uint64, tag = "2")]
    pub enforced: u64,
    /// The asking node's wall clock, milliseconds since 1970: one vote in the median.
    #[prost(uint64, tag = "3")]
    pub wall_ms: u64,
}

/// Answers renewals: a read index.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadIndexResponse {
    /// Absent: refused, see `refused`.
    #[prost(uint64, optional, tag = "1")]
    pub index: Option<u64>,
    /// Log time the leader stood at, milliseconds.
    #[prost(uint64, tag = "2")]
    pub log_time: u64,
    #[prost(message, optional, tag = "3")]
    pub refused: Option<NotLeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AwaitEnforcedRequest {
    /// The node that is asked about; another than the receiver is asked on behalf of the caller.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AwaitEnforcedResponse {
    /// Absent: not yet.
    #[prost(message, optional, tag = "1")]
    pub receipt: Option<NodeReceipt>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NodeReceipt {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(uint64, tag = "2")]
    pub boot: u64,
    #[prost(uint64, tag = "3")]
    pub enforced: u64,
    #[prost(uint64, tag = "4")]
    pub last_sequence: u64,
    #[prost(message, repeated, tag = "5")]
    pub sessions: Vec<SessionReceipt>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionReceipt {
    #[prost(string, tag = "1")]
    pub session: String,
    #[prost(string, tag = "2")]
    pub principal: String,
    #[prost(string, tag = "3")]
    pub target: String,
    /// 0 idle, 1 cancelled, 2 pending, 3 unknown
    #[prost(uint32, tag = "4")]
    pub upstream: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SuspectRequest {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// One audit proposal, in `raft-store`'s encoding of a record batch.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Batch {
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BatchResponse {
    #[prost(oneof = "Batched", tags = "1, 2")]
    pub result: Option<Batched>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Batched {
    /// The state machine's reply.
    #[prost(bytes = "bytes", tag = "1")]
    Reply(Bytes),
    /// This leader did not or cannot say; send it again from here, wherever the leader is now.
    #[prost(message, tag = "2")]
    Again(NotLeader),
}

/// Asks for a signature under the checkpoint that these make up.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CosignRequest {
    #[prost(string, tag = "1")]
    pub log: String,
    #[prost(uint64, tag = "2")]
    pub size: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub root: Bytes,
    /// Log time, milliseconds.
    #[prost(uint64, tag = "4")]
    pub time: u64,
    #[prost(uint64, tag = "5")]
    pub control_index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CosignResponse {
    /// Absent: not signed; perhaps there are not so many leaves yet.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub signature: Option<Bytes>,
    /// This node computes another root.
    #[prost(bool, tag = "2")]
    pub differs: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JoinRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub secret: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub csr: Bytes,
    #[prost(string, tag = "3")]
    pub address: String,
    #[prost(string, tag = "4")]
    pub admin_address: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub checkpoint_key: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub sealing_key: Bytes,
    #[prost(bool, tag = "7")]
    pub voter: bool,
    #[prost(uint32, tag = "8")]
    pub feature_level_max: u32,
    #[prost(string, repeated, tag = "9")]
    pub hosts: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JoinResponse {
    #[prost(string, optional, tag = "1")]
    pub refused: Option<String>,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(string, tag = "3")]
    pub cluster: String,
    #[prost(uint64, tag = "4")]
    pub incarnation: u64,
    #[prost(string, tag = "5")]
    pub cert_pem: String,
    #[prost(message, optional, tag = "6")]
    pub secrets: Option<ClusterSecrets>,
}

/// What every node of a cluster holds alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ClusterSecrets {
    #[prost(string, tag = "1")]
    pub peer_ca_pem: String,
    #[prost(string, tag = "2")]
    pub peer_ca_key: String,
    #[prost(string, tag = "3")]
    pub admin_ca_pem: String,
    #[prost(string, tag = "4")]
    pub admin_ca_key: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub kek: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub kek_recovery: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(uint64, tag = "1")]
    pub boot: u64,
    #[prost(uint64, tag = "2")]
    pub applied: u64,
    #[prost(uint64, tag = "3")]
    pub enforced: u64,
    /// Milliseconds the lease still runs; absent without one.
    #[prost(uint64, optional, tag = "4")]
    pub lease_left_ms: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub control_leader: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub audit_leader: Option<u64>,
    #[prost(uint64, tag = "7")]
    pub audit_applied: u64,
    #[prost(string, tag = "8")]
    pub version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TransferRequest {
    #[prost(uint64, tag = "1")]
    pub to: u64,
}

pub(crate) fn encode<M: Message>(message: &M) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

pub(crate) fn decode<M: Message + Default>(frame: Bytes) -> Result<M, PeerError> {
    M::decode(frame).map_err(|e| PeerError::Protocol(e.to_string()))
}
