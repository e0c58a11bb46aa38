//! Renewing the lease (DESIGN §4): the node's loop, and what the leader does about a renewal.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::command::{Actor, Command};
use domain::id::{Index, NodeId};
use domain::member::{MemberRole, Serving};
use domain::time::LogTime;
use planted::{Bug, Point, planted, reach};
use tokio::time::{timeout, timeout_at};

use crate::clock::{Boottime, wall_ms};
use crate::limits::{
    CONFIRM_DEADLINE, LEASE, PROPOSE_ATTEMPT, REJOIN_PAUSE, RENEWAL_DEADLINE, RENEWAL_INTERVAL, RENEWAL_RETRY, barrier_wait,
};
use crate::log_time::StampClock;
use crate::node::Node;
use crate::peer_client::ask;
use crate::peer_transport::Class;
use crate::raft;
use crate::wire::{self, Kind, NotLeader};

/// What the leader of the control group remembers of the others. It is only ever used to take a node *out*; safety
/// rests on none of it, and a new leader starts empty.
#[derive(Default)]
pub(crate) struct Leading {
    /// Since when this node leads without a break.
    since: Option<Boottime>,
    heard: BTreeMap<NodeId, Heard>,
    pub(crate) clocks: StampClock,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Boottime,
    enforced: Index,
}

/// What a renewal brought back.
pub(crate) struct Confirmed {
    pub index: Index,
    pub log_time: LogTime,
}

impl Node {
    /// Renews for ever: every `D/4`, and at once after something narrowing was enforced.
    pub(crate) async fn renew(&self) {
        let mut enforced = self.publisher.enforced();
        let mut out_since: Option<Boottime> = None;
        loop {
            if self.leaving.load(std::sync::atomic::Ordering::Acquire) {
                return std::future::pending().await;
            }
            let started = Boottime::now();
            enforced.borrow_and_update();
            let renewed = self.renew_once(started).await;
            if renewed {
                self.ask_to_serve(&mut out_since).await;
            }
            let pause = if renewed { RENEWAL_INTERVAL.saturating_sub(started.elapsed()) } else { RENEWAL_RETRY };
            let _ = timeout(pause, self.publisher.enforced_narrowing.notified()).await;
        }
    }

    /// One renewal; true when it was confirmed and what it needs is enforced here, in the serving set or not.
    async fn renew_once(&self, asked: Boottime) -> bool {
        reach(Point::RenewalBefore);
        let Ok(confirmed) = self.read_index(RENEWAL_DEADLINE).await else { return false };
        reach(Point::RenewalConfirmed);
        let mut enforced = self.publisher.enforced();
        let end = tokio::time::Instant::now() + LEASE.saturating_sub(asked.elapsed());
        let reached = timeout_at(end, enforced.wait_for(|e| *e >= confirmed.index || planted(Bug::UsedBeforeEnforced))).await;
        if !matches!(reached, Ok(Ok(_))) {
            return false;
        }
        self.publisher.clock().learn(confirmed.log_time, asked);
        let asked = if planted(Bug::LeaseFromAnswer) { Boottime::now() } else { asked };
        // The state looked at is the one the index asks for, or a later one.
        let state = self.publisher.state();
        match state.members.get(&self.home.node).map(|m| m.serving) {
            Some(Serving::Yes { joined }) if joined <= confirmed.index || planted(Bug::RejoinWithoutIndex) => {
                if !self.leaving.load(std::sync::atomic::Ordering::Acquire) {
                    reach(Point::LeaseBeforeExtended);
                    self.lease.extend(asked);
                    reach(Point::LeaseExtended);
                }
            }
            // Joined later than what was confirmed: the next renewal will include it.
            Some(Serving::Yes { .. }) => {}
            Some(Serving::No { .. }) if planted(Bug::ServesWithoutBelonging) => self.lease.extend(asked),
            Some(Serving::No { .. }) | None => self.lease.give_up(),
        }
        true
    }

    /// A node that renews well but is not in the serving set asks to join, not sooner than the pause after it left.
    async fn ask_to_serve(&self, out_since: &mut Option<Boottime>) {
        let state = self.publisher.state();
        let Some(member) = state.members.get(&self.home.node) else { return };
        let Serving::No { .. } = member.serving else {
            *out_since = None;
            return;
        };
        let since = *out_since.get_or_insert_with(Boottime::now);
        // A process that just started rejoins at once; one that was taken out while it ran waits.
        let fresh = self.started.elapsed() < REJOIN_PAUSE;
        if member.role == MemberRole::Removed || (!fresh && since.elapsed() < REJOIN_PAUSE) {
            return;
        }
        reach(Point::ServingBeforeAsked);
        let command = Command::SetServing { node: self.home.node, serving: true };
        let id = self.own_proposal_id("serve");
        match self.propose_within(id, Actor::Node(self.home.node), command, PROPOSE_ATTEMPT).await {
            Ok(done) => tracing::info!(index = %done.index, reply = ?done.reply, "asked to join the serving set"),
            Err(e) => tracing::debug!(error = %e, "could not ask to join the serving set"),
        }
        *out_since = Some(Boottime::now());
        self.publisher.enforced_narrowing.notify_one();
    }

