//! What the server still owes an answer for, in order.
//!
//! Every message that elicits replies has an entry; an error makes the server skip to the next Sync, and this queue
//! does the same, so that no record says "executed" of a statement the server skipped (THREATS 27).

use std::collections::VecDeque;
use std::sync::Arc;

use ::session::road::Judged;
use bytes::Bytes;
use domain::id::{OperationId, RequestId};
use domain::operation::Effect;
use tokio::time::Instant;

use super::names::Undo;
use crate::operation::{Classified, TransactionStep};

/// An operation under way at the server.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: OperationId,
    /// The sequence of its intent record: no byte of its response leaves before that is committed.
    pub(super) intent: u64,
    pub(super) since: Instant,
    /// Stream offset of its first byte on the way to the server.
    pub(super) begins_at: u64,
    /// For a simple query, which ends an implicit transaction as a Sync does: its number among the Syncs.
    pub(super) sync: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// SQLSTATE of the error it ended with.
    pub(super) failed: Option<String>,
    /// There if it changes more than data: names, settings, the transaction.
    pub(super) classified: Option<Arc<Classified>>,
    /// The approval it uses up.
    pub(super) approved_by: Option<Box<(Judged, RequestId)>>,
}

impl Running {
    fn changes(&self) -> bool {
        self.classified.as_ref().is_some_and(|c| changes_context(c) || super::names::touches_names(c))
    }

    fn takes_back(&self) -> bool {
        self.classified.as_deref().is_some_and(takes_back)
    }

    fn controls(&self, what: impl Fn(&TransactionStep) -> bool) -> bool {
        self.classified.as_ref().is_some_and(|c| c.transaction().any(what))
    }
}

/// After it, names may mean something else. A lasting effect may be anything, so it counts.
pub(super) fn changes_context(classified: &Classified) -> bool {
    classified.changes_context || classified.operation.effect == Effect::Lasting
}

/// After it, names may mean again what they meant before the transaction or savepoint: the transaction may go on (a
/// savepoint, AND CHAIN), or end inside a pipeline, so ReadyForQuery does not tell.
pub(super) fn takes_back(classified: &Classified) -> bool {
    classified.transaction().any(|step| match step {
        TransactionStep::Commit { .. }
        | TransactionStep::Rollback { .. }
        | TransactionStep::RollbackTo(_)
        | TransactionStep::PrepareTransaction(_) => true,
        TransactionStep::Begin { .. }
        | TransactionStep::Mode { .. }
        | TransactionStep::Savepoint(_)
        | TransactionStep::Release(_)
        | TransactionStep::CommitPrepared(_)
        | TransactionStep::RollbackPrepared(_) => false,
    })
}

/// Must the relay remember it until it is done?
pub(super) fn is_remarkable(classified: &Classified) -> bool {
    changes_context(classified) || super::names::touches_names(classified) || classified.controls_transaction()
}

/// What the string says about the transaction it leaves open: the last word counts.
pub(super) fn read_only(classified: &Classified) -> Option<bool> {
    classified
        .transaction()
        .filter_map(|step| match step {
            TransactionStep::Begin { read_only } => Some(read_only.unwrap_or(false)),
            TransactionStep::Mode { read_only } => *read_only,
            TransactionStep::Commit { .. } | TransactionStep::Rollback { .. } | TransactionStep::PrepareTransaction(_) => Some(false),
            TransactionStep::Savepoint(_)
            | TransactionStep::Release(_)
            | TransactionStep::RollbackTo(_)
            | TransactionStep::CommitPrepared(_)
            | TransactionStep::RollbackPrepared(_) => None,
        })
        .last()
}

#[derive(Debug)]
pub(super) enum Expect {
    /// A simple query: anything, until ReadyForQuery.
    Query(Running),
    /// `1`; what the statement's name meant before, in case it fails.
    Parse(Undo),
    /// `2`
    Bind(Undo),
    /// `3`
    Close(Undo),
    /// `t` and `T` or `n`; or `T` or `n`.
    Describe,
    /// `C`, `I`, `s`, or a copy.
    Execute(Running),
    /// `Z`
    Sync(u64),
    /// The client ended a copy; the server answers nothing to this itself.
    CopyEnd,
    /// A message of ours that fails at the server in place of one that was refused; its error is replaced.
    Poison { instead: Bytes },
    /// A simple query of ours that fails at the server in place of one that was refused.
    PoisonQuery { instead: Bytes },
    /// Ours alone: replies are read, not shown. The last of our messages is followed by a Sync of ours if `sync`.
    Context {
        sync: bool,
        /// CloseComplete messages still to come.
        closes: u8,
    },
}

#[derive(Debug, Default)]
pub(super) struct Pipeline {
    queue: VecDeque<Expect>,
    /// Executes and Queries in the queue.
    running: usize,
}

impl Pipeline {
    pub(super) fn push(&mut self, expect: Expect) {
        if matches!(expect, Expect::Query(_) | Expect::Execute(_)) {
            self.running += 1;
        }
        self.queue.push_back(expect);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is owed: the end of a copy alone has no answer.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.iter().all(|e| matches!(e, Expect::CopyEnd))
    }

    /// Operations that are judged and have no outcome yet.
    pub(super) fn has_running(&self) -> bool {
        self.running > 0
    }

