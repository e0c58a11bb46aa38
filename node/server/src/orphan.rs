//! Sessions that a silent node left behind at the targets, ended in its place (DESIGN §4, "a stopped process").
//!
//! ```text
//!  connection records of all nodes ─► Roster ─┐
//!  a member left the serving set ─────────────┴─► the leader: what is to go ─► the target ─► termination record, receipts
//! ```
//! A member that does not report within a barrier, or does not renew, is taken out of the serving set, and its lease is
//! over. Of what it admitted before, the leader ends at the target
//! - every session that the state allows no more, at once; whether its node lives or not, that is what it would do;
//! - after the longest lease, sessions with work: at the end of its lease the node itself, if it lives, has reset those.
//!
//! Sessions that it admits when it serves again were admitted at a later index and are none of these. Nothing waits for
//! this: a revocation is acknowledged when the lease has run out.

mod roster;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use cluster::limits::barrier_wait;
use domain::admission::{Attempt, Recent, ended_since};
use domain::audit::record::{Backend, Termination};
use domain::command::{Actor, Command};
use domain::id::{Index, Name, NodeId, RevocationId, SessionId};
use domain::limits::RECEIPT_SESSIONS_MAX;
use domain::member::{Cancelled, MemberRole, NodeReceipt, Serving, SessionReceipt};
use domain::operation::Protocol;
use domain::refusal::Refusal;
use domain::state::State;
use domain::target::Target;
use domain::time::LogTime;
use futures_util::future::join_all;
use protocol_postgres::upstream::backend::{BACKENDS_PER_QUESTION_MAX, Fate, Which, terminate};
use tokio::time::{Instant, sleep};

pub(crate) use self::roster::{Known, Roster};
use crate::enforcement::Sessions;
use crate::neighbour::{self, Answer, Connection, Question};
use crate::own_login::{OwnLogin, within};

/// How often the leader looks whether a member has left.
const LOOK: Duration = Duration::from_millis(200);
/// … and at its sessions again when nothing was taken away since: time may have ended some.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// One visit to a target: to log in, to tell, and to see them gone.
const VISIT_DEADLINE: Duration = Duration::from_secs(5);
/// Visits to a target that fail before the leader gives up, and the pause between two.
const VISITS_MAX: u32 = 5;
const VISIT_PAUSE: Duration = Duration::from_secs(1);
/// How long a node may take to tell its connections.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// Each node is asked when this one starts, and this often later: a snapshot passes over records.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// A node that did not answer is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a receipt is waited for that is to be completed. It is filed at the acknowledgement.
const RECEIPT_WITHIN: Duration = Duration::from_secs(10);
const RECEIPT_POLL: Duration = Duration::from_millis(50);

/// What this node tells of its own sessions.
pub(crate) fn told(connections: Vec<(Attempt, Index, Option<Backend>)>) -> Vec<Connection> {
    let tell = |(attempt, admitted_at, backend): (Attempt, Index, Option<Backend>)| Connection {
        session: attempt.session.to_string(),
        principal: attempt.principal.to_string(),
        on_behalf_of: attempt.on_behalf_of.map(|name| name.to_string()),
        target: attempt.target.to_string(),
        admitted_at: admitted_at.0,
        process: backend.map_or(0, |backend| backend.process),
        started_us: backend.map_or(0, |backend| backend.started_us),
    };
    connections.into_iter().map(tell).collect()
}

/// What a node told of a session of its own; of another's it is not believed.
fn heard(from: NodeId, connection: &Connection) -> Option<Known> {
    let session: SessionId = connection.session.parse().ok().filter(|session: &SessionId| session.node == from)?;
    let on_behalf_of = connection.on_behalf_of.as_deref().map(str::parse).transpose().ok()?;
    let attempt = Attempt { session, principal: connection.principal.parse().ok()?, on_behalf_of, target: connection.target.parse().ok()? };
    let Connection { process, started_us, .. } = *connection;
    let backend = (process != 0).then_some(Backend { process, started_us });
    Some(Known { attempt, admitted_at: Index(connection.admitted_at), backend })
}

