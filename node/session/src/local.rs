//! The authority over a local state: one replica, no cluster. Commands go through the domain's `apply` as they would on
//! every node; records are "committed" at once, after a delay, or not at all, as a test wants it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::command::{Actor, Command, Proposal, Reply, apply};
use domain::credential::Credential;
use domain::id::{BootId, Index, NodeId, ProposalId};
use domain::policy::{NoRules, Rules};
use domain::state::State;
use domain::time::LogTime;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::authority::{Authority, ProposeError, Recorded, Unavailable};
use crate::protocol::CancelKey;

type Unsealer = dyn Fn(&Credential) -> Option<identity::Secret> + Send + Sync;

pub struct LocalAuthority {
    node: NodeId,
    boot: BootId,
    state: ArcSwap<State>,
    /// Serialises `apply`.
    applying: Mutex<()>,
    applied: watch::Sender<Index>,
    serving: watch::Sender<bool>,
    may_forward: AtomicBool,
    /// When the lease was taken away last.
    lost: Mutex<Instant>,
    confirming: AtomicBool,
    records: Mutex<Vec<Vec<u8>>>,
    recorded: watch::Sender<Recorded>,
    committing: AtomicBool,
    commit_delay: Mutex<Duration>,
    started: Instant,
    start: LogTime,
    /// Added to the clock, so that tests can let log time pass.
    ahead: AtomicU64,
    cancels: Mutex<Vec<CancelKey>>,
    unseal: Box<Unsealer>,
    next_id: AtomicU64,
    rules: OnceLock<Box<dyn Rules>>,
}

impl LocalAuthority {
    pub fn new(
        node: NodeId,
        start: LogTime,
        unseal: impl Fn(&Credential) -> Option<identity::Secret> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(LocalAuthority {
            node,
            boot: BootId(0xb007),
            state: ArcSwap::from_pointee(State::default()),
            applying: Mutex::new(()),
            applied: watch::Sender::new(Index(0)),
            serving: watch::Sender::new(true),
            may_forward: AtomicBool::new(true),
            lost: Mutex::new(Instant::now()),
            confirming: AtomicBool::new(true),
            records: Mutex::new(Vec::new()),
            recorded: watch::Sender::new(Recorded::default()),
            committing: AtomicBool::new(true),
            commit_delay: Mutex::new(Duration::ZERO),
            started: Instant::now(),
            start,
            ahead: AtomicU64::new(0),
            cancels: Mutex::new(Vec::new()),
            unseal: Box::new(unseal),
            next_id: AtomicU64::new(1),
            rules: OnceLock::new(),
        })
    }

    /// Applies a command as the next entry of the log.
    pub fn apply(&self, actor: Actor, command: Command) -> Reply {
        let id = format!("local-{}", self.next_id.fetch_add(1, Ordering::Relaxed)).parse().expect("short and printable");
        self.apply_as(id, actor, command)
    }

    fn apply_as(&self, id: ProposalId, actor: Actor, command: Command) -> Reply {
        let _one_at_a_time = self.applying.lock();
        let mut state = State::clone(&self.state.load());
        let index = Index(state.applied.0 + 1);
        let applied = apply(&mut state, index, &Proposal { id, actor, stamp: self.now(), command });
        self.state.store(Arc::new(state));
        self.applied.send_replace(index);
        applied.reply
    }

    /// From now on records wait (`false`), or are committed, those that waited too (`true`).
    pub fn set_committing(&self, on: bool) {
        self.committing.store(on, Ordering::SeqCst);
        if on {
            let through = self.records.lock().len() as u64;
            self.recorded.send_replace(Recorded { through });
        }
    }

    /// Records are committed this long after they were queued.
    pub fn set_commit_delay(&self, delay: Duration) {
        *self.commit_delay.lock() = delay;
    }

    /// Takes the lease away, or gives it back.
    pub fn set_serving(&self, on: bool) {
        if !on {
            *self.lost.lock() = Instant::now();
        }
        self.may_forward.store(on, Ordering::SeqCst);
        self.serving.send_replace(on);
    }

    /// Whether a quorum answers when it is asked to confirm.
    pub fn set_confirming(&self, on: bool) {
        self.confirming.store(on, Ordering::SeqCst);
    }

    /// Without any, an active policy refuses everything. Set once.
    pub fn set_rules(&self, rules: Box<dyn Rules>) {
        assert!(self.rules.set(rules).is_ok(), "the rules are set once");
    }

    /// Lets log time pass.
    pub fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// The records queued so far, as encoded.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.records.lock().clone()
    }

    /// Cancel requests that belong to other nodes.
    pub fn cancels_elsewhere(&self) -> Vec<CancelKey> {
        self.cancels.lock().clone()
    }

    fn commit(&self, sequence: u64) {
        if self.committing.load(Ordering::SeqCst) {
            self.recorded.send_if_modified(|recorded| {
                let newer = sequence > recorded.through;
                recorded.through = recorded.through.max(sequence);
                newer
            });
        }
    }
}

/// The authority that is handed around; the methods above stay at hand through it.
#[derive(Clone)]
pub struct Local(pub Arc<LocalAuthority>);

impl std::ops::Deref for Local {
    type Target = LocalAuthority;

    fn deref(&self) -> &LocalAuthority {
        &self.0
    }
}

impl Authority for Local {
    fn node(&self) -> NodeId {
        self.node
    }

    fn boot(&self) -> BootId {
        self.boot
    }

    fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    fn applied(&self) -> watch::Receiver<Index> {
        self.applied.subscribe()
    }

    fn now(&self) -> LogTime {
        LocalAuthority::now(self)
    }

    fn rules(&self) -> &dyn Rules {
        self.rules.get().map_or(&NoRules, |rules| rules.as_ref())
    }

    fn may_forward(&self) -> bool {
        self.may_forward.load(Ordering::SeqCst)
    }

    fn late_by(&self) -> Duration {
        if self.may_forward() { Duration::ZERO } else { self.lost.lock().elapsed() }
    }

    fn serving(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }

    fn fenced(&self) {}

    fn confirm(&self) -> BoxFuture<'_, Result<Index, Unavailable>> {
        Box::pin(async {
            if self.may_forward() && self.confirming.load(Ordering::SeqCst) {
                Ok(self.state().applied)
            } else {
                Err(Unavailable("no lease".to_owned()))
            }
        })
    }

    fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        Box::pin(async move { Ok(self.apply_as(id, actor, command)) })
    }

    fn record(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64 {
        let sequence = {
            let mut records = self.records.lock();
            let sequence = records.len() as u64 + 1;
            records.push(encode(sequence));
            sequence
        };
        let delay = *self.commit_delay.lock();
        if delay.is_zero() {
            self.commit(sequence);
        } else {
            let this = self.0.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                this.commit(sequence);
            });
        }
        sequence
    }

    fn record_unawaited(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64 {
        self.record(encode)
    }

    fn recorded(&self) -> watch::Receiver<Recorded> {
        self.recorded.subscribe()
    }

    fn cancel_elsewhere(&self, key: CancelKey) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.cancels.lock().push(key);
        Box::pin(async { Ok(()) })
    }

    fn open_credential(&self, credential: &Credential) -> Result<identity::Secret, Unavailable> {
        (self.unseal)(credential).ok_or_else(|| Unavailable("the credential does not open".to_owned()))
    }
}

impl LocalAuthority {
    pub fn now(&self) -> LogTime {
        self.start.after(self.started.elapsed()).after(Duration::from_millis(self.ahead.load(Ordering::SeqCst)))
    }
}
