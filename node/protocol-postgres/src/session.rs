//! The state machine of one PostgreSQL session: bytes and values in, bytes out. No sockets, no waiting.
//!
//! ```text
//!  client ─► client.rs: what is it, what does it need ─► decide.rs: verdict, hold, approval ─► road.outward
//!                                   │ pipeline.rs: what the server owes an answer for
//!  client ◄─ server.rs: whose answer is it, may it leave ◄─────────────────────────────── road.upstream_in
//! ```
//!
//! **Refusals inside a pipeline or a transaction.** The server must agree with what the client is told: after a
//! refused statement the transaction is failed, an implicit one rolled back, a pipeline skipped to its Sync. So where
//! anything is under way, a message that is sure to fail ("poison": an Execute of a portal that cannot exist, or a
//! Query that is no SQL) goes to the server in the place of the refused one, and its error is replaced by the refusal.
//! Order and transaction state then are the server's own; nothing is emulated. Where nothing is under way, the
//! refusal is answered here and the server hears nothing.

mod client;
mod context;
mod decide;
mod names;
mod pipeline;
mod poison;
mod server;

use std::sync::Arc;

use ::session::protocol::{Activity, Machine};
use ::session::records::{Ending, Outcome};
use ::session::road::{Answer, End, Road};
use bytes::{Bytes, BytesMut};
use domain::refusal::Refusal;
use tokio::time::Instant;

pub use context::ordinary_context;

use crate::codec::{BackendScanner, Frame, FrontendScanner, TransactionStatus};
use crate::operation::{Classified, Classifier};
use context::Known;
use decide::Step;
use names::Names;
use pipeline::{Expect, Pipeline, Running};

/// What the two handshakes found out, and the words of welcome.
#[derive(Debug)]
pub struct Opening {
    /// AuthenticationOk, ParameterStatus, BackendKeyData and ReadyForQuery, as the client is to see them.
    pub greeting: Bytes,
    pub database: String,
    /// Parameters the server reported at login, pinned ones among them.
    pub parameters: Vec<(String, String)>,
    /// The server was asked to enforce read-only for the whole session.
    pub read_only: bool,
}

pub struct Session {
    front: FrontendScanner,
    back: BackendScanner,
    pipeline: Pipeline,
    names: Names,
    known: Known,
    classifier: Arc<Classifier>,
    step: Step,
    /// A message that was taken out of the buffer and has to wait.
    pending: Option<Frame>,
    /// What the last ReadyForQuery said.
    status: TransactionStatus,
    /// The server skips until Sync, and so do we.
    skipping: bool,
    /// Messages were sent that no Sync has followed yet.
    group_open: bool,
    /// An Execute was among them: the implicit transaction it is in has done something.
    run_since_sync: bool,
    /// A Flush of ours is out to see what a statement changed.
    flush_sent: bool,
    /// The client sends a copy and has not ended it.
    copying_in: bool,
    syncs_sent: u64,
    /// The server enforces read-only for the whole session.
    read_only_session: bool,
    /// … for this transaction.
    read_only_transaction: bool,
    /// The record that the newest response needs.
    need: u64,
    /// Stream offset of `road.outward` when nothing was under way for the last time.
    quiet_since: u64,
    /// Bytes still to come of a message too long to be judged, and its tag.
    swallowing: Option<(u8, usize)>,
    parting: bool,
    /// The server ended the session and said so.
    fatal_shown: bool,
    opening: Option<Bytes>,
}

impl Session {
    /// `classifier` is shared by all sessions of the node: what one has sent, none has to parse again.
    pub fn new(opening: Opening, classifier: Arc<Classifier>) -> Self {
        Session {
            front: FrontendScanner::default(),
            back: BackendScanner::default(),
            pipeline: Pipeline::default(),
            names: Names::default(),
            known: Known::new(&opening.database, opening.parameters),
            classifier,
            step: Step::default(),
            pending: None,
            status: TransactionStatus::Idle,
            skipping: false,
            group_open: false,
            run_since_sync: false,
            flush_sent: false,
            copying_in: false,
            syncs_sent: 0,
            read_only_session: opening.read_only,
            read_only_transaction: false,
            need: 0,
            quiet_since: 0,
            swallowing: None,
            parting: false,
            fatal_shown: false,
            opening: Some(opening.greeting),
        }
    }

    /// Puts the outcome of an operation on record and does to the session what it did.
    fn finish(&mut self, running: &Running, ending: Ending, road: &mut Road) {
        if let Some(classified) = &running.classified {
            self.settle(classified, ending == Ending::Ok);
        }
        let outcome = Outcome { status: ending, rows: running.rows, bytes: running.bytes, duration: running.since.elapsed() };
        road.outcome(running.id, &outcome);
    }

    /// A statement that changes the session is done, or failed half-way.
    fn settle(&mut self, classified: &Arc<Classified>, done: bool) {
        self.names.apply(classified, done);
        self.flush_sent = false;
        if pipeline::changes_context(classified) || (self.known.may_be_taken_back() && pipeline::takes_back(classified)) {
            self.known.forget();
        }
        if done && let Some(read_only) = pipeline::read_only(classified) {
            self.read_only_transaction = read_only;
        }
    }

