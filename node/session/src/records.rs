//! What the road puts on record, and waiting for it (DESIGN §6).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::admission::{Admission, Attempt, Cited, Outcome as AdmissionOutcome, Permit};
use domain::audit::record::{
    self, Accesses, Backend, CONNECTION_FEATURE_LEVEL, EndedBy, Event, Header, Intent, IntentVerdict, LateSend, OperationOutcome,
    RECORD_SIZE_MAX, STATEMENT_PART_MAX, SessionEnd, StatementText, Status,
};
use domain::id::{GrantId, Index, OperationId, RunId, SessionId};
use domain::refusal::Refusal;
use tokio::time::Instant;

use crate::authority::Authority;
use crate::protocol::Claim;
use crate::registry::Live;
use crate::road::{End, Judged, Tried};
use crate::stage::Parts;

/// Statements up to this many bytes stand in their intent whole. The rest of [`RECORD_SIZE_MAX`] is for names,
/// accesses and versions.
const STATEMENT_INLINE_MAX: usize = RECORD_SIZE_MAX / 2;

/// What became of an operation, for the record.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub status: Ending,
    pub rows: u64,
    pub bytes: u64,
    pub duration: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Ok,
    /// The target's own error code.
    Error(String),
    /// Forwarded, and the answer lost.
    Unknown,
    /// Certainly never forwarded.
    NotForwarded,
}

/// The intents of one session that may not be committed yet, oldest first.
#[derive(Debug, Default)]
pub struct Ledger {
    pending: VecDeque<(u64, Instant)>,
}

impl Ledger {
    pub(crate) fn queued(&mut self, sequence: u64, at: Instant) {
        self.pending.push_back((sequence, at));
    }

    /// Records through `through` are committed. How long the newest of them took, if any is news.
    pub(crate) fn committed(&mut self, through: u64, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let mut since = None;
        while let Some((_, at)) = self.pending.front().filter(|(sequence, _)| *sequence <= through) {
            since = Some(*at);
            self.pending.pop_front();
        }
        since.map(|at| now().saturating_duration_since(at))
    }

    pub(crate) fn is_waiting(&self, through: u64) -> bool {
        self.pending.back().is_some_and(|(sequence, _)| *sequence > through)
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|(_, at)| *at)
    }

    /// What these records were for was given up.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
    }
}

/// Waits until records through `sequence` are committed by a quorum.
///
/// # Errors
/// [`Refusal::NotRecorded`] when that takes longer than `within`.
pub(crate) async fn committed(authority: &dyn Authority, sequence: u64, within: Duration) -> Result<(), Refusal> {
    let mut recorded = authority.recorded();
    match tokio::time::timeout(within, recorded.wait_for(|r| r.through >= sequence)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Refusal::NotRecorded),
    }
}

/// Which process of the target serves the session. Nobody waits for this one: records are committed in their order, so
/// no intent of the session is on record before it.
pub(crate) fn connection(parts: &Parts, live: &Live, role: &str, backend: Option<Backend>) {
    if parts.authority.state().cluster.feature_level < CONNECTION_FEATURE_LEVEL {
        return;
    }
    let Attempt { principal, on_behalf_of, target, .. } = &live.attempt;
    let event = Event::Connection(record::Connection { principal, on_behalf_of: on_behalf_of.as_ref(), target, role, backend });
    queue(parts, live.gate.permit().admitted_at(), Of::live(live), &event);
}

/// What this node ended at a target in the place of another.
pub fn termination(parts: &Parts, termination: record::Termination<'_>) {
    queue(parts, parts.authority.state().applied, Of::NODE, &Event::Termination(termination));
}

/// Whose record it is: a session's, and the run it belongs to.
#[derive(Clone, Copy)]
struct Of<'a> {
    session: Option<SessionId>,
    run: Option<&'a RunId>,
}

impl<'a> Of<'a> {
    const NODE: Of<'static> = Of { session: None, run: None };

