//! The audit record: one leaf of the audit log.
//!
//! Records are written by the road at the rate of operations, so they are encoded straight from borrowed values into
//! one buffer; what a statement cache knows already ([`Accesses`]) is rendered once and copied. The encoding is
//! protobuf with every field in the order of its tag and nothing written twice: equal records have equal bytes, and
//! the bytes are what the Merkle tree hashes. Reading is in [`stored`], for queries and for verification offline.

pub mod fields;
pub mod stored;
mod write;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::admission::{Cited, Outcome};
use crate::id::{BootId, Digest, GrantId, Index, Name, NodeId, PolicyId, RequestId, RevocationId, SessionId};
use crate::member::Cancelled;
use crate::operation::{Access, Effect};
use crate::refusal::Refusal;
use crate::time::LogTime;
pub use fields::{FieldValue, KIND_NAMES};
pub use stored::{Record, concerns_connections, decode};
use write::Writer;

/// The version in every record's first field.
pub const RECORD_VERSION: u32 = 1;
/// Bytes of one record, all included (DESIGN §6). Only [`StatementText`] records, on the bulk lane, are longer.
pub const RECORD_SIZE_MAX: usize = 16 * 1024;
/// Bytes of statement text in one record of the bulk lane.
pub const STATEMENT_PART_MAX: usize = 256 * 1024;
/// Bytes that remain of a statement too long for its record.
pub const STATEMENT_START_MAX: usize = 1024;
/// Bytes of rendered accesses in one record; how many more there were is said.
pub const ACCESSES_SIZE_MAX: usize = 4 * 1024;
/// Grants cited by one record; how many more there were is said.
pub const GRANTS_CITED_MAX: usize = 64;
/// Sessions listed by one enforcement; how many there were in all is said.
pub const SESSIONS_LISTED_MAX: usize = 256;
/// Notes of a policy that one record carries, each cut to [`SHORT_TEXT_MAX`].
pub const NOTES_LISTED_MAX: usize = 8;
/// Findings listed by one check of a target; how many there were in all is said.
pub const FINDINGS_LISTED_MAX: usize = 12;
/// What an admission dropped, items listed.
pub const DROPPED_LISTED_MAX: usize = 32;
/// Bytes of a reason or of another text that people wrote.
pub const REASON_SIZE_MAX: usize = 1024;
/// Bytes of a name, address, tag or application name. Longer ones are cut at a character.
pub const SHORT_TEXT_MAX: usize = 256;

