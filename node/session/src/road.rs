//! What a protocol's machine sees of the road: buffers, verdicts, records, errands. No sockets, no waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use domain::admission::{Attempt, Judgement, Permit};
use domain::audit::record::{Accesses, IntentVerdict};
use domain::id::{GrantId, Index, OperationId, RequestId};
use domain::operation::{Access, Execution, Operation};
use domain::policy::AskedUnder;
use domain::refusal::Refusal;
use domain::request::{Ask, STATEMENT_SHOWN_MAX};
use domain::state::State;
use domain::verdict::Verdict;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::hold::{self, Held};
use crate::metrics::meters;
use crate::outbox::Outbox;
use crate::records::{self, Basis, Ending, Ledger, Outcome};
use crate::registry::Live;
use crate::stage::Parts;
use crate::usage::Uses;

/// Who ended a session, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Client,
    Upstream,
    /// By decision: revoked, expired, refused for good.
    Policy(Refusal),
    /// The gateway cannot go on: no lease, no record, draining, or the peer broke the protocol.
    Us(Refusal),
}

/// What an errand found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The request is open; the client should be told its id while it waits.
    Requested {
        request: RequestId,
        joined: bool,
    },
    Approved {
        request: RequestId,
    },
    Spent {
        request: RequestId,
    },
    /// A quorum confirmed that the state here is the newest.
    Confirmed,
    Refused(Refusal),
}

/// One operation as it would be executed: what a verdict and a digest are about.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    pub operation: &'a Operation,
    pub statement: &'a [u8],
    /// As on the wire: formats and values.
    pub parameters: &'a [u8],
    /// Database, effective role, search path and pinned settings.
    pub context: &'a [(&'a str, &'a str)],
}

/// A verdict, without what only the record needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// By an approval that must be spent first.
    AllowByApproval {
        request: RequestId,
    },
    /// May be asked for.
    Hold {
        missing: Vec<Access>,
    },
    Refuse(Refusal),
    EndSession(Refusal),
}

/// What was decided, with what the record and a hold need of it.
#[derive(Debug, Clone)]
pub struct Judged {
    pub verdict: Decision,
    pub(crate) grants: Arc<[GrantId]>,
    pub(crate) rendered: Accesses,
    /// For the evidence; none if it was not allowed by grants.
    uses: Option<Arc<Uses>>,
    /// The active policy, and what it holds this for.
    pub(crate) under: Option<AskedUnder>,
    /// What the policy wants on record.
    pub(crate) notes: Vec<String>,
    pub id: OperationId,
    pub digest: domain::id::Digest,
}

impl Judged {
    /// Why the policy holds it, if it is the policy that does.
    pub fn held_because(&self) -> Option<&str> {
        self.under.as_ref()?.hold.as_ref().map(|hold| hold.reason.as_str())
    }
}

pub struct Road {
    /// From the client, not parsed yet.
    pub client_in: BytesMut,
    /// From the target, not parsed yet.
    pub upstream_in: BytesMut,
    /// To the target.
    pub outward: Outbox,
    /// To the client.
    pub homeward: Outbox,
    pub(crate) live: Arc<Live>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) ledger: Ledger,
    pub(crate) errand: Option<BoxFuture<'static, Answer>>,
    pub(crate) end: Option<End>,
    permit: Arc<Permit>,
    state: Arc<State>,
    hold: Duration,
    sequence: u64,
    salt_key: [u8; 16],
    /// Operations allowed before, good for `permit` only.
    allowed: VecDeque<Allowed>,
    /// Judged and queued in `outward`, not written: judged again if the permit changes.
    unforwarded: VecDeque<Unforwarded>,
    /// Of operations that have no outcome yet, oldest first.
    running: VecDeque<(u64, Arc<Uses>)>,
}

/// An operation on its way out.
struct Unforwarded {
    /// Where its bytes end.
    end: u64,
    operation: Operation,
    /// By an approval that was spent for it.
    approved: bool,
}

/// A remembered verdict, with what its records show.
struct Allowed {
    accesses: Arc<[Access]>,
    grants: Arc<[GrantId]>,
    rendered: Accesses,
    uses: Arc<Uses>,
}

/// Verdicts remembered a session; a loop repeats few statements.
const ALLOWED_MAX: usize = 16;

