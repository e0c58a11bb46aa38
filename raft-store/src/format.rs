//! Our own encodings of what openraft keeps and sends: protobuf, with a version byte in front. openraft's types are
//! never serialised by derive, so that its releases do not change what lies on disk.
//!
//! Every stored value is framed as `version ‖ protobuf`; unknown versions are refused.

use bytes::{Bytes, BytesMut};
use domain::audit::pruned::Terms;
use domain::id::Index;
use domain::retention::{RecordClass, Runs};
use domain::time::LogTime;
use openraft::EntryPayload;
use prost::Message;

use crate::machine::Prune;
use crate::types::{CommittedLeaderId, Entry, LogId, Membership, Payload, PeerNode, SnapshotMeta, StoredMembership, Vote};

/// Version of everything encoded here.
pub const VERSION: u8 = 1;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FormatError {
    #[error("{what}: version {got} is not known to this release, which knows up to {VERSION}")]
    Version { what: &'static str, got: u8 },
    #[error("{what}: {message}")]
    Malformed { what: &'static str, message: String },
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// `(term, index)`; the leader of a term is unique, so its id is not part of it.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LogIdMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct VoteMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct MembershipMessage {
    /// One set of voters, or two while they change.
    #[prost(message, repeated, tag = "1")]
    pub configs: Vec<Voters>,
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<NodeMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Voters {
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeMessage {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub address: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct EntryMessage {
    #[prost(message, optional, tag = "1")]
    pub id: Option<LogIdMessage>,
    /// Neither: a blank entry.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub payload: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    pub membership: Option<MembershipMessage>,
}

/// Also the meta data of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct AppliedMessage {
    #[prost(message, optional, tag = "1")]
    pub last: Option<LogIdMessage>,
    #[prost(message, optional, tag = "2")]
    pub membership_at: Option<LogIdMessage>,
    #[prost(message, optional, tag = "3")]
    pub membership: Option<MembershipMessage>,
    #[prost(uint64, tag = "4")]
    pub leaves: u64,
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub peaks: Vec<Vec<u8>>,
}

fn versioned(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(VERSION);
    message.encode(&mut bytes).expect("a Vec grows as needed");
    bytes
}

fn unversioned<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, FormatError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => M::decode(body).map_err(|e| FormatError::Malformed { what, message: e.to_string() }),
        Some((&got, _)) => Err(FormatError::Version { what, got }),
        None => Err(FormatError::Malformed { what, message: "empty".into() }),
    }
}

impl From<LogId> for LogIdMessage {
    fn from(id: LogId) -> Self {
        LogIdMessage { term: **id.committed_leader_id(), index: id.index() }
    }
}

impl From<LogIdMessage> for LogId {
    fn from(message: LogIdMessage) -> Self {
        LogId::new(CommittedLeaderId::new(message.term), message.index)
    }
}

impl From<&Vote> for VoteMessage {
    fn from(vote: &Vote) -> Self {
        VoteMessage { term: vote.leader_id().term, node: vote.leader_id().voted_for, committed: vote.is_committed() }
    }
}

impl From<VoteMessage> for Vote {
    fn from(message: VoteMessage) -> Self {
        if message.committed { Vote::new_committed(message.term, message.node) } else { Vote::new(message.term, message.node) }
    }
}

impl From<&Membership> for MembershipMessage {
    fn from(membership: &Membership) -> Self {
        MembershipMessage {
            configs: membership.get_joint_config().iter().map(|ids| Voters { ids: ids.iter().copied().collect() }).collect(),
            nodes: membership.nodes().map(|(id, node)| NodeMessage { id: *id, address: node.address.clone() }).collect(),
        }
    }
}

impl TryFrom<MembershipMessage> for Membership {
    type Error = FormatError;

    fn try_from(message: MembershipMessage) -> Result<Self, FormatError> {
        if message.configs.is_empty() && message.nodes.is_empty() {
            return Ok(Membership::default());
        }
        let configs = message.configs.into_iter().map(|voters| voters.ids.into_iter().collect()).collect();
        let nodes: std::collections::BTreeMap<u64, PeerNode> =
            message.nodes.into_iter().map(|node| (node.id, PeerNode { address: node.address })).collect();
        Membership::new(configs, nodes).map_err(|e| FormatError::Malformed { what: "membership", message: e.to_string() })
    }
}

impl From<&Entry> for EntryMessage {
    fn from(entry: &Entry) -> Self {
        let (payload, membership) = match &entry.payload {
            EntryPayload::Blank => (None, None),
            EntryPayload::Normal(payload) => (Some(payload.0.clone()), None),
            EntryPayload::Membership(membership) => (None, Some(membership.into())),
        };
        EntryMessage { id: Some(entry.log_id.into()), payload, membership }
    }
}

/// # Errors
/// When there is no id, or both a payload and a membership.
pub fn entry_of(message: EntryMessage) -> Result<Entry, FormatError> {
    let malformed = |message: &str| FormatError::Malformed { what: "log entry", message: message.into() };
    let log_id = message.id.ok_or_else(|| malformed("no id"))?.into();
    let payload = match (message.payload, message.membership) {
        (None, None) => EntryPayload::Blank,
        (Some(payload), None) => EntryPayload::Normal(Payload(payload)),
        (None, Some(membership)) => EntryPayload::Membership(membership.try_into()?),
        (Some(_), Some(_)) => return Err(malformed("both a payload and a membership")),
    };
    Ok(Entry { log_id, payload })
}

pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    versioned(&EntryMessage::from(entry))
}

/// # Errors
/// On an unknown version or bytes that are no entry.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, FormatError> {
    entry_of(unversioned::<EntryMessage>("log entry", bytes)?)
}