/// What every record begins with: which record this is, and what the node knew when it made it.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    pub node: NodeId,
    pub boot: BootId,
    /// Place among the records of this node and boot: 1, 2, 3, … without gaps.
    pub sequence: u64,
    /// The control index this was decided at: orders records of different groups against revocations.
    pub control_index: Index,
    pub time: LogTime,
    pub session: Option<SessionId>,
    /// The run of the agent's loop, where the client named one.
    pub run: Option<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    Admission(Admission<'a>),
    Intent(Intent<'a>),
    Outcome(OperationOutcome<'a>),
    Enforcement(Enforcement<'a>),
    LateSend(LateSend),
    SessionEnd(SessionEnd<'a>),
    StatementText(StatementText<'a>),
    TargetCheck(TargetCheck<'a>),
    Connection(Connection<'a>),
    Termination(Termination<'a>),
}

/// One attempt to start a loop. Names are text: an attempt may claim what is no name.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    pub principal: &'a str,
    pub owner: Option<&'a Name>,
    pub on_behalf_of: Option<&'a str>,
    pub target: &'a str,
    pub outcome: &'a Outcome,
    pub cited: &'a Cited,
    pub client_address: &'a str,
    pub application_name: &'a str,
    /// What the policy wants on record.
    pub notes: &'a [String],
}

/// An operation, before its effect.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// Place of the operation in its session.
    pub operation: u64,
    pub principal: &'a Name,
    pub on_behalf_of: Option<&'a Name>,
    pub target: &'a Name,
    pub tag: &'a str,
    pub effect: Effect,
    pub accesses: &'a Accesses,
    pub verdict: IntentVerdict<'a>,
    pub grants: &'a [GrantId],
    pub job_version: Option<Index>,
    pub target_version: Index,
    /// What an approval would be bound to ([`crate::operation::Execution::digest`]).
    pub digest: Option<&'a Digest>,
    pub statement: &'a [u8],
    /// Salt of the hash that stands for a statement too long for the record. Random, one a statement: without it the
    /// hash would give away whether a guessed statement is the recorded one.
    pub salt: &'a [u8; 16],
    /// [`salted_hash`] of the bound parameters.
    pub parameters: Option<&'a Digest>,
    /// The policy it was judged by, and what that wants on record.
    pub policy: Option<PolicyId>,
    pub notes: &'a [String],
}

#[derive(Debug, Clone, Copy)]
pub enum IntentVerdict<'a> {
    Allow,
    AllowByApproval { request: RequestId },
    Held { request: RequestId },
    Refused(&'a Refusal),
    EndSession(&'a Refusal),
}

/// What became of an operation.
#[derive(Debug, Clone, Copy)]
pub struct OperationOutcome<'a> {
    pub operation: u64,
    pub status: Status<'a>,
    /// Rows sent to the client or changed at the target, as the target counted them.
    pub rows: u64,
    /// Bytes of the response.
    pub bytes: u64,
    pub duration_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status<'a> {
    Ok,
    /// The target's own error code; for PostgreSQL five characters.
    Error {
        code: &'a str,
    },
    /// Forwarded, and the answer lost.
    Unknown,
    /// Certainly never forwarded.
    NotForwarded,
}

/// This node enforces a revocation from here on.
#[derive(Debug, Clone, Copy)]
pub struct Enforcement<'a> {
    pub revocation: RevocationId,
    pub enforced: Index,
    pub ended: &'a [(SessionId, Cancelled)],
}

/// Bytes left for the target after the lease had ended; the connection was reset.
#[derive(Debug, Clone, Copy)]
pub struct LateSend {
    pub operation: u64,
    pub late_us: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct SessionEnd<'a> {
    pub by: EndedBy,
    pub reason: &'a str,
    pub operations: u64,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    Client,
    Upstream,
    Policy,
    Us,
}

/// On the bulk lane, before its intent: text of a statement too long for a record. Parts have rising offsets.
#[derive(Debug, Clone, Copy)]
pub struct StatementText<'a> {
    pub operation: u64,
    pub salt: &'a [u8; 16],
    pub length: u64,
    pub offset: u64,
    /// At most [`STATEMENT_PART_MAX`] bytes.
    pub part: &'a [u8],
}

/// What an operator was told about a target, and about what goes round the gateway there.
#[derive(Debug, Clone, Copy)]
pub struct TargetCheck<'a> {
    pub principal: &'a Name,
    pub target: &'a Name,
    pub reachable: bool,
    /// A finding a line: severity, code, words.
    pub findings: &'a [String],
}

/// Which process of the target serves a session. It is queued before the session's first intent, so whoever sees one
/// of those knows it: another node can end what this one left behind.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    pub principal: &'a Name,
    pub on_behalf_of: Option<&'a Name>,
    pub target: &'a Name,
    /// The login name at the target.
    pub role: &'a str,
    /// `None` where the target cannot be told which session to end: a pooler is in between, or it does not say.
    pub backend: Option<Backend>,
}

/// A process of the target, told apart from one that had or will have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub process: u32,
    /// When it began by the target's own clock, microseconds since 1970.
    pub started_us: u64,
}

/// What a node ended at a target in the place of a member that left the serving set and said nothing more.
#[derive(Debug, Clone, Copy)]
pub struct Termination<'a> {
    pub member: NodeId,
    /// The entry that took the member out.
    pub left: Index,
    pub target: &'a Name,
    /// What it ran: [`Cancelled::Unknown`] where that is not known, or could not be ended.
    pub ended: &'a [(SessionId, Cancelled)],
}

/// The feature level from which every release can read [`Connection`] and [`Termination`].
pub const CONNECTION_FEATURE_LEVEL: u32 = 4;

