//! The live sessions of this node, and what is done to them from outside: enforcing, freezing, expiry, cancelling.
//!
//! A session registers *before* it dials and has its permit checked again after (THREATS 8): a revocation that comes
//! before the registration is seen by that check, one that comes after finds the session here.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::admission::{Admission, Attempt, Recent};
use domain::audit::record::Backend;
use domain::id::{Index, Name, RevocationId, RunId, SessionId};
use domain::member::{Cancelled, SessionReceipt};
use domain::policy::Rules;
use domain::refusal::Refusal;
use domain::state::State;
use domain::time::LogTime;
use parking_lot::{Mutex, RwLock};
use planted::{Bug, Point, planted, reach};
use tokio::time::Instant;

use crate::authority::Authority;
use crate::gate::Gate;
use crate::limits::{DRAIN_DEADLINE, DRAIN_POLL, EXPIRY_POLL, LEASE_GRACE, SESSIONS_MAX, SESSIONS_PER_PRINCIPAL_MAX};
use crate::protocol::{Activity, CancelKey};
use crate::stage::Reviews;

/// One live session, as others see it.
pub struct Live {
    pub id: SessionId,
    pub attempt: Attempt,
    pub since: LogTime,
    pub peer: String,
    pub application: String,
    pub run: Option<RunId>,
    /// Which database of the target; empty where the protocol has none.
    pub database: String,
    pub gate: Gate,
    pub(crate) cancel_key: CancelKey,
    /// What serves it at the target, once it is connected and where that can be told.
    backend: OnceLock<Backend>,
    /// Operations judged so far.
    pub(crate) operations: AtomicU64,
    /// An enforcement record names it: one that is slow to go is not put on record by the next enforcement again.
    on_record: AtomicBool,
}

/// A line of `assize session list`.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    pub id: SessionId,
    pub principal: Name,
    pub on_behalf_of: Option<Name>,
    pub target: Name,
    pub since: LogTime,
    pub peer: String,
    pub application: String,
    pub run: Option<RunId>,
    pub database: String,
    pub operations: u64,
    pub activity: Activity,
}

pub struct Registry {
    sessions: RwLock<HashMap<u64, Arc<Live>>>,
    per_principal: Mutex<BTreeMap<Name, usize>>,
    number: AtomicU64,
    /// The highest record sequence a session of this node used.
    last_sequence: AtomicU64,
    /// How long frozen sessions wait for a lease.
    grace: Duration,
}

/// What enforcing an index did on this node.
#[derive(Debug, Clone)]
pub struct EnforceReport {
    pub enforced: Index,
    /// The last record sequence used before the gates were taken.
    pub last_sequence: u64,
    sessions: Vec<Ended>,
}

/// A session that was ended, and what it fell under.
#[derive(Clone)]
struct Ended {
    live: Arc<Live>,
    revocation: RevocationId,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} by {}", self.live.id, self.revocation)
    }
}

/// A place in the registry; leaving it is dropping this.
pub struct Registered {
    pub live: Arc<Live>,
    registry: Arc<Registry>,
}

impl std::ops::Deref for Registered {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.live.gate.shut(Refusal::Draining);
        self.live.gate.detach();
        self.registry.sessions.write().remove(&self.live.id.number);
        let mut counts = self.registry.per_principal.lock();
        if let Some(count) = counts.get_mut(&self.live.attempt.principal) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.live.attempt.principal);
            }
        }
    }
}

/// What a session brings when it registers.
pub struct Registration {
    pub attempt: Attempt,
    pub peer: String,
    pub application: String,
    pub run: Option<RunId>,
    pub database: String,
    pub since: LogTime,
    pub gate: Gate,
    pub cancel_key: CancelKey,
}

impl Registry {
    pub fn new() -> Arc<Self> {
        Self::with_grace(LEASE_GRACE)
    }

    /// `grace` instead of [`LEASE_GRACE`].
    pub fn with_grace(grace: Duration) -> Arc<Self> {
        Arc::new(Registry {
            sessions: RwLock::default(),
            per_principal: Mutex::default(),
            number: AtomicU64::new(0),
            last_sequence: AtomicU64::new(0),
            grace,
        })
    }

    /// Numbers of sessions count from 1 and are never given twice in a boot.
    pub fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// # Errors
    /// When the node or the principal has as many sessions as it may.
    pub fn register(self: &Arc<Self>, new: Registration) -> Result<Registered, Refusal> {
        let principal = new.attempt.principal.clone();
        let mut counts = self.per_principal.lock();
        let count = counts.entry(principal).or_default();
        if *count >= SESSIONS_PER_PRINCIPAL_MAX {
            return Err(Refusal::TooManySessions { limit: SESSIONS_PER_PRINCIPAL_MAX as u32 });
        }
        let mut sessions = self.sessions.write();
        if sessions.len() >= SESSIONS_MAX {
            return Err(Refusal::TooManySessions { limit: SESSIONS_MAX as u32 });
        }
        *count += 1;
        let live = Arc::new(Live {
            id: new.attempt.session,
            attempt: new.attempt,
            since: new.since,
            peer: new.peer,
            application: new.application,
            run: new.run,
            database: new.database,
            gate: new.gate,
            cancel_key: new.cancel_key,
            backend: OnceLock::new(),
            operations: AtomicU64::new(0),
            on_record: AtomicBool::new(false),
        });
        reach(Point::SessionBeforeRegistered);
        sessions.insert(live.id.number, live.clone());
        Ok(Registered { live, registry: self.clone() })
    }