/// For ever: asks the others for what the log does not tell this process, because it was said before it started.
pub(crate) async fn learn(cluster: Cluster, sessions: Arc<Sessions>) {
    let mut asked = BTreeMap::<NodeId, Instant>::new();
    loop {
        let state = cluster.state();
        let is_due = |node: &NodeId| asked.get(node).is_none_or(|at| at.elapsed() >= ASK_EVERY);
        let others = state.members.values().filter(|m| m.id != cluster.node() && m.role != MemberRole::Removed).map(|m| m.id);
        let ask = |node: NodeId| {
            let cluster = &cluster;
            async move {
                let answer = cluster.ask_gateway(node, neighbour::encode(&Question::Connections), TELL_WITHIN).await.ok()?;
                Some((node, neighbour::decode::<Answer>(&answer)?.connections?))
            }
        };
        for (node, connections) in join_all(others.filter(is_due).map(ask)).await.into_iter().flatten() {
            connections.iter().filter_map(|connection| heard(node, connection)).for_each(|known| sessions.roster.put(known));
            asked.insert(node, Instant::now());
        }
        sleep(ASK_AGAIN).await;
    }
}

/// For ever: while this node leads, ends what members left behind that do not serve.
pub(crate) async fn keep(cluster: Cluster, sessions: Arc<Sessions>) {
    let mut leader = Leader { cluster, sessions, out: BTreeMap::new(), filing: Arc::default(), proposed: 0 };
    loop {
        sleep(LOOK).await;
        if leader.cluster.leader() == Some(leader.cluster.node()) && leader.cluster.may_forward() {
            leader.round().await;
        } else {
            leader.out.clear();
        }
    }
}

struct Leader {
    cluster: Cluster,
    sessions: Arc<Sessions>,
    /// The members that do not serve, since this node leads.
    out: BTreeMap<NodeId, Out>,
    /// Receipts are completed one after the other.
    filing: Arc<tokio::sync::Mutex<()>>,
    /// Counts proposals: their ids are of this boot.
    proposed: u64,
}

/// A member that does not serve.
struct Out {
    left: Index,
    since: Instant,
    /// Sessions that are over, or given up.
    over: BTreeSet<SessionId>,
    /// Sessions that were seen not to be at work, or given up.
    at_rest: BTreeSet<SessionId>,
    /// Visits that failed, and when the last one did.
    failed: BTreeMap<Name, (u32, Instant)>,
    /// Nothing was to go when it was looked at last.
    quiet: Option<Quiet>,
}

/// Why nothing is to go: what had been taken away by then, whether those at work were asked for, and when that was.
#[derive(Clone, Copy)]
struct Quiet {
    narrowed: Index,
    was_ripe: bool,
    at: Instant,
}

/// What is to go at one target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// Allowed no more, each with the revocation it fell under, where that has a number.
    refused: Vec<(Known, Option<RevocationId>)>,
    /// To be ended if they are at work.
    busy: Vec<Known>,
}

/// A target, and what is to go there of a member.
struct Visit<'a> {
    member: NodeId,
    target: &'a Target,
    due: Due,
}

/// What became of it.
struct Visited {
    member: NodeId,
    target: Name,
    /// Those that are over now, or of which nothing can be known.
    over: Vec<(Known, Option<RevocationId>, Cancelled)>,
    at_rest: Vec<SessionId>,
    failed: Option<String>,
}

impl Out {
    fn new(left: Index) -> Out {
        Out { left, since: Instant::now(), over: BTreeSet::new(), at_rest: BTreeSet::new(), failed: BTreeMap::new(), quiet: None }
    }