/// The accesses of an operation as a record shows them: rendered once, shared by every record that cites them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accesses {
    /// The encoded fields, tags included, at most [`ACCESSES_SIZE_MAX`] bytes.
    encoded: Arc<[u8]>,
    left_out: u32,
}

impl Accesses {
    pub fn new(accesses: &[Access]) -> Self {
        let mut encoded = Vec::new();
        let mut written = 0;
        let mut text = String::new();
        for access in accesses {
            use std::fmt::Write as _;
            text.clear();
            write!(text, "{access}").expect("writing to a string does not fail");
            let before = encoded.len();
            Writer::new(&mut encoded).text(tag::INTENT_ACCESSES, &text);
            if encoded.len() > ACCESSES_SIZE_MAX {
                encoded.truncate(before);
                break;
            }
            written += 1;
        }
        let left_out = u32::try_from(accesses.len() - written).unwrap_or(u32::MAX);
        Accesses { encoded: encoded.into(), left_out }
    }
}

/// SHA-256 over salt and bytes.
pub fn salted_hash(salt: &[u8; 16], bytes: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(bytes);
    Digest(hash.finalize().into())
}

/// Tags that more than one function uses. All tags are listed in [`stored`].
mod tag {
    pub(super) const INTENT_ACCESSES: u32 = 7;
    pub(super) const ADMISSION: u32 = 20;
    pub(super) const INTENT: u32 = 21;
    pub(super) const OUTCOME: u32 = 22;
    pub(super) const ENFORCEMENT: u32 = 23;
    pub(super) const LATE_SEND: u32 = 24;
    pub(super) const SESSION_END: u32 = 25;
    pub(super) const STATEMENT_TEXT: u32 = 26;
    pub(super) const TARGET_CHECK: u32 = 27;
    pub(super) const CONNECTION: u32 = 28;
    pub(super) const TERMINATION: u32 = 29;
}

/// The canonical bytes of a record.
pub fn encode(header: &Header<'_>, event: &Event<'_>) -> Vec<u8> {
    let statement = match event {
        Event::Intent(intent) => intent.statement.len().min(RECORD_SIZE_MAX),
        Event::StatementText(text) => text.part.len(),
        Event::Admission(_)
        | Event::Outcome(_)
        | Event::Enforcement(_)
        | Event::LateSend(_)
        | Event::SessionEnd(_)
        | Event::TargetCheck(_)
        | Event::Connection(_)
        | Event::Termination(_) => 0,
    };
    let mut bytes = Vec::with_capacity(512 + statement);
    let mut out = Writer::new(&mut bytes);
    out.number(1, RECORD_VERSION.into());
    out.number(2, header.node.0);
    out.fixed(3, header.boot.0);
    out.number(4, header.sequence);
    out.number(5, header.control_index.0);
    out.number(6, header.time.0);
    if let Some(session) = header.session {
        out.message(7, |out| encode_session(out, &session));
    }
    out.short(8, header.run.unwrap_or_default());
    match event {
        Event::Admission(admission) => out.message(tag::ADMISSION, |out| encode_admission(out, admission)),
        Event::Intent(intent) => out.message(tag::INTENT, |out| encode_intent(out, intent)),
        Event::Outcome(outcome) => out.message(tag::OUTCOME, |out| encode_outcome(out, outcome)),
        Event::Enforcement(enforcement) => out.message(tag::ENFORCEMENT, |out| encode_enforcement(out, enforcement)),
        Event::LateSend(late) => out.message(tag::LATE_SEND, |out| {
            out.number(1, late.operation);
            out.number(2, late.late_us);
        }),
        Event::SessionEnd(end) => out.message(tag::SESSION_END, |out| {
            out.number(1, stored::code_of_ended_by(end.by).into());
            out.cut(2, end.reason, REASON_SIZE_MAX);
            out.number(3, end.operations);
        }),
        Event::StatementText(text) => out.message(tag::STATEMENT_TEXT, |out| encode_statement_text(out, text)),
        Event::TargetCheck(check) => out.message(tag::TARGET_CHECK, |out| encode_target_check(out, check)),
        Event::Connection(connection) => out.message(tag::CONNECTION, |out| encode_connection(out, connection)),
        Event::Termination(termination) => out.message(tag::TERMINATION, |out| encode_termination(out, termination)),
    }
    bytes
}