impl Road {
    pub(crate) fn new(live: Arc<Live>, permit: Arc<Permit>, hold: Duration, parts: Arc<Parts>) -> Self {
        let state = parts.authority.state();
        Road {
            client_in: BytesMut::new(),
            upstream_in: BytesMut::new(),
            outward: Outbox::default(),
            homeward: Outbox::default(),
            live,
            ledger: Ledger::default(),
            errand: None,
            end: None,
            permit,
            state,
            hold,
            sequence: 0,
            salt_key: identity::random::bytes(),
            allowed: VecDeque::new(),
            unforwarded: VecDeque::new(),
            running: VecDeque::new(),
            parts,
        }
    }

    /// Does the permit allow anything that writes? If not, the target is asked to enforce read-only too.
    pub fn may_write(&self) -> bool {
        self.permit.writes_allowed()
    }

    /// Must a quorum confirm the state before every operation?
    pub fn is_strict(&self) -> bool {
        self.permit.strict()
    }

    /// How long this target keeps a client waiting for a decision.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    pub fn session(&self) -> domain::id::SessionId {
        self.live.id
    }

    /// The session is over when the relay looks next.
    pub fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    pub fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    /// Decides on one operation, by the newest state this node has.
    ///
    /// # Errors
    /// When the session may not go on: its permit is over.
    pub fn judge(&mut self, tried: Tried<'_>) -> Result<Judged, Refusal> {
        self.sequence += 1;
        self.live.operations.store(self.sequence, Ordering::Relaxed);
        self.judge_as(OperationId { session: self.live.id, sequence: self.sequence }, tried)
    }

    /// Decides once more on an operation that people have approved meanwhile, before their approval is spent.
    ///
    /// # Errors
    /// As [`Road::judge`].
    pub fn judge_again(&mut self, judged: &Judged, tried: Tried<'_>) -> Result<Judged, Refusal> {
        self.judge_as(judged.id, tried)
    }

    fn judge_as(&mut self, id: OperationId, tried: Tried<'_>) -> Result<Judged, Refusal> {
        self.renew()?;
        let digest = self.execution(tried).digest();
        let accesses = &tried.operation.accesses;
        if let Some(known) = self.allowed.iter().find(|known| Arc::ptr_eq(&known.accesses, accesses)) {
            meters().allowed.increment(1);
            let (grants, rendered) = (known.grants.clone(), known.rendered.clone());
            let under = self.permit.policy().map(|policy| AskedUnder { policy, hold: None });
            let uses = Some(known.uses.clone());
            return Ok(Judged { verdict: Decision::Allow, grants, rendered, uses, under, notes: Vec::new(), id, digest });
        }
        let authority = &self.parts.authority;
        let judgement = self.permit.judge(&self.state, tried.operation, &digest, authority.now(), authority.rules());
        let Judgement { verdict, under, notes, keeps } = judgement;
        let rendered = Accesses::new(accesses);
        let mut cited: Arc<[GrantId]> = Arc::new([]);
        let mut uses = None;
        let Attempt { principal, target, .. } = &self.live.attempt;
        let verdict = match verdict {
            Verdict::Allow { grants } => {
                meters().allowed.increment(1);
                cited = grants.into();
                let used = Arc::new(Uses::new(&self.permit, accesses));
                uses = Some(used.clone());
                if keeps {
                    if self.allowed.len() == ALLOWED_MAX {
                        self.allowed.pop_front();
                    }
                    self.allowed.push_back(Allowed {
                        accesses: accesses.clone(),
                        grants: cited.clone(),
                        rendered: rendered.clone(),
                        uses: used,
                    });
                }
                Decision::Allow
            }
            Verdict::AllowByApproval { request } => {
                meters().allowed.increment(1);
                Decision::AllowByApproval { request }
            }
            Verdict::Hold { missing } => {
                meters().held.increment(1);
                self.parts.usage.denied(principal, target);
                Decision::Hold { missing }
            }
            Verdict::Refuse(refusal) => {
                meters().refused.increment(1);
                self.parts.usage.denied(principal, target);
                Decision::Refuse(refusal)
            }
            Verdict::EndSession(refusal) => {
                meters().refused.increment(1);
                Decision::EndSession(refusal)
            }
        };
        Ok(Judged { verdict, grants: cited, rendered, uses, under, notes, id, digest })
    }

    fn execution<'a>(&'a self, tried: Tried<'a>) -> Execution<'a> {
        Execution {
            principal: &self.live.attempt.principal,
            on_behalf_of: self.live.attempt.on_behalf_of.as_ref(),
            target: &self.live.attempt.target,
            cluster_incarnation: self.state.cluster.incarnation,
            statement: tried.statement,
            parameters: tried.parameters,
            context: tried.context,
            job_version: self.permit.job_version(),
            target_version: self.permit.target_version(),
            policy: self.permit.policy(),
        }
    }

    /// Brings permit and state up to date. Cheap while the state did not change.
    fn renew(&mut self) -> Result<(), Refusal> {
        let authority = &self.parts.authority;
        let state = authority.state();
        if state.applied != self.state.applied {
            if !self.permit.is_current(&state) {
                return self.readmit(state);
            }
            self.state = state;
        }
        if self.permit.is_over(authority.now()) {
            return self.readmit(authority.state());
        }
        Ok(())
    }

    /// The review once more, because something it read has changed (DESIGN §5: event-driven). What was judged and
    /// not yet forwarded must stand under the new permit too.
    fn readmit(&mut self, state: Arc<State>) -> Result<(), Refusal> {
        if let Some(refusal) = self.live.gate.shut_reason() {
            return Err(refusal);
        }
        let admission =
            self.permit.renew_by(&state, self.parts.authority.now(), |state, attempt, now| self.parts.admit(state, attempt, now))?;
        let permit = Arc::new(admission.permit.ok_or(Refusal::NoGrant)?);
        if self.permit.writes_allowed() != permit.writes_allowed() && !self.permit.writes_allowed() {
            // The session was opened read-only at the target and stays so; the next one gets more.
            tracing::debug!("the permit grew; this session stays read-only at the target");
        }
        self.allowed.clear();
        let now = self.parts.authority.now();
        let nothing = domain::id::Digest([0; 32]);
        let written = self.outward.written();
        self.unforwarded.retain(|waiting| waiting.end > written);
        for Unforwarded { operation, approved, .. } in &self.unforwarded {
            match permit.judge(&state, operation, &nothing, now, self.parts.authority.rules()).verdict {
                Verdict::Allow { .. } => {}
                // What was approved, was so under one version of the policy.
                Verdict::AllowByApproval { .. } | Verdict::Hold { .. } if *approved && permit.policy() == self.permit.policy() => {}
                Verdict::AllowByApproval { .. } | Verdict::Hold { .. } => return Err(Refusal::NotGranted { missing: Vec::new() }),
                Verdict::Refuse(refusal) | Verdict::EndSession(refusal) => return Err(refusal),
            }
        }
        self.live.gate.renew(permit.clone());
        self.permit = permit;
        self.state = state;
        Ok(())
    }

    /// The gate said the permit is out of date.
    pub(crate) fn renew_stale(&mut self) -> Result<(), Refusal> {
        let state = self.parts.authority.state();
        if self.permit.is_current(&state) && !self.permit.is_over(self.parts.authority.now()) {
            self.live.gate.renew(self.permit.clone());
            return Ok(());
        }
        self.readmit(state)
    }

    /// An operation was allowed and queued in `outward`, which now ends behind it.
    pub fn queued(&mut self, operation: &Operation, approved: bool) {
        if self.unforwarded.len() > 64 {
            let written = self.outward.written();
            self.unforwarded.retain(|waiting| waiting.end > written);
        }
        self.unforwarded.push_back(Unforwarded { end: self.outward.end(), operation: operation.clone(), approved });
    }

    /// All that was judged is with the target.
    pub(crate) fn forwarded_all(&mut self) {
        self.unforwarded.clear();
    }

    /// Puts the intent of an operation on record; the sequence is what its bytes or its response wait for.
    pub fn intent(&mut self, judged: &Judged, tried: Tried<'_>, request: Option<RequestId>) -> u64 {
        let verdict = request.map_or(IntentVerdict::Allow, |request| IntentVerdict::AllowByApproval { request });
        let sequence = self.record_intent(judged, tried, verdict);
        self.ledger.queued(sequence, Instant::now());
        if let Some(uses) = &judged.uses {
            self.running.push_back((judged.id.sequence, uses.clone()));
        }
        sequence
    }

    /// Puts on record that an operation was not allowed. Nobody waits for it: nothing happened.
    pub fn refused(&mut self, judged: &Judged, tried: Tried<'_>, refusal: &Refusal) {
        self.record_intent(judged, tried, IntentVerdict::Refused(refusal));
    }

    /// Puts on record that an operation waits for people. Nobody waits for the record.
    pub fn held_for(&mut self, judged: &Judged, tried: Tried<'_>, request: RequestId) {
        self.record_intent(judged, tried, IntentVerdict::Held { request });
    }

    fn record_intent(&mut self, judged: &Judged, tried: Tried<'_>, verdict: IntentVerdict<'_>) -> u64 {
        meters().records.increment(1);
        let basis = Basis {
            live: &self.live,
            permit: &self.permit,
            state: self.state.applied,
            accesses: &judged.rendered,
            grants: &judged.grants,
            salt_key: &self.salt_key,
        };
        records::intent(&self.parts, &basis, judged, tried, verdict)
    }

    /// Puts what became of an operation on record. Nobody waits for it.
    pub fn outcome(&mut self, id: OperationId, outcome: &Outcome) {
        records::outcome(&self.parts, &self.live, self.state.applied, id, outcome);
        if let Some(at) = self.running.iter().position(|(sequence, _)| *sequence == id.sequence)
            && let Some((_, uses)) = self.running.remove(at)
            && outcome.status != Ending::NotForwarded
        {
            self.parts.usage.used(&uses, outcome.rows);
        }
        meters().records.increment(1);
    }

    /// For the digest of a request: which index the state here is at.
    pub fn applied(&self) -> Index {
        self.state.applied
    }

    /// Operations judged so far.
    pub fn operations(&self) -> u64 {
        self.sequence
    }

    pub fn has_errand(&self) -> bool {
        self.errand.is_some()
    }

    fn held(&self, judged: &Judged) -> Held {
        Held {
            by: judged.id,
            principal: self.live.attempt.principal.clone(),
            on_behalf_of: self.live.attempt.on_behalf_of.clone(),
            target: self.live.attempt.target.clone(),
            digest: judged.digest,
        }
    }

    /// Errand: opens a request for `judged`. Answers [`Answer::Requested`].
    ///
    /// # Errors
    /// When the statement is too long to be shown to an approver whole.
    pub fn open_request(&mut self, judged: &Judged, tried: Tried<'_>, shown: Vec<String>, missing: Vec<Access>) -> Result<(), Refusal> {
        let shown_length = tried.statement.len() + shown.iter().map(String::len).sum::<usize>();
        if shown_length > STATEMENT_SHOWN_MAX {
            return Err(Refusal::StatementTooLong { limit: STATEMENT_SHOWN_MAX });
        }
        let ask = Ask::Exact {
            digest: judged.digest,
            statement: String::from_utf8_lossy(tried.statement).into_owned(),
            parameters: shown,
            context: tried.context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            missing,
            job_version: self.permit.job_version(),
            target_version: self.permit.target_version(),
            under: judged.under.clone(),
        };
        let held = match &self.live.run {
            Some(run) => format!("held in {} of run {run}", self.live.id),
            None => format!("held in {}", self.live.id),
        };
        let reason = match judged.held_because() {
            Some(because) => format!("{held}: {because}"),
            None => held,
        };
        self.errand = Some(hold::open(self.parts.authority.clone(), self.held(judged), ask, reason));
        Ok(())
    }

    /// Errand: waits for the decision on `request`. Answers [`Answer::Approved`].
    pub fn await_decision(&mut self, request: RequestId) {
        self.errand = Some(hold::decision(self.parts.authority.clone(), request, self.hold));
    }

    /// Errand: uses the approval of `request` for `judged`. Answers [`Answer::Spent`].
    pub fn spend(&mut self, judged: &Judged, request: RequestId) {
        self.errand = Some(hold::spend(self.parts.authority.clone(), self.held(judged), request));
    }

    /// The approval was spent for `judged`, and nothing of it was forwarded.
    pub fn give_back(&self, judged: &Judged, request: RequestId) {
        let task = hold::give_back(self.parts.authority.clone(), self.held(judged), request);
        self.parts.tasks.spawn(crate::tasks::Kind::Cancel, task);
    }

    /// Errand: confirms the state with a quorum. Answers [`Answer::Confirmed`].
    pub fn confirm(&mut self) {
        self.errand = Some(hold::confirm(self.parts.authority.clone()));
    }

    /// Drops the errand. What it proposed stays proposed.
    pub fn drop_errand(&mut self) {
        self.errand = None;
    }
}