    fn live(live: &'a Live) -> Of<'a> {
        Of { session: Some(live.id), run: live.run.as_ref() }
    }
}

fn queue(parts: &Parts, control_index: Index, of: Of<'_>, event: &Event<'_>) -> u64 {
    let authority = &parts.authority;
    let (node, boot, time) = (authority.node(), authority.boot(), authority.now());
    let (session, run) = (of.session, of.run.map(RunId::as_str));
    let mut encode = |sequence| record::encode(&Header { node, boot, sequence, control_index, time, session, run }, event);
    let sequence = if is_awaited(event) { authority.record(&mut encode) } else { authority.record_unawaited(&mut encode) };
    parts.registry.used_sequence(sequence);
    sequence
}

/// Does anything wait until this is committed?
fn is_awaited(event: &Event<'_>) -> bool {
    match event {
        Event::Admission(_) => true,
        Event::Intent(intent) => matches!(intent.verdict, IntentVerdict::Allow | IntentVerdict::AllowByApproval { .. }),
        // The intent it belongs to comes next.
        Event::StatementText(_) => false,
        Event::Outcome(_) | Event::SessionEnd(_) | Event::LateSend(_) | Event::Enforcement(_) | Event::TargetCheck(_) => false,
        // The session's first intent comes later, and waits.
        Event::Connection(_) | Event::Termination(_) => false,
    }
}

/// The outcome of a review at the door.
pub(crate) fn admission(parts: &Parts, attempt: &Attempt, admission: &Admission, claim: &Claim, peer: &str) -> u64 {
    let state = parts.authority.state();
    let owner = state.principals.get(&attempt.principal).and_then(|p| match &p.kind {
        domain::principal::PrincipalKind::Agent { owner, .. } => Some(owner),
        domain::principal::PrincipalKind::Person { .. } => None,
    });
    let event = Event::Admission(record::Admission {
        principal: attempt.principal.as_str(),
        owner,
        on_behalf_of: attempt.on_behalf_of.as_ref().map(|n| n.as_str()),
        target: attempt.target.as_str(),
        outcome: &admission.outcome,
        cited: &admission.cited,
        client_address: peer,
        application_name: &claim.application,
        notes: &admission.notes,
    });
    queue(parts, admission.cited.state, Of { session: Some(attempt.session), run: claim.run.as_ref() }, &event)
}

/// Somebody claimed to be somebody and could not prove it. Claims that name nobody are not worth a record: anybody
/// could fill the log with them; they are counted.
pub(crate) fn turned_away(parts: &Parts, claim: Option<&Claim>, refusal: &Refusal, peer: &str) {
    let Some(claim) = claim else { return };
    let state = parts.authority.state();
    if !state.principals.contains_key(&claim.principal) {
        return;
    }
    let cited = Cited { state: state.applied, ..Cited::default() };
    let outcome = AdmissionOutcome::Revoked(refusal.clone());
    let event = Event::Admission(record::Admission {
        principal: claim.principal.as_str(),
        owner: None,
        on_behalf_of: claim.on_behalf_of.as_ref().map(|n| n.as_str()),
        target: claim.target.as_str(),
        outcome: &outcome,
        cited: &cited,
        client_address: peer,
        application_name: &claim.application,
        notes: &[],
    });
    queue(parts, state.applied, Of { session: None, run: claim.run.as_ref() }, &event);
}

/// What an intent cites beside the operation itself.
pub(crate) struct Basis<'a> {
    pub(crate) live: &'a Arc<Live>,
    pub(crate) permit: &'a Permit,
    pub(crate) state: Index,
    pub(crate) accesses: &'a Accesses,
    pub(crate) grants: &'a [GrantId],
    /// Random, one a session, known to nobody else.
    pub(crate) salt_key: &'a [u8; 16],
}

impl Basis<'_> {
    /// One statement's salt. Derived one way, so that a salt on record tells nothing of the others, and drawing from
    /// the system once a session is enough.
    fn salt(&self, operation: u64) -> [u8; 16] {
        let mut salt = [0; 16];
        salt.copy_from_slice(&record::salted_hash(self.salt_key, &operation.to_be_bytes()).0[..16]);
        salt
    }
}

