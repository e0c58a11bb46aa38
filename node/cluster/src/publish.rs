//! What was applied becomes visible here: the state behind an atomic pointer, the applied index, and, once everything
//! it narrows was enforced, the enforced index with a receipt of what that took.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use domain::id::{BootId, Index, NodeId};
use domain::member::{NodeReceipt, Serving, SessionReceipt};
use domain::state::State;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use planted::{Bug, Point, planted, reach};
use tokio::sync::{Notify, watch};

use crate::clock::Boottime;
use crate::limits::{RECEIPTS_KEPT, barrier_wait};
use crate::log_time::LogClock;

/// Ends what a state no longer allows. The server implements it over the sessions; tests over a list.
pub trait Enforcer: Send + Sync + 'static {
    /// Every session that `state` narrows has its gate taken and its upstream drained or aborted when this returns;
    /// from then on the node may say that it enforces `index`. Called in order, never twice at once.
    fn enforce<'a>(&'a self, state: Arc<State>, index: Index) -> BoxFuture<'a, EnforceReport>;

    /// A record of any node becomes part of the audit log here. Called in their order, while they are applied: must
    /// return at once. What a snapshot brings, and what was there before the process started, is not told.
    fn recorded(&self, record: &[u8]) {
        let _ = record;
    }

    /// Answers what the gateway of another node asks; see [`crate::Cluster::ask_gateway`].
    fn answer(&self, question: Bytes) -> BoxFuture<'_, Bytes> {
        drop(question);
        Box::pin(std::future::ready(Bytes::new()))
    }
}

/// What one enforcement did.
#[derive(Default)]
pub struct EnforceReport {
    pub sessions: Vec<SessionReceipt>,
    /// The last record sequence this node used before it enforced.
    pub last_sequence: u64,
    /// Where work at targets is still being cancelled: ends with the sessions' receipts when that is known of all, or
    /// is not waited for any longer. Nothing waits for it; receipts asked for later say it.
    pub settled: Option<BoxFuture<'static, Vec<SessionReceipt>>>,
}

/// One enforcement: it covers every narrowing command in `(after, through]`.
struct Round {
    after: Index,
    through: Index,
    sessions: Vec<SessionReceipt>,
    last_sequence: u64,
}

pub(crate) struct Publisher {
    node: NodeId,
    boot: BootId,
    state: ArcSwap<State>,
    applied: watch::Sender<Index>,
    enforced: watch::Sender<Index>,
    /// Index of the last narrowing entry applied; enforcement runs when it is beyond the enforced index.
    narrowed: watch::Sender<Index>,
    rounds: Mutex<VecDeque<Round>>,
    /// Nodes out of the serving set: the index at which they left, and when this node learned of it.
    left: Mutex<BTreeMap<NodeId, (Index, Boottime)>>,
    /// BOOTTIME at which the last entry was applied: log time stood at `state.now` then.
    stamped: Mutex<Boottime>,
    clock: LogClock,
    /// Woken when something narrowing was enforced: the leader shall hear of it at once.
    pub(crate) enforced_narrowing: Notify,
}