    /// The need of bytes that go to the client now.
    fn need_now(&mut self) -> u64 {
        if let Some(running) = self.pipeline.running() {
            self.need = self.need.max(running.intent);
        }
        self.need
    }

    /// A broken peer: the session cannot go on, because the place of the next message is in doubt.
    fn broken(&self, message: impl Into<String>, road: &mut Road) {
        road.end(End::Us(Refusal::Protocol { message: message.into() }));
    }

    /// Everything that was judged and not written is gone from `road.outward`: takes back what it would have done.
    fn take_back(&mut self, road: &mut Road) -> Vec<Expect> {
        let taken: Vec<Expect> = self.pipeline.drain().collect();
        let mut undos = Vec::new();
        let mut kept = Vec::new();
        for expect in taken {
            match expect {
                Expect::Parse(undo) | Expect::Bind(undo) | Expect::Close(undo) => {
                    undos.push(undo);
                    kept.push(Expect::Describe);
                }
                Expect::Query(running) => {
                    self.never_ran(&running, road);
                    kept.push(Expect::PoisonQuery { instead: BytesMut::new().freeze() });
                }
                Expect::Execute(running) => {
                    self.never_ran(&running, road);
                    kept.push(Expect::Describe);
                }
                other => kept.push(other),
            }
        }
        undos.into_iter().rev().for_each(|undo| self.names.undo(undo));
        kept
    }

    fn never_ran(&mut self, running: &Running, road: &mut Road) {
        if let Some(judged) = &running.approved_by {
            road.give_back(&judged.0, judged.1);
        }
        let outcome = Outcome { status: Ending::NotForwarded, rows: 0, bytes: 0, duration: running.since.elapsed() };
        road.outcome(running.id, &outcome);
    }

    /// The target was sent nothing since nothing was under way for the last time.
    fn is_untouched(&self, forwarded: u64) -> bool {
        forwarded == self.quiet_since
    }

    fn now() -> Instant {
        Instant::now()
    }
}

impl Machine for Session {
    fn greet(&mut self, road: &mut Road) {
        if let Some(greeting) = self.opening.take() {
            road.homeward.push(&greeting, 0);
        }
    }

    fn on_client(&mut self, road: &mut Road) {
        self.take_messages(road);
    }

    fn on_upstream(&mut self, road: &mut Road) {
        self.take_replies(road);
    }

    fn on_answer(&mut self, answer: Answer, road: &mut Road) {
        self.answered(answer, road);
    }

    fn on_cancel(&mut self, road: &mut Road) -> bool {
        self.cancel_hold(road)
    }

    fn on_not_forwarded(&mut self, refusal: &Refusal, road: &mut Road) -> bool {
        if !self.is_untouched(road.outward.written())
            || self.status != TransactionStatus::Idle
            || self.copying_in
            || self.back.is_inside_message()
        {
            return false;
        }
        self.answer_instead(refusal, road);
        true
    }

    fn on_client_end(&mut self, road: &mut Road) {
        if road.has_errand() {
            // Whoever leaves while it is held detaches: the request stays open.
            road.drop_errand();
            road.end(End::Client);
        } else if !self.parting {
            self.part(road);
        }
    }

    fn on_upstream_lost(&mut self, road: &mut Road) {
        // Where the server has said why, that is said; a session that only reads has nothing that could be lost.
        if self.pipeline.has_forwarded(road.outward.written()) && !self.fatal_shown && !self.read_only_session {
            self.farewell(&Refusal::OutcomeUnknown, road);
        }
    }

    fn farewell(&mut self, refusal: &Refusal, road: &mut Road) {
        // "Nothing was done" may not be said of what the target has: a client that believed it would do it twice.
        let is_unknown = matches!(refusal, Refusal::NoLease | Refusal::NotRecorded)
            && !(self.read_only_session || self.read_only_transaction)
            && self.pipeline.has_forwarded(road.outward.written());
        let refusal = if is_unknown { &Refusal::OutcomeUnknown } else { refusal };
        let mut words = BytesMut::new();
        crate::refusal::fatal(refusal).write(&mut words);
        road.homeward.push(&words, 0);
    }

    fn close(&mut self, road: &mut Road) {
        let written = road.outward.written();
        let left: Vec<Expect> = self.pipeline.drain().collect();
        for expect in left {
            let (Expect::Query(running) | Expect::Execute(running)) = expect else { continue };
            if running.begins_at >= written {
                self.never_ran(&running, road);
            } else {
                self.finish(&running, Ending::Unknown, road);
            }
        }
    }

    fn activity(&self, forwarded: u64) -> Activity {
        if self.pipeline.has_forwarded(forwarded) {
            Activity::Busy
        } else if self.is_untouched(forwarded) && self.status == TransactionStatus::Idle {
            Activity::Idle
        } else if self.status != TransactionStatus::Idle || self.group_open {
            Activity::InTransaction
        } else {
            Activity::Idle
        }
    }

    fn is_parting(&self) -> bool {
        self.parting
    }
}