/// An operation, before its effect. A statement too long for the record goes before it, in parts.
pub(crate) fn intent(parts: &Parts, basis: &Basis<'_>, judged: &Judged, tried: Tried<'_>, verdict: IntentVerdict<'_>) -> u64 {
    let of = Of::live(basis.live);
    let is_long = tried.statement.len() > STATEMENT_INLINE_MAX;
    let salt = if is_long || !tried.parameters.is_empty() { basis.salt(judged.id.sequence) } else { [0; 16] };
    let parameters = (!tried.parameters.is_empty()).then(|| record::salted_hash(&salt, tried.parameters));
    if is_long {
        for (index, part) in tried.statement.chunks(STATEMENT_PART_MAX).enumerate() {
            let text = StatementText {
                operation: judged.id.sequence,
                salt: &salt,
                length: tried.statement.len() as u64,
                offset: (index * STATEMENT_PART_MAX) as u64,
                part,
            };
            queue(parts, basis.state, of, &Event::StatementText(text));
        }
    }
    let event = Event::Intent(Intent {
        operation: judged.id.sequence,
        principal: &basis.live.attempt.principal,
        on_behalf_of: basis.live.attempt.on_behalf_of.as_ref(),
        target: &basis.live.attempt.target,
        tag: &tried.operation.tag,
        effect: tried.operation.effect,
        accesses: basis.accesses,
        verdict,
        grants: basis.grants,
        job_version: basis.permit.job_version(),
        target_version: basis.permit.target_version(),
        digest: Some(&judged.digest),
        statement: tried.statement,
        salt: &salt,
        parameters: parameters.as_ref(),
        policy: basis.permit.policy(),
        notes: &judged.notes,
    });
    queue(parts, basis.state, of, &event)
}

pub(crate) fn outcome(parts: &Parts, live: &Live, control_index: Index, id: OperationId, outcome: &Outcome) {
    let status = match &outcome.status {
        Ending::Ok => Status::Ok,
        Ending::Error(code) => Status::Error { code },
        Ending::Unknown => Status::Unknown,
        Ending::NotForwarded => Status::NotForwarded,
    };
    let event = Event::Outcome(OperationOutcome {
        operation: id.sequence,
        status,
        rows: outcome.rows,
        bytes: outcome.bytes,
        duration_us: u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX),
    });
    queue(parts, control_index, Of::live(live), &event);
}

/// Bytes left for the target, and `late` after the lease was over the write was done.
pub(crate) fn late_send(parts: &Parts, live: &Live, operation: u64, late: Duration) {
    let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
    let event = Event::LateSend(LateSend { operation, late_us });
    queue(parts, parts.authority.state().applied, Of::live(live), &event);
}

pub(crate) fn session_end(parts: &Parts, live: &Live, end: &End, operations: u64) {
    let (by, reason) = match end {
        End::Client => (EndedBy::Client, String::new()),
        End::Upstream => (EndedBy::Upstream, String::new()),
        End::Policy(refusal) => (EndedBy::Policy, refusal.to_string()),
        End::Us(refusal) => (EndedBy::Us, refusal.to_string()),
    };
    let event = Event::SessionEnd(SessionEnd { by, reason: &reason, operations });
    queue(parts, parts.authority.state().applied, Of::live(live), &event);
}

/// This node enforces what ended sessions: on record, a record a revocation, so that an auditor finds which operations
/// came before. What became of work at the target is as known now; the receipt tells it later.
pub fn enforcement(parts: &Parts, report: &crate::registry::EnforceReport) {
    for (revocation, ended) in report.to_record() {
        let event = Event::Enforcement(record::Enforcement { revocation, enforced: report.enforced, ended: &ended });
        queue(parts, report.enforced, Of::NODE, &event);
    }
}

/// What somebody was told about a target, on record. Queued, not waited for: nothing happens because of it.
pub fn target_check(parts: &Parts, check: record::TargetCheck<'_>) {
    queue(parts, parts.authority.state().applied, Of::NODE, &Event::TargetCheck(check));
}