fn encode_session(out: &mut Writer<'_>, session: &SessionId) {
    out.number(1, session.node.0);
    out.fixed(2, session.boot.0);
    out.number(3, session.number);
}

fn encode_admission(out: &mut Writer<'_>, admission: &Admission<'_>) {
    out.short(1, admission.principal);
    out.short(2, admission.owner.map_or("", Name::as_str));
    out.short(3, admission.on_behalf_of.unwrap_or_default());
    out.short(4, admission.target);
    let (code, dropped, refusal): (u32, &[String], Option<&Refusal>) = match admission.outcome {
        Outcome::Approved => (1, &[], None),
        Outcome::Modified { dropped } => (2, dropped, None),
        Outcome::Revoked(refusal) => (3, &[], Some(refusal)),
    };
    out.number(5, code.into());
    for item in dropped.iter().take(DROPPED_LISTED_MAX) {
        out.text(6, write::cut(item, SHORT_TEXT_MAX));
    }
    out.number(7, dropped.len().saturating_sub(DROPPED_LISTED_MAX) as u64);
    if let Some(refusal) = refusal {
        out.message(8, |out| encode_refusal(out, refusal));
    }
    out.message(9, |out| encode_cited(out, admission.cited));
    out.short(10, admission.client_address);
    out.short(11, admission.application_name);
    encode_notes(out, 12, admission.notes);
}

fn encode_notes(out: &mut Writer<'_>, tag: u32, notes: &[String]) {
    for note in notes.iter().take(NOTES_LISTED_MAX) {
        out.text(tag, write::cut(note, SHORT_TEXT_MAX));
    }
}

fn encode_cited(out: &mut Writer<'_>, cited: &Cited) {
    out.number(1, cited.state.0);
    out.number(2, cited.principal.0);
    out.optional(3, cited.owner.map(|v| v.0));
    out.number(4, cited.target.0);
    out.optional(5, cited.job.map(|v| v.0));
    for (grant, version) in cited.grants.iter().take(GRANTS_CITED_MAX) {
        out.message(6, |out| {
            out.number(1, grant.0);
            out.number(2, version.0);
        });
    }
    out.number(7, cited.grants.len().saturating_sub(GRANTS_CITED_MAX) as u64);
    out.optional(8, cited.policy.map(|p| p.0));
}

fn encode_refusal(out: &mut Writer<'_>, refusal: &Refusal) {
    out.short(1, refusal.code());
    out.cut(2, &refusal.detail(), REASON_SIZE_MAX);
}

fn encode_intent(out: &mut Writer<'_>, intent: &Intent<'_>) {
    out.number(1, intent.operation);
    out.short(2, intent.principal.as_str());
    out.short(3, intent.on_behalf_of.map_or("", Name::as_str));
    out.short(4, intent.target.as_str());
    out.short(5, intent.tag);
    out.number(6, stored::code_of_effect(intent.effect).into());
    out.raw(&intent.accesses.encoded);
    out.number(8, intent.accesses.left_out.into());
    let (code, request, refusal) = match intent.verdict {
        IntentVerdict::Allow => (1, None, None),
        IntentVerdict::AllowByApproval { request } => (2, Some(request), None),
        IntentVerdict::Held { request } => (3, Some(request), None),
        IntentVerdict::Refused(refusal) => (4, None, Some(refusal)),
        IntentVerdict::EndSession(refusal) => (5, None, Some(refusal)),
    };
    out.number(9, code);
    out.optional(10, request.map(|r| r.0));
    if let Some(refusal) = refusal {
        out.message(11, |out| encode_refusal(out, refusal));
    }
    for grant in intent.grants.iter().take(GRANTS_CITED_MAX) {
        out.element(12, grant.0);
    }
    out.number(13, intent.grants.len().saturating_sub(GRANTS_CITED_MAX) as u64);
    out.optional(14, intent.job_version.map(|v| v.0));
    out.number(15, intent.target_version.0);
    out.bytes(16, intent.digest.map_or(&[][..], |d| &d.0));
    out.bytes(17, intent.parameters.map_or(&[][..], |d| &d.0));
    encode_statement(out, intent);
}