pub fn encode_vote(vote: &Vote) -> Vec<u8> {
    versioned(&VoteMessage::from(vote))
}

/// # Errors
/// As [`decode_entry`].
pub fn decode_vote(bytes: &[u8]) -> Result<Vote, FormatError> {
    Ok(unversioned::<VoteMessage>("vote", bytes)?.into())
}

pub fn encode_log_id(id: &LogId) -> Vec<u8> {
    versioned(&LogIdMessage::from(*id))
}

/// # Errors
/// As [`decode_entry`].
pub fn decode_log_id(bytes: &[u8]) -> Result<LogId, FormatError> {
    Ok(unversioned::<LogIdMessage>("log id", bytes)?.into())
}

pub fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    versioned(&AppliedMessage {
        last: meta.last_log_id.map(Into::into),
        membership_at: meta.last_membership.log_id().map(Into::into),
        membership: Some(meta.last_membership.membership().into()),
        leaves: 0,
        peaks: Vec::new(),
    })
}

/// # Errors
/// As [`decode_entry`].
pub fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, FormatError> {
    let message = unversioned::<AppliedMessage>("snapshot meta", bytes)?;
    Ok(SnapshotMeta { last_log_id: message.last.map(Into::into), last_membership: stored_membership(&message)? })
}

fn stored_membership(message: &AppliedMessage) -> Result<StoredMembership, FormatError> {
    let membership = message.membership.clone().unwrap_or_default().try_into()?;
    Ok(StoredMembership::new(message.membership_at.map(Into::into), membership))
}

/// What a state machine has applied, with the right edge of its Merkle log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) frontier: domain::audit::merkle::Frontier,
}

