//! From a statement to its verdict, and from a verdict to bytes on their way. The message stays at hand until then, so
//! every step that has to wait is simply taken again, with [`Step`] saying how far it got.
//!
//! ```text
//!  Fresh ──(strict)──► Confirming ──► Confirmed ─┐
//!    └───────────────────────────────────────────┴─► judge ─► allow ─────────────────────► forward
//!                         by approval ─► Spending ─► Spent ──────────────────────────────► forward
//!                         hold ─► Opening ─► Held ─► Waiting ─► Approved ─► judge ─► Spending ─► …
//!                                   └─(in a transaction)─► Refused ──────────────────────► error
//! ```

use std::sync::Arc;

use ::session::outbox::NEVER;
use ::session::road::{Answer, Decision, End, Judged, Road, Tried};
use bytes::BytesMut;
use domain::id::RequestId;
use domain::operation::{Effect, Operation};
use domain::refusal::Refusal;

use super::Session;
use super::client::shown;
use super::pipeline::{Expect, Running, is_remarkable};
use crate::codec::fields::{Response, Severity};
use crate::codec::{Frame, TransactionStatus};
use crate::operation::{Classified, TransactionStep};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Done,
    /// Take the same message again when something has changed.
    Wait,
}

/// A statement that would execute now.
pub(super) struct Statement<'a> {
    pub(super) operation: Operation,
    pub(super) classified: Option<Arc<Classified>>,
    pub(super) text: &'a [u8],
    pub(super) parameters: &'a [u8],
    /// A Query or FunctionCall, which ends with ReadyForQuery.
    pub(super) simple: bool,
}

/// How far the statement at hand got.
#[derive(Debug, Default)]
pub(super) enum Step {
    #[default]
    Fresh,
    Confirming,
    Confirmed,
    Opening {
        judged: Box<Judged>,
        in_transaction: bool,
    },
    /// For people, which is still to be put on record.
    Held {
        judged: Box<Judged>,
        request: RequestId,
    },
    Waiting {
        judged: Box<Judged>,
    },
    /// By people. What was judged when it was held may be refused by now.
    Approved {
        judged: Box<Judged>,
        request: RequestId,
    },
    Spending {
        judged: Box<Judged>,
        cancelled: bool,
    },
    Spent {
        judged: Box<Judged>,
        request: RequestId,
    },
    Refused {
        judged: Option<Box<Judged>>,
        refusal: Refusal,
    },
    /// By the client itself.
    Cancelled,
}

impl Session {
    /// Judges, and forwards or refuses.
    pub(super) fn run(&mut self, statement: Statement<'_>, frame: &Frame, road: &mut Road) -> Flow {
        let bound = self.known.bound();
        let tried = Tried { operation: &statement.operation, statement: statement.text, parameters: statement.parameters, context: &bound };
        let judged = match std::mem::take(&mut self.step) {
            Step::Fresh if road.is_strict() => {
                self.step = Step::Confirming;
                road.confirm();
                return Flow::Wait;
            }
            Step::Fresh | Step::Confirmed => match road.judge(tried) {
                Ok(judged) => judged,
                Err(refusal) => {
                    road.end(End::Policy(refusal));
                    return Flow::Done;
                }
            },
            Step::Approved { judged, request } => match road.judge_again(&judged, tried) {
                Ok(mut again) => {
                    if matches!(again.verdict, Decision::Hold { .. }) {
                        let reason = "its approval was used by another identical operation, or no longer fits".to_owned();
                        again.verdict = Decision::Refuse(Refusal::Denied { request, reason });
                    }
                    again
                }
                Err(refusal) => {
                    road.end(End::Policy(refusal));
                    return Flow::Done;
                }
            },
            Step::Spent { judged, request } => {
                drop(bound);
                self.forward(&statement, *judged, Some(request), frame, road);
                return Flow::Done;
            }
            Step::Refused { judged, refusal } => {
                if let Some(judged) = judged {
                    road.refused(&judged, tried, &refusal);
                }
                drop(bound);
                self.refuse(statement.simple, &crate::refusal::error(&refusal), road);
                return Flow::Done;
            }
            Step::Cancelled => {
                drop(bound);
                self.refuse(statement.simple, &cancelled(), road);
                return Flow::Done;
            }
            Step::Held { judged, request } => {
                road.held_for(&judged, tried, request);
                road.await_decision(request);
                self.step = Step::Waiting { judged };
                return Flow::Wait;
            }
            // An errand is out: whoever called did not look.
            waiting @ (Step::Confirming | Step::Opening { .. } | Step::Waiting { .. } | Step::Spending { .. }) => {
                self.step = waiting;
                return Flow::Wait;
            }
        };
        if let Some(refusal) = self.pinned(&statement) {
            road.refused(&judged, tried, &refusal);
            drop(bound);
            self.refuse(statement.simple, &crate::refusal::error(&refusal), road);
            return Flow::Done;
        }
        match judged.verdict.clone() {
            Decision::Allow => {
                drop(bound);
                self.forward(&statement, judged, None, frame, road);
                Flow::Done
            }
            Decision::AllowByApproval { request } => {
                road.outward.tie(NEVER);
                road.spend(&judged, request);
                self.step = Step::Spending { judged: Box::new(judged), cancelled: false };
                Flow::Wait
            }
            Decision::Hold { missing } => {
                let in_transaction = self.is_in_transaction();
                if !in_transaction && self.pipeline.has_earlier() {
                    // What was sent before is answered first: nobody else waits for people.
                    return Flow::Wait;
                }
                match road.open_request(&judged, tried, shown(statement.parameters), missing) {
                    Ok(()) => {
                        road.outward.tie(NEVER);
                        self.step = Step::Opening { judged: Box::new(judged), in_transaction };
                        Flow::Wait
                    }
                    Err(refusal) => {
                        road.refused(&judged, tried, &refusal);
                        drop(bound);
                        self.refuse(statement.simple, &crate::refusal::error(&refusal), road);
                        Flow::Done
                    }
                }
            }
            Decision::Refuse(refusal) => {
                road.refused(&judged, tried, &refusal);
                drop(bound);
                self.refuse(statement.simple, &crate::refusal::error(&refusal), road);
                Flow::Done
            }
            Decision::EndSession(refusal) => {
                road.refused(&judged, tried, &refusal);
                road.end(End::Policy(refusal));
                Flow::Done
            }
        }
    }