    /// Nothing can have changed since nothing was to go.
    fn is_quiet(&self, narrowed: Index) -> bool {
        let same = |quiet: Quiet| quiet.narrowed == narrowed && quiet.was_ripe == self.is_ripe();
        self.quiet.is_some_and(|quiet| same(quiet) && quiet.at.elapsed() < LOOK_AGAIN)
    }

    /// No lease from before it left can still run. It is not back by then either: it waits longer before it asks to join.
    fn is_ripe(&self) -> bool {
        self.since.elapsed() >= barrier_wait()
    }

    fn is_visited_later(&self, target: &Name) -> bool {
        self.failed.get(target).is_some_and(|(_, at)| at.elapsed() < VISIT_PAUSE)
    }

    /// The next visit to this target that fails is the last one.
    fn gives_up(&self, target: &Name) -> bool {
        self.failed.get(target).map_or(0, |(times, _)| *times) + 1 >= VISITS_MAX
    }
}

/// What is to go of `known`, by target. `refuse` says why a session is allowed no more.
fn due(known: Vec<Known>, out: &Out, is_ripe: bool, mut refuse: impl FnMut(&Known) -> Option<Refusal>) -> BTreeMap<Name, Due> {
    let mut all = BTreeMap::<Name, Due>::new();
    for known in known {
        let session = known.attempt.session;
        if out.over.contains(&session) || known.admitted_at >= out.left {
            continue;
        }
        if let Some(refusal) = refuse(&known) {
            all.entry(known.attempt.target.clone()).or_default().refused.push((known, revocation(&refusal)));
        } else if is_ripe && known.backend.is_some() && !out.at_rest.contains(&session) {
            all.entry(known.attempt.target.clone()).or_default().busy.push(known);
        }
    }
    for due in all.values_mut() {
        // The rest goes with the next round.
        due.refused.truncate(BACKENDS_PER_QUESTION_MAX);
        due.busy.truncate(BACKENDS_PER_QUESTION_MAX);
    }
    all
}

/// Under which number a receipt may be filed. What ended by time, for one, has none.
fn revocation(refusal: &Refusal) -> Option<RevocationId> {
    if let Refusal::Revoked { revocation, .. } = refusal {
        return Some(*revocation);
    }
    if let Refusal::Locked { lock, .. } = refusal { Some(RevocationId(lock.0)) } else { None }
}

/// What is known of a session's work after its process was told to go.
fn outcome(fate: Fate) -> Cancelled {
    match fate {
        Fate::Ended { was_idle: true } => Cancelled::Idle,
        Fate::Ended { was_idle: false } => Cancelled::Cancelled,
        // It had gone by itself, or does not go.
        Fate::NotFound | Fate::Told { .. } => Cancelled::Unknown,
    }
}

impl Leader {
    async fn round(&mut self) {
        let (state, now) = (self.cluster.state(), self.cluster.now());
        self.follow(&state);
        let mut visits = Vec::new();
        let narrowed = state.cluster.narrowed;
        for (member, out) in self.out.iter_mut().filter(|(_, out)| !out.is_quiet(narrowed)) {
            let known = self.sessions.roster.admitted_before(*member, out.left);
            let mut recent = Recent::default();
            let rules = self.sessions.rules.as_ref();
            let mut review = |state: &State, attempt: &Attempt, now: LogTime| recent.review(state, attempt, now, rules);
            let refuse = |known: &Known| ended_since(&state, &known.attempt, known.admitted_at, now, &mut review);
            let was_ripe = out.is_ripe();
            let all = due(known, out, was_ripe, refuse);
            out.quiet = all.is_empty().then(|| Quiet { narrowed, was_ripe, at: Instant::now() });
            for (target, due) in all {
                if let Some(target) = state.targets.get(&target).filter(|target| !out.is_visited_later(&target.name)) {
                    visits.push(Visit { member: *member, target, due });
                }
            }
        }
        for visited in join_all(visits.into_iter().map(|visit| self.visit(&state, visit))).await {
            self.note(visited);
        }
    }