    /// Operations that the server has (the first of their bytes lies before `forwarded`) and has not finished.
    pub(super) fn has_forwarded(&self, forwarded: u64) -> bool {
        self.running > 0 && self.queue.iter().any(|e| matches!(e, Expect::Query(r) | Expect::Execute(r) if r.begins_at < forwarded))
    }

    /// The replies to everything that changes what names mean will come without another message of the client.
    pub(super) fn changes_settle_by_themselves(&self) -> bool {
        let last = self.queue.iter().rposition(|e| matches!(e, Expect::Query(r) | Expect::Execute(r) if r.changes() || r.takes_back()));
        last.is_none_or(|last| {
            matches!(self.queue[last], Expect::Query(_)) || self.queue.iter().skip(last).any(|e| matches!(e, Expect::Sync(_)))
        })
    }

    /// Something under way may change what names mean.
    pub(super) fn changes_meaning(&self) -> bool {
        self.queue.iter().any(|e| matches!(e, Expect::Query(r) | Expect::Execute(r) if r.changes()))
    }

    /// Something under way may end a transaction, or a part of it: a Sync and a simple query end an implicit one.
    pub(super) fn may_take_back(&self) -> bool {
        self.queue.iter().any(|e| match e {
            Expect::Sync(_) | Expect::Query(_) | Expect::PoisonQuery { .. } => true,
            Expect::Execute(running) => running.takes_back(),
            Expect::Parse(_)
            | Expect::Bind(_)
            | Expect::Close(_)
            | Expect::Describe
            | Expect::CopyEnd
            | Expect::Poison { .. }
            | Expect::Context { .. } => false,
        })
    }

    /// Statements of before the last Sync are unanswered; their end will come without another message.
    pub(super) fn has_earlier(&self) -> bool {
        self.queue.iter().any(|e| matches!(e, Expect::Sync(_) | Expect::Query(_) | Expect::PoisonQuery { .. }))
    }

    /// A transaction may begin among what is under way.
    pub(super) fn may_begin(&self) -> bool {
        self.any_controls(|step| {
            matches!(
                step,
                TransactionStep::Begin { .. } | TransactionStep::Commit { chain: true } | TransactionStep::Rollback { chain: true }
            )
        })
    }

    /// A transaction may end among what is under way, or the server may be told to write again.
    pub(super) fn may_end(&self) -> bool {
        self.any_controls(|step| match step {
            TransactionStep::Commit { .. }
            | TransactionStep::Rollback { .. }
            | TransactionStep::PrepareTransaction(_)
            | TransactionStep::Mode { .. } => true,
            TransactionStep::Begin { .. }
            | TransactionStep::Savepoint(_)
            | TransactionStep::Release(_)
            | TransactionStep::RollbackTo(_)
            | TransactionStep::CommitPrepared(_)
            | TransactionStep::RollbackPrepared(_) => false,
        })
    }

    fn any_controls(&self, what: impl Fn(&TransactionStep) -> bool + Copy) -> bool {
        self.running > 0 && self.queue.iter().any(|e| matches!(e, Expect::Query(r) | Expect::Execute(r) if r.controls(what)))
    }

    /// The entry that the next reply belongs to.
    pub(super) fn front(&mut self) -> Option<&mut Expect> {
        while matches!(self.queue.front(), Some(Expect::CopyEnd)) {
            self.queue.pop_front();
        }
        self.queue.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Expect> {
        while matches!(self.queue.front(), Some(Expect::CopyEnd)) {
            self.queue.pop_front();
        }
        let expect = self.queue.pop_front();
        if matches!(expect, Some(Expect::Query(_) | Expect::Execute(_))) {
            self.running -= 1;
        }
        expect
    }

    /// The operation whose response is being received.
    pub(super) fn running(&mut self) -> Option<&mut Running> {
        match self.front() {
            Some(Expect::Query(running) | Expect::Execute(running)) => Some(running),
            Some(_) | None => None,
        }
    }

    /// The server skips everything up to the next Sync. What was skipped comes back, newest first, for undoing;
    /// the flag says whether that Sync is on its way already.
    pub(super) fn skip_to_sync(&mut self) -> (Vec<Expect>, bool) {
        let end = self.queue.iter().position(|e| matches!(e, Expect::Sync(_) | Expect::Context { sync: true, .. }));
        let count = end.unwrap_or(self.queue.len());
        let mut skipped: Vec<Expect> = self.queue.drain(..count).collect();
        self.running -= skipped.iter().filter(|e| matches!(e, Expect::Query(_) | Expect::Execute(_))).count();
        skipped.reverse();
        (skipped, end.is_some())
    }

    /// A copy from the client begins: Syncs that were sent before its end are swallowed by the server. `false` if
    /// something else was sent after the statement, which breaks the copy.
    pub(super) fn copy_begins(&mut self) -> bool {
        let end = self.queue.iter().position(|e| matches!(e, Expect::CopyEnd)).unwrap_or(self.queue.len());
        let mut orderly = true;
        let mut index = 0;
        self.queue.retain(|expect| {
            let inside = index > 0 && index < end;
            index += 1;
            orderly &= !inside || matches!(expect, Expect::Sync(_));
            !inside
        });
        orderly
    }

    /// Did the client end its copy already?
    pub(super) fn copy_ended(&self) -> bool {
        self.queue.iter().any(|e| matches!(e, Expect::CopyEnd))
    }

    /// Everything unanswered, at the end of the session.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Expect> {
        self.running = 0;
        self.queue.drain(..)
    }
}