impl Publisher {
    pub(crate) fn new(node: NodeId, boot: BootId) -> Arc<Self> {
        Arc::new(Self {
            node,
            boot,
            state: ArcSwap::from_pointee(State::default()),
            applied: watch::channel(Index(0)).0,
            enforced: watch::channel(Index(0)).0,
            narrowed: watch::channel(Index(0)).0,
            rounds: Mutex::default(),
            left: Mutex::default(),
            stamped: Mutex::new(Boottime::now()),
            clock: LogClock::default(),
            enforced_narrowing: Notify::new(),
        })
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(crate) fn clock(&self) -> &LogClock {
        &self.clock
    }

    /// When the last entry was applied.
    pub(crate) fn stamped(&self) -> Boottime {
        *self.stamped.lock()
    }

    pub(crate) fn applied(&self) -> watch::Receiver<Index> {
        self.applied.subscribe()
    }

    pub(crate) fn enforced(&self) -> watch::Receiver<Index> {
        self.enforced.subscribe()
    }

    /// Makes an applied state visible. `applied` counts entries without a command, too, and so may be ahead of the
    /// state's own index; `narrowed` is the last narrowing entry the state contains, if there is a new one.
    /// Called by the state machine, in order, after the write batch that holds it.
    pub(crate) fn publish(&self, state: Option<State>, applied: Index, narrowed: Option<Index>) {
        if let Some(state) = state {
            let now = Boottime::now();
            self.note_departures(&state, now);
            *self.stamped.lock() = now;
            reach(Point::StateBeforePublished);
            self.state.store(Arc::new(state));
            reach(Point::StatePublished);
        }
        if let Some(index) = narrowed {
            self.narrowed.send_if_modified(|n| {
                let later = index > *n;
                *n = index.max(*n);
                later
            });
        }
        self.applied.send_if_modified(|a| {
            let later = applied > *a;
            *a = applied.max(*a);
            later
        });
    }

    fn note_departures(&self, state: &State, now: Boottime) {
        let mut left = self.left.lock();
        for (node, member) in &state.members {
            if let Serving::No { left: at } = member.serving
                && left.get(node).is_none_or(|(known, _)| *known < at)
            {
                left.insert(*node, (at, now));
            }
        }
        // Not by age: what is forgotten too early would be noted as new by the next state that is published.
        left.retain(|node, _| state.members.get(node).is_some_and(|member| matches!(member.serving, Serving::No { .. })));
    }

    /// Who a barrier that starts now has to hear from, each with the moment after which its silence is as good
    /// (DESIGN §4): members of the serving set until `W` after `learned` of the commit; a node that left it until `W`
    /// after this node learned of that, if that is earlier.
    pub(crate) fn barrier_members(&self, learned: Boottime) -> Vec<(NodeId, Boottime)> {
        let state = self.state();
        let full = learned.plus(if planted(Bug::BarrierGivesUpEarly) { barrier_wait() / 4 } else { barrier_wait() });
        let left = self.left.lock();
        state
            .members
            .iter()
            .filter_map(|(node, member)| match member.serving {
                Serving::Yes { .. } => Some((*node, full)),
                Serving::No { .. } if planted(Bug::LeftNotAwaited) => None,
                Serving::No { .. } => {
                    let (_, since) = left.get(node)?;
                    let until = since.plus(barrier_wait()).min(full);
                    (!until.until().is_zero()).then_some((*node, until))
                }
            })
            .collect()
    }

    /// Enforces what is applied, for ever.
    pub(crate) async fn enforce(&self, enforcer: Arc<dyn Enforcer>) {
        let mut applied = self.applied.subscribe();
        let mut settling = FuturesUnordered::new();
        loop {
            // In this order: the state is at least what the index says.
            let (through, after) = (*self.applied.borrow(), *self.enforced.borrow());
            let state = self.state();
            let narrowing = *self.narrowed.borrow() > after;
            if planted(Bug::EnforcedBeforeGates) {
                self.enforced.send_if_modified(|e| std::mem::replace(e, through.max(*e)) < through);
            }
            if narrowing {
                reach(Point::EnforcementBefore);
                let EnforceReport { sessions, last_sequence, settled } = enforcer.enforce(state, through).await;
                reach(Point::EnforcementDone);
                settling.extend(settled.map(|settled| async move { (through, settled.await) }));
                let mut rounds = self.rounds.lock();
                rounds.push_back(Round { after, through, sessions, last_sequence });
                if rounds.len() > RECEIPTS_KEPT {
                    rounds.pop_front();
                }
            }
            self.enforced.send_if_modified(|e| {
                let moved = through > *e;
                *e = through.max(*e);
                moved
            });
            if narrowing {
                reach(Point::EnforcedIndexMoved);
                self.enforced_narrowing.notify_one();
            }
            tokio::select! {
                biased;
                moved = applied.wait_for(|a| *a > through) => if moved.is_err() {
                    return;
                },
                Some((through, sessions)) = settling.next() => self.settle(through, sessions),
            }
        }
    }

    /// More is known of the sessions that were ended when `through` was enforced.
    fn settle(&self, through: Index, sessions: Vec<SessionReceipt>) {
        if let Some(round) = self.rounds.lock().iter_mut().find(|r| r.through == through) {
            round.sessions = sessions;
        }
    }

    /// This node's receipt for a narrowing command, once it enforces it.
    pub(crate) fn receipt(&self, index: Index) -> Option<NodeReceipt> {
        let mut enforced = *self.enforced.borrow();
        if planted(Bug::ReceiptBeforeEnforced) {
            enforced = enforced.max(index);
        }
        if enforced < index {
            return None;
        }
        let rounds = self.rounds.lock();
        let round = rounds.iter().find(|r| r.after < index && index <= r.through);
        Some(NodeReceipt {
            node: self.node,
            boot: self.boot,
            enforced,
            last_sequence: round.map(|r| r.last_sequence).unwrap_or_default(),
            sessions: round.map(|r| r.sessions.clone()).unwrap_or_default(),
            by_expiry: false,
        })
    }
}