    /// Who does not serve, and since when.
    fn follow(&mut self, state: &State) {
        let own = self.cluster.node();
        let left = |node: &NodeId| match state.members.get(node).map(|member| member.serving) {
            Some(Serving::No { left }) if *node != own => Some(left),
            Some(Serving::No { .. } | Serving::Yes { .. }) | None => None,
        };
        self.out.retain(|node, out| left(node) == Some(out.left));
        for (node, left) in state.members.keys().filter_map(|node| Some((*node, left(node)?))) {
            self.out.entry(node).or_insert_with(|| Out::new(left));
        }
    }

    async fn visit(&self, state: &State, visit: Visit<'_>) -> Visited {
        let Visit { member, target, due } = visit;
        let mut visited = Visited { member, target: target.name.clone(), over: Vec::new(), at_rest: Vec::new(), failed: None };
        let can_be_told = |known: &Known| known.backend.is_some() && !target.weak_cancel;
        let (refused, untold): (Vec<_>, Vec<_>) = due.refused.into_iter().partition(|(known, _)| can_be_told(known));
        let unknown = |(known, revocation)| (known, revocation, Cancelled::Unknown);
        visited.over.extend(untold.into_iter().map(unknown));
        let busy: Vec<Known> = due.busy.into_iter().filter(can_be_told).collect();
        let backends = |known: &mut dyn Iterator<Item = &Known>| known.filter_map(|known| known.backend).collect::<Vec<_>>();
        let ended = async {
            let refused = self.end(state, target, &backends(&mut refused.iter().map(|(known, _)| known)), Which::All).await?;
            Ok::<_, String>((refused, self.end(state, target, &backends(&mut busy.iter()), Which::Busy).await?))
        };
        match ended.await {
            Ok((fates, fates_of_busy)) => {
                visited.over.extend(refused.into_iter().zip(fates).map(|((known, revocation), fate)| (known, revocation, outcome(fate))));
                for (known, fate) in busy.into_iter().zip(fates_of_busy) {
                    match fate {
                        Fate::NotFound => visited.at_rest.push(known.attempt.session),
                        Fate::Ended { .. } | Fate::Told { .. } => visited.over.push((known, None, outcome(fate))),
                    }
                }
            }
            Err(error) => {
                if self.out.get(&member).is_some_and(|out| out.gives_up(&target.name)) {
                    visited.over.extend(refused.into_iter().map(unknown));
                    visited.at_rest.extend(busy.iter().map(|known| known.attempt.session));
                }
                visited.failed = Some(error);
            }
        }
        visited
    }

    /// Logs in with the target's sealed credential and ends these of its role's sessions.
    async fn end(&self, state: &State, target: &Target, backends: &[Backend], which: Which) -> Result<Vec<Fate>, String> {
        match target.protocol {
            Protocol::Postgres if !backends.is_empty() => {}
            // The cluster's own API has no sessions there.
            Protocol::Postgres | Protocol::Assize => return Ok(vec![Fate::NotFound; backends.len()]),
        }
        let credential = state.credentials.get(&target.credential).ok_or("the target's credential is gone")?;
        let own = OwnLogin::open(&self.cluster, target, credential, "assize, for a silent node")?;
        within(VISIT_DEADLINE, terminate(&own.address(), &own.login(), backends, which)).await
    }