    pub fn len(&self) -> usize {
        self.sessions.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn list(&self) -> Vec<SessionSummary> {
        self.all().iter().map(|live| live.summary()).collect()
    }

    /// What serves the sessions of this node at their targets, where it can be told, and at which index each was admitted.
    pub fn connections(&self) -> Vec<(Attempt, Index, Option<Backend>)> {
        let connected = |live: &Arc<Live>| (live.attempt.clone(), live.gate.permit().admitted_at(), live.backend.get().copied());
        self.sessions.read().values().map(connected).collect()
    }

    fn all(&self) -> Vec<Arc<Live>> {
        self.sessions.read().values().cloned().collect()
    }

    pub(crate) fn used_sequence(&self, sequence: u64) {
        self.last_sequence.fetch_max(sequence, Ordering::Relaxed);
    }

    /// Makes `index` hold on this node (DESIGN §4): every session whose permit the state no longer bears has its
    /// gate taken and its upstream socket drained or reset. Cancelling at the target and telling the client go on
    /// after this returned; see [`EnforceReport::receipts`].
    ///
    /// `state` must contain `index`, and [`Authority::state`] must hand out `state` or a later one already, so that
    /// a session registering meanwhile is judged by it. Takes at most [`DRAIN_DEADLINE`] and a scan.
    pub async fn enforce(&self, state: &State, now: LogTime, index: Index, rules: &dyn Rules) -> EnforceReport {
        let mut ended = Vec::new();
        // Sessions of the same parties are reviewed once.
        let mut recent = Recent::default();
        for live in self.all() {
            if let Some((revocation, reason)) = live.stands_no_more(state, now, index, rules, &mut recent) {
                live.gate.shut(Refusal::Revoked { revocation, reason });
                ended.push(Ended { live, revocation });
            }
        }
        let last_sequence = self.last_sequence.load(Ordering::Relaxed);
        reach(Point::GatesShut);
        drain_or_abort(ended.iter().map(|e| &e.live).collect()).await;
        reach(Point::UpstreamsDrained);
        EnforceReport { enforced: index, last_sequence, sessions: ended }
    }

    /// Ends one session because a person asked for it. `false` if it is not here.
    pub async fn end(&self, session: SessionId, refusal: Refusal) -> bool {
        let live = self.sessions.read().get(&session.number).filter(|l| l.id == session).cloned();
        let Some(live) = live else { return false };
        live.gate.shut(refusal);
        drain_or_abort(vec![&live]).await;
        true
    }

    /// The node drains: every session ends as soon as it has nothing running.
    pub fn drain(&self) {
        self.all().iter().for_each(|live| live.gate.ask_drain());
    }

    /// A client of the session that `key` names asks to cancel. Says nothing about whether it matched.
    pub fn cancel(&self, key: &CancelKey) {
        if let Some(live) = self.sessions.read().values().find(|live| live.cancel_key.admits(key)) {
            live.gate.ask_cancel();
        }
    }

    /// Follows the lease and log time for as long as the node lives: freezes and thaws sessions, ends those that were
    /// frozen for too long, and expired ones.
    pub(crate) async fn watch(self: Arc<Self>, authority: Arc<dyn Authority>, reviews: Arc<Reviews>) {
        let mut serving = authority.serving();
        let mut tick = tokio::time::interval(EXPIRY_POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_serving = *serving.borrow();
        let mut frozen_until = None;
        loop {
            tokio::select! {
                biased;
                changed = serving.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let is_serving = *serving.borrow_and_update();
                    if is_serving != was_serving {
                        was_serving = is_serving;
                        self.all().iter().for_each(|live| if is_serving { live.gate.thaw() } else { live.gate.freeze() });
                        frozen_until = (!is_serving).then(|| Instant::now() + self.grace);
                        if !is_serving {
                            authority.fenced();
                        }
                    }
                }
                _ = tick.tick() => {
                    self.expire(authority.as_ref(), &reviews);
                    if frozen_until.take_if(|until| *until <= Instant::now()).is_some() && !planted(Bug::GraceNeverEnds) {
                        self.end_all(&Refusal::NoLease);
                    }
                }
            }
        }
    }

    /// Nobody waits for this: what is not with its target by now does not get there.
    fn end_all(&self, refusal: &Refusal) {
        for live in self.all() {
            live.gate.shut(refusal.clone());
            live.gate.abort_unless_drained();
        }
    }

    /// Ends the sessions whose permits are over and not to be renewed: idle ones too (R5). What the state changed is
    /// reviewed here as well, for a change may have given a session an end. Where it took access away at once,
    /// [`Registry::enforce`] ends the session: its receipt tells.
    fn expire(&self, authority: &dyn Authority, reviews: &Reviews) {
        let (state, now) = (authority.state(), authority.now());
        for live in self.sessions.read().values() {
            if live.gate.is_expired(now) {
                live.gate.shut(Refusal::GrantExpired);
                live.gate.abort_unless_drained();
                continue;
            }
            let Some(permit) = live.gate.unsettled(&state, now).filter(|_| !planted(Bug::IdleOutlivesAccess)) else { continue };
            match permit.renew_by(&state, now, |state, attempt, now| reviews.admit(state, attempt, now, authority.rules())) {
                Ok(Admission { permit: Some(renewed), .. }) => live.gate.stands_on(renewed),
                Ok(Admission { permit: None, .. }) => {}
                Err(Refusal::Revoked { .. } | Refusal::Locked { .. } | Refusal::Policy { .. }) if !permit.is_over(now) => {}
                Err(refusal) => {
                    live.gate.shut(refusal);
                    live.gate.abort_unless_drained();
                }
            }
        }
    }
}

impl Live {
    pub(crate) fn is_served_by(&self, backend: Option<Backend>) {
        if let Some(backend) = backend {
            // Set once, before the first statement.
            let _ = self.backend.set(backend);
        }
    }