    fn refuse(&mut self, simple: bool, response: &Response, road: &mut Road) {
        if simple {
            self.refuse_query(response, road);
        } else {
            self.refuse_extended(response, road);
        }
    }

    /// What no grant can allow: text that cannot be read, pinned settings, writing again where the server was told to
    /// enforce read-only.
    fn pinned(&self, statement: &Statement<'_>) -> Option<Refusal> {
        let classified = statement.classified.as_ref()?;
        if let Some(message) = &classified.unparseable {
            return Some(Refusal::Unparseable { message: message.to_string() });
        }
        if let Some(change) = classified.broken_pin() {
            return Some(Refusal::Pinned { setting: change.name.to_string() });
        }
        let writes = |step: &TransactionStep| {
            matches!(step, TransactionStep::Begin { read_only: Some(false) } | TransactionStep::Mode { read_only: Some(false) | None })
        };
        let named = |name: &str| name == "default_transaction_read_only" || name == "transaction_read_only";
        let loosens = classified.transaction().any(writes) || classified.settings().any(|change| named(&change.name));
        (self.read_only_session && loosens).then(|| Refusal::Pinned { setting: "transaction_read_only".to_owned() })
    }

    /// Locks would wait for people: an explicit transaction, or an implicit one that has done something.
    fn is_in_transaction(&self) -> bool {
        self.status != TransactionStatus::Idle || self.pipeline.may_begin() || self.run_since_sync
    }

    /// Allowed: on record, and on its way as soon as its class permits (DESIGN §6).
    fn forward(&mut self, statement: &Statement<'_>, judged: Judged, request: Option<RequestId>, frame: &Frame, road: &mut Road) {
        let bound = self.known.bound();
        let tried = Tried { operation: &statement.operation, statement: statement.text, parameters: statement.parameters, context: &bound };
        let intent = road.intent(&judged, tried, request);
        drop(bound);
        let need = if self.goes_ahead(statement) { 0 } else { intent };
        road.outward.settle(need);
        road.outward.tie(need);
        let begins_at = road.outward.end();
        road.outward.push(&frame.bytes, need);
        road.queued(&statement.operation, request.is_some());
        let remarkable = statement.classified.as_ref().filter(|c| is_remarkable(c)).cloned();
        if remarkable.as_ref().is_some_and(|c| c.transaction().any(|step| matches!(step, TransactionStep::Mode { .. }))) {
            self.read_only_transaction = false;
        }
        if statement.simple {
            self.syncs_sent += 1;
        }
        let running = Running {
            id: judged.id,
            intent,
            since: Session::now(),
            begins_at,
            sync: self.syncs_sent,
            rows: 0,
            bytes: 0,
            failed: None,
            classified: remarkable,
            approved_by: request.map(|request| Box::new((judged, request))),
        };
        if statement.simple {
            self.names.simple_query();
            self.group_open = false;
            self.run_since_sync = false;
            self.pipeline.push(Expect::Query(running));
        } else {
            self.group_open = true;
            self.run_since_sync = true;
            self.pipeline.push(Expect::Execute(running));
        }
    }