    fn note(&mut self, visited: Visited) {
        let Visited { member, target, over, at_rest, failed } = visited;
        let Some(out) = self.out.get_mut(&member) else { return };
        if let Some(error) = failed {
            tracing::warn!(%member, %target, error, "sessions of a silent node could not be ended at their target");
            let times = out.failed.get(&target).map_or(0, |(times, _)| *times);
            out.failed.insert(target.clone(), (times + 1, Instant::now()));
        } else {
            out.failed.remove(&target);
        }
        out.at_rest.extend(at_rest);
        out.over.extend(over.iter().map(|(known, ..)| known.attempt.session));
        if over.is_empty() {
            return;
        }
        let ended: Vec<(SessionId, Cancelled)> = over.iter().map(|(known, _, outcome)| (known.attempt.session, *outcome)).collect();
        let unknown = ended.iter().filter(|(_, outcome)| *outcome == Cancelled::Unknown).count();
        metrics::counter!("assize_orphans_total", "outcome" => "ended").increment((ended.len() - unknown) as u64);
        metrics::counter!("assize_orphans_total", "outcome" => "unknown").increment(unknown as u64);
        tracing::info!(%member, %target, ended = ended.len() - unknown, unknown, "ended at their target the sessions of a silent node");
        if let Some(parts) = self.sessions.parts() {
            session::records::termination(parts, Termination { member, left: out.left, target: &target, ended: &ended });
        }
        self.complete_receipts(member, over);
    }

    fn complete_receipts(&mut self, member: NodeId, over: Vec<(Known, Option<RevocationId>, Cancelled)>) {
        let mut receipts = BTreeMap::<RevocationId, Vec<SessionReceipt>>::new();
        for (known, revocation, upstream) in over {
            let Attempt { session, principal, target, .. } = known.attempt;
            if let Some(revocation) = revocation {
                receipts.entry(revocation).or_default().push(SessionReceipt { session, principal, target, upstream });
            }
        }
        for (revocation, sessions) in receipts {
            self.proposed += 1;
            let filing = Filing { cluster: self.cluster.clone(), member, revocation, sessions, number: self.proposed };
            let turn = self.filing.clone();
            tokio::spawn(async move {
                let _turn = turn.lock().await;
                filing.file().await;
            });
        }
    }
}

/// Sessions that belong into a receipt, beside those that the nodes themselves reported.
struct Filing {
    cluster: Cluster,
    member: NodeId,
    revocation: RevocationId,
    sessions: Vec<SessionReceipt>,
    number: u64,
}

impl Filing {
    /// Completes the receipt of a revocation that did not hear from the member. None is made where there is none.
    async fn file(self) {
        let Some(command) = self.command().await else { return };
        let id = format!("orphans-{:016x}-{}", self.cluster.boot().0, self.number).parse().expect("a short text is an id");
        match self.cluster.propose(id, Actor::Node(self.cluster.node()), command).await {
            Ok(done) => {
                let _ = self.cluster.wait_applied(done.index, RECEIPT_WITHIN).await;
            }
            Err(error) => tracing::warn!(%error, revocation = %self.revocation, "a receipt could not be completed"),
        }
    }

    async fn command(&self) -> Option<Command> {
        let begun = Instant::now();
        loop {
            let state = self.cluster.state();
            let receipt = state.receipts.get(&self.revocation);
            if let Some(known) = receipt.and_then(|receipt| receipt.nodes.iter().find(|node| node.node == self.member)) {
                let there: usize = receipt.map_or(0, |receipt| receipt.nodes.iter().map(|node| node.sessions.len()).sum());
                let node = completed(known, &self.sessions, RECEIPT_SESSIONS_MAX.saturating_sub(there))?;
                return Some(Command::FileReceipt { revocation: self.revocation, nodes: vec![node] });
            }
            if begun.elapsed() > RECEIPT_WITHIN {
                return None;
            }
            sleep(RECEIPT_POLL).await;
        }
    }
}

/// What a receipt says of a silent node, with what was ended in its place; `None` if that adds nothing, or if the node
/// has reported itself.
fn completed(known: &NodeReceipt, sessions: &[SessionReceipt], room: usize) -> Option<NodeReceipt> {
    let is_new = |new: &&SessionReceipt| known.sessions.iter().all(|old| old.session != new.session);
    let more: Vec<SessionReceipt> = sessions.iter().filter(is_new).take(room).cloned().collect();
    if !known.by_expiry || more.is_empty() {
        return None;
    }
    let mut node = known.clone();
    node.sessions.extend(more);
    Some(node)
}