/// The statement gets what room is left; only the policy stands behind it. Too long, its hash, its length and its beginning stand for it.
fn encode_statement(out: &mut Writer<'_>, intent: &Intent<'_>) {
    /// Tag and length of the statement, and the longest length of the message around it.
    const AROUND: usize = 8;
    /// Tag and length of a note, tag and number of the policy.
    const AROUND_NOTE: usize = 4;
    const POLICY: usize = 12;
    let notes: usize = intent.notes.iter().take(NOTES_LISTED_MAX).map(|note| note.len().min(SHORT_TEXT_MAX) + AROUND_NOTE).sum();
    let behind = if intent.policy.is_some() { POLICY + notes } else { 0 };
    if out.written() + intent.statement.len() + AROUND + behind <= RECORD_SIZE_MAX {
        out.bytes(18, intent.statement);
    } else {
        out.bytes(19, &salted_hash(intent.salt, intent.statement).0);
        out.number(20, intent.statement.len() as u64);
        out.bytes(21, &intent.statement[..intent.statement.len().min(STATEMENT_START_MAX)]);
    }
    if let Some(policy) = intent.policy {
        out.number(22, policy.0);
        encode_notes(out, 23, intent.notes);
    }
}

fn encode_outcome(out: &mut Writer<'_>, outcome: &OperationOutcome<'_>) {
    out.number(1, outcome.operation);
    let (code, error) = match outcome.status {
        Status::Ok => (1, ""),
        Status::Error { code } => (2, code),
        Status::Unknown => (3, ""),
        Status::NotForwarded => (4, ""),
    };
    out.number(2, code);
    out.short(3, error);
    out.number(4, outcome.rows);
    out.number(5, outcome.bytes);
    out.number(6, outcome.duration_us);
}

fn encode_enforcement(out: &mut Writer<'_>, enforcement: &Enforcement<'_>) {
    out.number(1, enforcement.revocation.0);
    out.number(2, enforcement.enforced.0);
    encode_ended(out, 3, enforcement.ended);
    out.number(4, enforcement.ended.len() as u64);
}

fn encode_ended(out: &mut Writer<'_>, tag: u32, ended: &[(SessionId, Cancelled)]) {
    for (session, cancelled) in ended.iter().take(SESSIONS_LISTED_MAX) {
        out.message(tag, |out| {
            out.message(1, |out| encode_session(out, session));
            out.number(2, stored::code_of_cancelled(*cancelled).into());
        });
    }
}

fn encode_connection(out: &mut Writer<'_>, connection: &Connection<'_>) {
    out.short(1, connection.principal.as_str());
    out.short(2, connection.on_behalf_of.map_or("", Name::as_str));
    out.short(3, connection.target.as_str());
    out.short(4, connection.role);
    out.number(5, connection.backend.map_or(0, |backend| backend.process).into());
    out.number(6, connection.backend.map_or(0, |backend| backend.started_us));
}

fn encode_termination(out: &mut Writer<'_>, termination: &Termination<'_>) {
    out.number(1, termination.member.0);
    out.number(2, termination.left.0);
    out.short(3, termination.target.as_str());
    encode_ended(out, 4, termination.ended);
    out.number(5, termination.ended.len() as u64);
}

fn encode_statement_text(out: &mut Writer<'_>, text: &StatementText<'_>) {
    out.number(1, text.operation);
    out.bytes(2, text.salt);
    out.number(3, text.length);
    out.number(4, text.offset);
    out.bytes(5, &text.part[..text.part.len().min(STATEMENT_PART_MAX)]);
}

fn encode_target_check(out: &mut Writer<'_>, check: &TargetCheck<'_>) {
    out.short(1, check.principal.as_str());
    out.short(2, check.target.as_str());
    out.number(3, check.reachable.into());
    for finding in check.findings.iter().take(FINDINGS_LISTED_MAX) {
        out.text(4, write::cut(finding, REASON_SIZE_MAX));
    }
    out.number(5, check.findings.len() as u64);
}

#[cfg(test)]
mod tests;