    /// May its bytes leave before its record is committed? Its response never does.
    fn goes_ahead(&self, statement: &Statement<'_>) -> bool {
        let explicit = self.status != TransactionStatus::Idle && !self.pipeline.may_end();
        match statement.operation.effect {
            Effect::Read => explicit || self.read_only_session,
            Effect::Transactional => explicit,
            // Beginning and rolling back make nothing last.
            Effect::Commit => statement.classified.as_ref().is_some_and(|c| {
                c.statements.len() == 1
                    && c.transaction().all(|step| match step {
                        TransactionStep::Begin { .. }
                        | TransactionStep::Rollback { chain: false }
                        | TransactionStep::RollbackTo(_)
                        | TransactionStep::Savepoint(_) => true,
                        TransactionStep::Mode { .. }
                        | TransactionStep::Commit { .. }
                        | TransactionStep::Rollback { chain: true }
                        | TransactionStep::Release(_)
                        | TransactionStep::PrepareTransaction(_)
                        | TransactionStep::CommitPrepared(_)
                        | TransactionStep::RollbackPrepared(_) => false,
                    })
                    && c.controls_transaction()
            }),
            Effect::Lasting => false,
        }
    }

    /// An errand came back.
    pub(super) fn answered(&mut self, answer: Answer, road: &mut Road) {
        self.step = match (std::mem::take(&mut self.step), answer) {
            (Step::Confirming, Answer::Confirmed) => Step::Confirmed,
            (Step::Opening { judged, in_transaction: true }, Answer::Requested { request, .. }) => {
                Step::Refused { judged: Some(judged), refusal: Refusal::PendingInTransaction { request } }
            }
            (Step::Opening { judged, in_transaction: false }, Answer::Requested { request, joined }) => {
                self.tell_held(request, joined, judged.held_because(), road);
                Step::Held { judged, request }
            }
            (Step::Waiting { judged }, Answer::Approved { request }) => Step::Approved { judged, request },
            (Step::Spending { judged, cancelled: false }, Answer::Spent { request }) => Step::Spent { judged, request },
            (Step::Spending { judged, cancelled: true }, Answer::Spent { request }) => {
                road.give_back(&judged, request);
                Step::Cancelled
            }
            (Step::Spending { cancelled: true, .. }, _) => Step::Cancelled,
            (Step::Opening { judged, .. } | Step::Waiting { judged } | Step::Spending { judged, .. }, Answer::Refused(refusal)) => {
                Step::Refused { judged: Some(judged), refusal }
            }
            (_, Answer::Refused(refusal)) => Step::Refused { judged: None, refusal },
            (step, answer) => {
                tracing::error!(?answer, "an errand brought what nobody asked for");
                drop(step);
                Step::Refused { judged: None, refusal: Refusal::NotRecorded }
            }
        };
    }

    /// A notice with the request's id, where a message may stand now.
    fn tell_held(&mut self, request: RequestId, joined: bool, because: Option<&str>, road: &mut Road) {
        if self.back.is_inside_message() {
            return;
        }
        let mut words = BytesMut::new();
        crate::refusal::held_notice(request, joined, because, road.hold()).write(&mut words);
        let need = self.need_now();
        road.homeward.push(&words, need);
    }

    /// The client cancels what waits for people. `false` if nothing here did.
    pub(super) fn cancel_hold(&mut self, road: &mut Road) -> bool {
        match &mut self.step {
            Step::Opening { .. } | Step::Held { .. } | Step::Waiting { .. } | Step::Approved { .. } => {
                road.drop_errand();
                self.step = Step::Cancelled;
                self.take_messages(road);
                true
            }
            // The approval may be spent by now: it is given back when that is known.
            Step::Spending { cancelled, .. } => {
                *cancelled = true;
                true
            }
            Step::Fresh | Step::Confirming | Step::Confirmed | Step::Spent { .. } | Step::Refused { .. } | Step::Cancelled => false,
        }
    }
}

/// PostgreSQL's own words for it.
fn cancelled() -> Response {
    Response {
        severity: Severity::Error,
        sqlstate: "57014",
        message: "canceling statement due to user request".to_owned(),
        detail: None,
        hint: None,
    }
}
