//! Records as they are read: the schema, and decoding.
//!
//! Reading is for people and for export, so fields that a later build added are passed over; a version or a kind that
//! this build does not know is an error. What the tree hashes are the bytes, never what was read from them.

use prost::Message;

use super::{Backend, RECORD_VERSION};
use crate::encoding::DecodeError;
use crate::id::{BootId, NodeId, SessionId};
use crate::member::Cancelled;
use crate::operation::Effect;

#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(uint32, tag = 1)]
    pub version: u32,
    #[prost(uint64, tag = 2)]
    pub node: u64,
    #[prost(fixed64, tag = 3)]
    pub boot: u64,
    #[prost(uint64, tag = 4)]
    pub sequence: u64,
    #[prost(uint64, tag = 5)]
    pub control_index: u64,
    /// Log time, milliseconds since 1970.
    #[prost(uint64, tag = 6)]
    pub time: u64,
    #[prost(message, optional, tag = 7)]
    pub session: Option<Session>,
    #[prost(string, tag = 8)]
    pub run: String,
    #[prost(oneof = "Kind", tags(20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 33))]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(message, tag = 20)]
    Admission(Admission),
    #[prost(message, tag = 21)]
    Intent(Intent),
    #[prost(message, tag = 22)]
    Outcome(Outcome),
    #[prost(message, tag = 23)]
    Enforcement(Enforcement),
    #[prost(message, tag = 24)]
    LateSend(LateSend),
    #[prost(message, tag = 25)]
    SessionEnd(SessionEnd),
    #[prost(message, tag = 26)]
    StatementText(StatementText),
    #[prost(message, tag = 27)]
    TargetCheck(TargetCheck),
    #[prost(message, tag = 28)]
    Connection(Connection),
    #[prost(message, tag = 29)]
    Termination(Termination),
    #[prost(message, tag = 33)]
    Pruned(Pruned),
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Session {
    #[prost(uint64, tag = 1)]
    pub node: u64,
    #[prost(fixed64, tag = 2)]
    pub boot: u64,
    #[prost(uint64, tag = 3)]
    pub number: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Admission {
    #[prost(string, tag = 1)]
    pub principal: String,
    #[prost(string, tag = 2)]
    pub owner: String,
    #[prost(string, tag = 3)]
    pub on_behalf_of: String,
    #[prost(string, tag = 4)]
    pub target: String,
    /// 1 approved, 2 modified, 3 revoked.
    #[prost(uint32, tag = 5)]
    pub outcome: u32,
    #[prost(string, repeated, tag = 6)]
    pub dropped: Vec<String>,
    #[prost(uint64, tag = 7)]
    pub dropped_left_out: u64,
    #[prost(message, optional, tag = 8)]
    pub refusal: Option<Refused>,
    #[prost(message, optional, tag = 9)]
    pub cited: Option<Cited>,
    #[prost(string, tag = 10)]
    pub client_address: String,
    #[prost(string, tag = 11)]
    pub application_name: String,
    /// What the policy wants on record.
    #[prost(string, repeated, tag = 12)]
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// Stable, for programs: [`crate::refusal::Refusal::code`].
    #[prost(string, tag = 1)]
    pub code: String,
    #[prost(string, tag = 2)]
    pub detail: String,
}

/// Versions of all that was read: control indexes.
#[derive(Clone, PartialEq, Message)]
pub struct Cited {
    #[prost(uint64, tag = 1)]
    pub state: u64,
    #[prost(uint64, tag = 2)]
    pub principal: u64,
    #[prost(uint64, optional, tag = 3)]
    pub owner: Option<u64>,
    #[prost(uint64, tag = 4)]
    pub target: u64,
    #[prost(uint64, optional, tag = 5)]
    pub job: Option<u64>,
    #[prost(message, repeated, tag = 6)]
    pub grants: Vec<CitedGrant>,
    #[prost(uint64, tag = 7)]
    pub grants_left_out: u64,
    /// The active policy.
    #[prost(uint64, optional, tag = 8)]
    pub policy: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct CitedGrant {
    #[prost(uint64, tag = 1)]
    pub grant: u64,
    #[prost(uint64, tag = 2)]
    pub version: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Intent {
    #[prost(uint64, tag = 1)]
    pub operation: u64,
    #[prost(string, tag = 2)]
    pub principal: String,
    #[prost(string, tag = 3)]
    pub on_behalf_of: String,
    #[prost(string, tag = 4)]
    pub target: String,
    #[prost(string, tag = 5)]
    pub tag: String,
    /// 1 read, 2 transactional, 3 commit, 4 lasting.
    #[prost(uint32, tag = 6)]
    pub effect: u32,
    #[prost(string, repeated, tag = 7)]
    pub accesses: Vec<String>,
    #[prost(uint32, tag = 8)]
    pub accesses_left_out: u32,
    /// 1 allow, 2 allow by approval, 3 held, 4 refused, 5 session ended.
    #[prost(uint32, tag = 9)]
    pub verdict: u32,
    #[prost(uint64, optional, tag = 10)]
    pub request: Option<u64>,
    #[prost(message, optional, tag = 11)]
    pub refusal: Option<Refused>,
    #[prost(uint64, repeated, packed = "false", tag = 12)]
    pub grants: Vec<u64>,
    #[prost(uint64, tag = 13)]
    pub grants_left_out: u64,
    #[prost(uint64, optional, tag = 14)]
    pub job_version: Option<u64>,
    #[prost(uint64, tag = 15)]
    pub target_version: u64,
    #[prost(bytes = "vec", tag = 16)]
    pub digest: Vec<u8>,
    #[prost(bytes = "vec", tag = 17)]
    pub parameters_hash: Vec<u8>,
    /// The whole statement, or empty where it is longer than its record.
    #[prost(bytes = "vec", tag = 18)]
    pub statement: Vec<u8>,
    /// For a longer one: [`super::salted_hash`], its length in bytes, and its first bytes.
    #[prost(bytes = "vec", tag = 19)]
    pub statement_hash: Vec<u8>,
    #[prost(uint64, tag = 20)]
    pub statement_length: u64,
    #[prost(bytes = "vec", tag = 21)]
    pub statement_start: Vec<u8>,
    /// The policy it was judged by, and what that wants on record.
    #[prost(uint64, optional, tag = 22)]
    pub policy: Option<u64>,
    #[prost(string, repeated, tag = 23)]
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Outcome {
    #[prost(uint64, tag = 1)]
    pub operation: u64,
    /// 1 ok, 2 error, 3 unknown, 4 not forwarded.
    #[prost(uint32, tag = 2)]
    pub status: u32,
    #[prost(string, tag = 3)]
    pub error: String,
    #[prost(uint64, tag = 4)]
    pub rows: u64,
    #[prost(uint64, tag = 5)]
    pub bytes: u64,
    #[prost(uint64, tag = 6)]
    pub duration_us: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Enforcement {
    #[prost(uint64, tag = 1)]
    pub revocation: u64,
    #[prost(uint64, tag = 2)]
    pub enforced: u64,
    #[prost(message, repeated, tag = 3)]
    pub ended: Vec<EndedSession>,
    /// How many in all; more than are listed where there were too many.
    #[prost(uint64, tag = 4)]
    pub ended_count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct EndedSession {
    #[prost(message, required, tag = 1)]
    pub session: Session,
    /// 1 idle, 2 cancelled, 3 pending, 4 unknown.
    #[prost(uint32, tag = 2)]
    pub upstream: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LateSend {
    #[prost(uint64, tag = 1)]
    pub operation: u64,
    #[prost(uint64, tag = 2)]
    pub late_us: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct SessionEnd {
    /// 1 client, 2 upstream, 3 policy, 4 this gateway.
    #[prost(uint32, tag = 1)]
    pub by: u32,
    #[prost(string, tag = 2)]
    pub reason: String,
    #[prost(uint64, tag = 3)]
    pub operations: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct StatementText {
    #[prost(uint64, tag = 1)]
    pub operation: u64,
    #[prost(bytes = "vec", tag = 2)]
    pub salt: Vec<u8>,
    #[prost(uint64, tag = 3)]
    pub length: u64,
    #[prost(uint64, tag = 4)]
    pub offset: u64,
    #[prost(bytes = "vec", tag = 5)]
    pub part: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TargetCheck {
    #[prost(string, tag = 1)]
    pub principal: String,
    #[prost(string, tag = 2)]
    pub target: String,
    #[prost(bool, tag = 3)]
    pub reachable: bool,
    #[prost(string, repeated, tag = 4)]
    pub findings: Vec<String>,
    /// How many in all; more than are listed where there were too many.
    #[prost(uint64, tag = 5)]
    pub findings_count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Connection {
    #[prost(string, tag = 1)]
    pub principal: String,
    #[prost(string, tag = 2)]
    pub on_behalf_of: String,
    #[prost(string, tag = 3)]
    pub target: String,
    #[prost(string, tag = 4)]
    pub role: String,
    /// 0: not known.
    #[prost(uint32, tag = 5)]
    pub process: u32,
    #[prost(uint64, tag = 6)]
    pub started_us: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Termination {
    #[prost(uint64, tag = 1)]
    pub member: u64,
    #[prost(uint64, tag = 2)]
    pub left: u64,
    #[prost(string, tag = 3)]
    pub target: String,
    #[prost(message, repeated, tag = 4)]
    pub ended: Vec<EndedSession>,
    /// How many in all; more than are listed where there were too many.
    #[prost(uint64, tag = 5)]
    pub ended_count: u64,
}

/// In the place of a record whose body went ([`crate::audit::pruned`]). Nothing but the hash is proved.
#[derive(Clone, PartialEq, Message)]
pub struct Pruned {
    /// Of the body: what the tree has.
    #[prost(bytes = "vec", tag = 1)]
    pub hash: Vec<u8>,
    /// The control entry that decided it.
    #[prost(uint64, tag = 2)]
    pub plan: u64,
    /// Whose rule it was: [`crate::retention::RecordClass`].
    #[prost(string, tag = 3)]
    pub class: String,
    /// What it was: [`Record::kind_name`].
    #[prost(string, tag = 4)]
    pub kind: String,
    /// How long the body was.
    #[prost(uint64, tag = 5)]
    pub bytes: u64,
}

/// Reads the bytes of one leaf.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    if let Some((record, _)) = crate::audit::pruned::read(bytes) {
        return Ok(record);
    }
    let record = Record::decode(bytes).map_err(|e| DecodeError::Malformed { what: "audit record", message: e.to_string() })?;
    if record.version != RECORD_VERSION {
        return Err(DecodeError::Unknown { what: "audit record version", code: record.version });
    }
    match record.kind {
        None => Err(DecodeError::Unknown { what: "audit record kind", code: 0 }),
        Some(Kind::Pruned(_)) => Err(DecodeError::Malformed { what: "audit record", message: "says it is pruned, and is not".into() }),
        Some(_) => Ok(record),
    }
}

/// Does this leaf tell of a session's connection to its target: that it began, or that it is over? Cheaper than
/// decoding it: every record of every node is asked.
pub fn concerns_connections(leaf: &[u8]) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    let mut rest = leaf;
    while let Ok((tag, wire)) = decode_key(&mut rest) {
        match tag {
            // Fields are in the order of their tags, the header's first.
            ..=19 => {}
            25 | 28 | 29 => return true,
            _ => return false,
        }
        if skip_field(wire, tag, &mut rest, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

impl Connection {
    pub fn backend(&self) -> Option<Backend> {
        (self.process != 0).then_some(Backend { process: self.process, started_us: self.started_us })
    }
}

impl Session {
    pub fn id(&self) -> SessionId {
        SessionId { node: NodeId(self.node), boot: BootId(self.boot), number: self.number }
    }
}

pub(super) fn code_of_effect(effect: Effect) -> u32 {
    match effect {
        Effect::Read => 1,
        Effect::Transactional => 2,
        Effect::Commit => 3,
        Effect::Lasting => 4,
    }
}

pub fn code_of_cancelled(cancelled: Cancelled) -> u32 {
    match cancelled {
        Cancelled::Idle => 1,
        Cancelled::Cancelled => 2,
        Cancelled::Pending => 3,
        Cancelled::Unknown => 4,
    }
}

pub(super) fn code_of_ended_by(by: super::EndedBy) -> u32 {
    match by {
        super::EndedBy::Client => 1,
        super::EndedBy::Upstream => 2,
        super::EndedBy::Policy => 3,
        super::EndedBy::Us => 4,
    }
}