impl Position {
    pub(crate) fn encode(&self) -> Vec<u8> {
        versioned(&AppliedMessage {
            last: self.last.map(Into::into),
            membership_at: self.membership.log_id().map(Into::into),
            membership: Some(self.membership.membership().into()),
            leaves: self.frontier.size(),
            peaks: self.frontier.peaks().iter().map(|hash| hash.to_vec()).collect(),
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Position, FormatError> {
        let message = unversioned::<AppliedMessage>("applied state", bytes)?;
        let malformed = || FormatError::Malformed { what: "applied state", message: "the frontier does not fit its size".into() };
        let peaks = message.peaks.iter().map(|p| p.as_slice().try_into().map_err(|_| malformed())).collect::<Result<_, _>>()?;
        let frontier = domain::audit::merkle::Frontier::from_parts(message.leaves, peaks).ok_or_else(malformed)?;
        Ok(Position { last: message.last.map(Into::into), membership: stored_membership(&message)?, frontier })
    }
}

/// A payload of the audit group.
#[derive(Clone, PartialEq, Message)]
pub struct AuditMessage {
    #[prost(oneof = "AuditKind", tags = "1, 2, 3")]
    pub kind: Option<AuditKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum AuditKind {
    #[prost(message, tag = "1")]
    Records(RecordBatch),
    #[prost(message, tag = "2")]
    Checkpoint(SignedCheckpoint),
    /// From feature level 4 on.
    #[prost(message, tag = "3")]
    Prune(PruneMessage),
}

/// Records of one boot of one node, in the order it made them.
#[derive(Clone, PartialEq, Message)]
pub struct RecordBatch {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// Sequence of the first record; the others follow without gap. The first ever of a boot is 1.
    #[prost(uint64, tag = "3")]
    pub first_sequence: u64,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub records: Vec<Bytes>,
}

/// Bodies that go, as an entry of the control log decided it. Also the row that remembers it.
#[derive(Clone, PartialEq, Message)]
pub struct PruneMessage {
    /// Index of that entry.
    #[prost(uint64, tag = "1")]
    pub plan: u64,
    /// [`RecordClass::as_str`]; nothing of another class goes.
    #[prost(string, tag = "2")]
    pub class: String,
    /// Log time, milliseconds since 1970; nothing younger goes.
    #[prost(uint64, tag = "3")]
    pub before: u64,
    /// [`Runs::as_pairs`].
    #[prost(uint64, repeated, tag = "4")]
    pub leaves: Vec<u64>,
}

/// One node's signature over a tree head of this or another log.
#[derive(Clone, PartialEq, Message)]
pub struct SignedCheckpoint {
    #[prost(uint64, tag = "1")]
    pub size: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub root: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub node: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub signature: Vec<u8>,
    /// Which log: `audit/0` is this one, whose root every replica compares with its own.
    #[prost(string, tag = "5")]
    pub log: String,
    /// Log time, milliseconds since 1970.
    #[prost(uint64, tag = "6")]
    pub time: u64,
    /// The control index whose voters sign.
    #[prost(uint64, tag = "7")]
    pub control_index: u64,
}

impl TryFrom<PruneMessage> for Prune {
    type Error = FormatError;

    fn try_from(message: PruneMessage) -> Result<Self, FormatError> {
        let malformed = |message: &str| FormatError::Malformed { what: "pruned leaves", message: message.into() };
        let class: RecordClass = message.class.parse().map_err(|_| malformed("of a class that is not known"))?;
        let leaves = Runs::from_pairs(message.leaves).ok_or_else(|| malformed("are not in order"))?;
        Ok(Prune { terms: Terms { plan: Index(message.plan), class, before: LogTime(message.before) }, leaves })
    }
}

/// What the audit machine answers.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct AuditReply {
    /// All records of this boot up to here are in the log.
    #[prost(uint64, tag = "1")]
    pub through: u64,
    /// Leaf index of the first record of the batch; of a repeated batch 0.
    #[prost(uint64, tag = "2")]
    pub first_leaf: u64,
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// The batch does not follow what is there, or has no records: it was not taken. Nor were leaves pruned that are not there.
    #[prost(bool, tag = "4")]
    pub gap: bool,
}

pub fn encode_audit(message: &AuditMessage) -> Bytes {
    versioned(message).into()
}

/// # Errors
/// As [`decode_entry`].
pub fn decode_audit(bytes: &[u8]) -> Result<AuditMessage, FormatError> {
    unversioned("audit payload", bytes)
}

pub fn encode_audit_reply(reply: &AuditReply) -> Bytes {
    versioned(reply).into()
}

/// # Errors
/// As [`decode_entry`].
pub fn decode_audit_reply(bytes: &[u8]) -> Result<AuditReply, FormatError> {
    unversioned("audit reply", bytes)
}

pub(crate) fn encode_frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.extend_from_slice(&[VERSION]);
    message.encode(&mut bytes).expect("BytesMut grows as needed");
    bytes.freeze()
}

pub(crate) fn decode_frame<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, FormatError> {
    unversioned(what, bytes)
}

#[cfg(test)]
mod tests;