    /// A read index confirmed by a quorum round that starts after this call, with the log time there.
    pub(crate) async fn read_index(&self, within: Duration) -> Result<Confirmed, String> {
        let leader = self.control_leader().ok_or("no leader is known")?;
        let request = wire::RenewRequest { boot: self.boot.0, enforced: self.publisher.enforced().borrow().0, wall_ms: wall_ms() };
        let response = if leader == self.home.node {
            timeout(within, self.answer_renewal(leader, request)).await.map_err(|_| "no quorum in time")?
        } else {
            let transport = self.transport();
            let asking = ask::<_, wire::ReadIndexResponse>(&*transport, leader, Class::Control, Kind::Renew, 0, &request, within);
            tokio::select! {
                answer = asking => answer.map_err(|e| e.error.to_string())?,
                () = raft::leader_gone(&self.control, leader) => return Err("the leader changed".into()),
            }
        };
        match response.index {
            Some(index) => Ok(Confirmed { index: Index(index), log_time: LogTime(response.log_time) }),
            None => Err(response.refused.map_or_else(|| "refused".into(), |r| r.why)),
        }
    }

    /// For strict grants: a fresh read index, applied here.
    pub(crate) async fn confirm(&self) -> Result<Index, String> {
        let deadline = tokio::time::Instant::now() + CONFIRM_DEADLINE;
        let confirmed = self.read_index(CONFIRM_DEADLINE).await?;
        let mut enforced = self.publisher.enforced();
        match timeout_at(deadline, enforced.wait_for(|e| *e >= confirmed.index)).await {
            Ok(Ok(_)) => Ok(confirmed.index),
            _ => Err(format!("index {} was not enforced here in time", confirmed.index)),
        }
    }

    /// The leader's answer. Reading the index comes after noting the arrival, so its quorum round started later.
    pub(crate) async fn answer_renewal(&self, from: NodeId, request: wire::RenewRequest) -> wire::ReadIndexResponse {
        let refuse = |why: String| wire::ReadIndexResponse {
            index: None,
            log_time: 0,
            refused: Some(NotLeader { leader: self.control_leader().map(|n| n.0), why }),
        };
        let state = self.publisher.state();
        if state.members.get(&from).is_some_and(|m| m.role == MemberRole::Removed) {
            return refuse(format!("node {from} was removed"));
        }
        {
            let now = Boottime::now();
            let mut leading = self.leading.lock();
            leading.clocks.heard(from, request.wall_ms, now);
            leading.heard.insert(from, Heard { at: now, enforced: Index(request.enforced) });
        }
        reach(Point::RenewalHeard);
        let index = match raft::read_index(&self.control(), RENEWAL_DEADLINE).await {
            Ok(index) => index,
            Err(why) => return refuse(why),
        };
        // What a tick would say now: log time may stand still in the log while nothing can expire.
        match self.log_time() {
            (log_time, true) => wire::ReadIndexResponse { index: Some(index), log_time: log_time.0, refused: None },
            (_, false) => refuse("the leader has not heard a majority of the voters' clocks yet".to_owned()),
        }
    }

    /// Watches the serving set while this node leads: who has not renewed for `2W` is taken out.
    pub(crate) async fn keep_serving_set(&self) {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            if self.control_leader() != Some(self.home.node) {
                *self.leading.lock() = Leading::default();
                continue;
            }
            for node in self.silent_members() {
                self.take_out(node, "it has not renewed its lease").await;
            }
        }
    }

    fn silent_members(&self) -> Vec<NodeId> {
        let state = self.publisher.state();
        let mut leading = self.leading.lock();
        let since = *leading.since.get_or_insert_with(Boottime::now);
        let limit = barrier_wait() * 2;
        let silent = |node: &NodeId| {
            let last = leading.heard.get(node).map_or(since, |h| h.at.max(since));
            *node != self.home.node && last.elapsed() > limit
        };
        let serving = state.members.iter().filter(|(_, m)| matches!(m.serving, Serving::Yes { .. }));
        serving.map(|(node, _)| *node).filter(|node| silent(node)).collect()
    }

    /// A barrier ran to `W` waiting for `node`. The leader takes it out if it, too, lacks its report.
    pub(crate) async fn suspect(&self, node: NodeId, index: Index) {
        if self.control_leader() != Some(self.home.node) {
            return;
        }
        let reported = {
            let leading = self.leading.lock();
            leading.heard.get(&node).is_some_and(|h| h.enforced >= index && h.at.elapsed() < LEASE)
        };
        let serves = self.publisher.state().members.get(&node).is_some_and(|m| matches!(m.serving, Serving::Yes { .. }));
        if serves && !reported {
            self.take_out(node, "it did not report that it enforces a narrowing command").await;
        }
    }

    async fn take_out(&self, node: NodeId, why: &str) {
        tracing::warn!(%node, why, "taking a node out of the serving set");
        let command = Command::SetServing { node, serving: false };
        let id = self.own_proposal_id("unserve");
        if let Err(e) = self.propose_within(id, Actor::Node(self.home.node), command, PROPOSE_ATTEMPT).await {
            tracing::warn!(%node, error = %e, "could not take the node out");
        }
    }
}