    /// Why the session may not go on under `state`, or `None` if it may. A permit that is merely out of date is
    /// renewed by the session itself before it forwards anything.
    fn stands_no_more(
        &self,
        state: &State,
        now: LogTime,
        index: Index,
        rules: &dyn Rules,
        recent: &mut Recent,
    ) -> Option<(RevocationId, String)> {
        let permit = self.gate.permit();
        if permit.is_current(state) && !permit.is_over(now) {
            return None;
        }
        let review = |state: &State, attempt: &Attempt, now| recent.review(state, attempt, now, rules);
        let refusal = permit.renew_by(state, now, review).err()?;
        Some(match refusal {
            Refusal::Revoked { revocation, reason } => (revocation, reason),
            Refusal::Locked { lock, .. } => (RevocationId(lock.0), refusal.to_string()),
            other => (RevocationId(index.0), other.to_string()),
        })
    }

    fn summary(&self) -> SessionSummary {
        SessionSummary {
            id: self.id,
            principal: self.attempt.principal.clone(),
            on_behalf_of: self.attempt.on_behalf_of.clone(),
            target: self.attempt.target.clone(),
            since: self.since,
            peer: self.peer.clone(),
            application: self.application.clone(),
            run: self.run.clone(),
            database: self.database.clone(),
            operations: self.operations.load(Ordering::Relaxed),
            activity: self.gate.activity(),
        }
    }
}

impl EnforceReport {
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Per session what became of its work at the target, as known now; [`Cancelled::Pending`] while it is being
    /// cancelled.
    pub fn receipts(&self) -> Vec<SessionReceipt> {
        self.sessions
            .iter()
            .map(|Ended { live, .. }| SessionReceipt {
                session: live.id,
                principal: live.attempt.principal.clone(),
                target: live.attempt.target.clone(),
                upstream: live.gate.cancelled(),
            })
            .collect()
    }

    /// By what the sessions were ended that no record names yet, with those each ended: one enforcement may catch up
    /// with several revocations.
    pub(crate) fn to_record(&self) -> BTreeMap<RevocationId, Vec<(SessionId, Cancelled)>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for Ended { live, revocation } in self.sessions.iter().filter(|e| !e.live.on_record.swap(true, Ordering::Relaxed)) {
            all.entry(*revocation).or_default().push((live.id, live.gate.cancelled()));
        }
        all
    }

    /// [`EnforceReport::receipts`] once nothing is pending any more, or after `within`.
    pub async fn settled(&self, within: Duration) -> Vec<SessionReceipt> {
        let deadline = Instant::now() + within;
        loop {
            let receipts = self.receipts();
            if receipts.iter().all(|r| r.upstream != Cancelled::Pending) || Instant::now() >= deadline {
                return receipts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl CancelKey {
    /// Compares in time that does not depend on where the secrets differ.
    fn admits(&self, sent: &CancelKey) -> bool {
        let same_length_as_issued = sent.secret.len() == self.secret.len();
        let difference = self.secret.iter().zip(&sent.secret).fold(0, |d, (a, b)| d | (a ^ b));
        self.node == sent.node && self.number == sent.number && same_length_as_issued && !sent.secret.is_empty() && difference == 0
    }
}

async fn drain_or_abort(mut sessions: Vec<&Arc<Live>>) {
    let deadline = Instant::now() + DRAIN_DEADLINE;
    loop {
        sessions.retain(|live| !live.gate.is_drained());
        if sessions.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            sessions.iter().for_each(|live| live.gate.abort());
            return;
        }
        tokio::time::sleep(DRAIN_POLL).await;
    }
}
