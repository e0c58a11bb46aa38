//! The lease: renewing it, its end, the timer that kills, and what a leader does about the serving set.
//! `cluster::{lease, renewal}`, and the dead-man timer of DESIGN §4.

use domain::command::Command;
use domain::member::Serving;

use super::clock::StampClock;
use super::event::{Event, Message, Timer};
use super::figures::{
    FENCE_MARGIN, KILL_LATENCY_MAX, LEASE, LEASE_GUARD, MS, REJOIN_PAUSE, RENEWAL_DEADLINE, RENEWAL_INTERVAL, RENEWAL_RETRY, barrier_wait,
};
use super::history::Fact;
use super::propose::Purpose;
use super::{NODES_MAX, Quirk, Sim, world};
use crate::flaw::Flaw;

#[derive(Debug, Default)]
pub(super) struct Lease {
    /// By the node's clock; 0 without one.
    pub(super) end: u64,
    /// What sessions were told.
    pub(super) serving: bool,
    /// When the timer kills, by the node's clock; 0 disarmed.
    deadline: u64,
    asking: Option<Asking>,
    epoch: u64,
    request: u64,
    out_since: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Asking {
    request: u64,
    asked: u64,
    started: u64,
    /// What was confirmed, and the log time there.
    confirmed: Option<(usize, u64)>,
}

/// What a leader remembers of the others.
#[derive(Debug, Default)]
pub(super) struct Leading {
    since: Option<u64>,
    heard: [Option<(u64, usize)>; NODES_MAX],
    pub(super) clocks: StampClock,
}

impl Lease {
    /// Which of the loop's turns counts.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn forget(&mut self, survives: bool) {
        let (end, serving) = if survives { (self.end, self.serving) } else { (0, false) };
        *self = Lease { end, serving, request: self.request, epoch: self.epoch, ..Lease::default() };
    }
}

impl Sim {
    /// The last check before bytes leave.
    pub(super) fn may_forward(&self, node: usize) -> bool {
        self.is(Flaw::LeaseNotChecked) || self.local(node) + LEASE_GUARD < self.nodes[node].lease.end
    }

    pub(super) fn renew(&mut self, node: usize, epoch: u64) {
        if self.nodes[node].lease.epoch != epoch {
            return;
        }
        let local = self.local(node);
        let late = self.is(Flaw::NotedAfterSending);
        let (wall_ms, enforced) = (self.nodes[node].clock.wall_ms(self.now), self.nodes[node].enforced);
        let noted = if late { local + self.rng.range(0, 250 * MS) } else { local };
        let it = &mut self.nodes[node];
        it.lease.request += 1;
        let request = it.lease.request;
        it.lease.asking = Some(Asking { request, asked: noted, started: local, confirmed: None });
        match it.raft.leader {
            Some(leader) => {
                self.send(node, leader, Message::Renew { request, enforced, wall_ms });
                self.spring_ambush(node, true);
                self.timer(node, RENEWAL_DEADLINE, Timer::RenewalTimeout { request });
            }
            None => self.renewal_over(node, false),
        }
    }

    pub(super) fn renewal_timeout(&mut self, node: usize, request: u64) {
        let Some(asking) = self.nodes[node].lease.asking.filter(|a| a.request == request) else { return };
        match asking.confirmed {
            None => self.renewal_over(node, false),
            // Confirmed, but what it needs is not enforced: waited for until the lease it would give is over.
            Some(_) => {
                let left = (asking.asked + LEASE).saturating_sub(self.local(node));
                if left == 0 {
                    return self.renewal_over(node, false);
                }
                self.timer(node, left, Timer::RenewalTimeout { request });
            }
        }
    }

    fn renewal_over(&mut self, node: usize, renewed: bool) {
        let Some(asking) = self.nodes[node].lease.asking.take() else { return };
        let elapsed = self.local(node).saturating_sub(asking.started);
        let pause = if renewed { RENEWAL_INTERVAL.saturating_sub(elapsed) } else { RENEWAL_RETRY };
        if renewed {
            self.ask_to_serve(node);
        }
        self.renew_in(node, pause);
    }

    fn renew_in(&mut self, node: usize, pause: u64) {
        self.nodes[node].lease.epoch += 1;
        let epoch = self.nodes[node].lease.epoch;
        self.timer(node, pause, Timer::Renew { epoch });
    }

    /// Something narrowing was enforced: the leader shall hear of it at once.
    pub(super) fn hurry_renewal(&mut self, node: usize) {
        if self.nodes[node].lease.asking.is_none() {
            self.renew_in(node, 0);
        }
    }

    pub(super) fn answer_renewal(&mut self, node: usize, from: usize, request: u64, enforced: usize, wall_ms: u64) {
        let local = self.local(node);
        let set_back = self.has(Quirk::ClocksSetBack);
        let leading = &mut self.nodes[node].leading;
        leading.clocks.heard(from, wall_ms, local, set_back);
        leading.heard[from] = Some((local, enforced));
        self.read_index(node, from, request);
    }

    pub(super) fn renewed(&mut self, node: usize, request: u64, answer: Option<(usize, u64)>) {
        let local = self.local(node);
        let from_answer = self.is(Flaw::CountedFromAnswer);
        let Some(asking) = self.nodes[node].lease.asking.as_mut().filter(|a| a.request == request && a.confirmed.is_none()) else { return };
        if from_answer {
            asking.asked = local;
        }
        // A moment noted after sending cannot lie after the answer.
        asking.asked = asking.asked.min(local);
        asking.confirmed = answer;
        if answer.is_none() {
            return self.renewal_over(node, false);
        }
        self.use_renewal(node);
    }

    /// Called whenever what was enforced moves, too.
    pub(super) fn use_renewal(&mut self, node: usize) {
        let Some(Asking { asked, confirmed: Some((place, log_time)), .. }) = self.nodes[node].lease.asking else { return };
        if self.nodes[node].enforced < place && !self.is(Flaw::UsedBeforeEnforced) {
            return;
        }
        self.nodes[node].log_clock.learn(log_time, asked);
        // The state looked at is the one the index asks for, or a later one.
        let state = self.world.state(self.nodes[node].applied);
        let confirmed = self.world.index(place);
        match state.members.get(&world::node_id(node)).map(|m| m.serving) {
            _ if self.is(Flaw::RejoinWithoutIndex) => self.extend(node, asked),
            Some(Serving::Yes { joined }) if joined <= confirmed => self.extend(node, asked),
            Some(Serving::Yes { .. }) => {}
            Some(Serving::No { .. }) | None => self.give_up(node),
        }
        self.renewal_over(node, true);
    }

    fn extend(&mut self, node: usize, asked: u64) {
        let boot = self.nodes[node].boot;
        let end = asked + LEASE;
        let had = self.may_forward(node);
        let lease = &mut self.nodes[node].lease;
        if end <= lease.end {
            return;
        }
        lease.end = end;
        self.timer_at_local(node, end.saturating_sub(LEASE_GUARD), Timer::LeaseEnds { end });
        self.arm(node, end);
        if self.may_forward(node) && !std::mem::replace(&mut self.nodes[node].lease.serving, true) {
            self.thaw(node);
        }
        if !had {
            self.fact(Fact::LeaseTaken { node, boot });
        }
        self.spring_ambush(node, false);
    }

    /// So that the kill itself, too, lies within the margin.
    fn arm(&mut self, node: usize, end: u64) {
        let early = if self.is(Flaw::DeadManLate) { 0 } else { KILL_LATENCY_MAX };
        let deadline = end + FENCE_MARGIN - early;
        self.nodes[node].lease.deadline = deadline;
        let (boot, at) = (self.nodes[node].boot, self.nodes[node].clock.reaches(deadline));
        if !self.is(Flaw::NoDeadMan) {
            self.at(at, Event::DeadMan { node, boot, deadline });
        }
    }

    pub(super) fn disarm(&mut self, node: usize) {
        self.nodes[node].lease.deadline = 0;
    }

    /// The timer of the kernel: it needs no process that runs.
    pub(super) fn dead_man(&mut self, node: usize, boot: u64, deadline: u64) {
        let it = &self.nodes[node];
        if it.alive && it.boot == boot && it.lease.deadline == deadline {
            // Mostly as slow as it may be.
            let low = if self.rng.in_thousand(500) { KILL_LATENCY_MAX - 5 * MS } else { MS };
            let latency = self.rng.range(low, KILL_LATENCY_MAX);
            self.after(latency, Event::Die { node, boot });
        }
    }

    fn give_up(&mut self, node: usize) {
        self.nodes[node].lease.end = 0;
        if std::mem::replace(&mut self.nodes[node].lease.serving, false) {
            self.freeze(node);
        }
    }

    pub(super) fn lease_ends(&mut self, node: usize, end: u64) {
        if self.nodes[node].lease.end != end {
            return;
        }
        if !self.may_forward(node) && std::mem::replace(&mut self.nodes[node].lease.serving, false) {
            self.fact(Fact::Frozen { node });
            self.freeze(node);
        }
    }

    /// A node that renews well but is not in the serving set asks to join, not sooner than the pause after it left.
    fn ask_to_serve(&mut self, node: usize) {
        let local = self.local(node);
        let state = self.world.state(self.nodes[node].applied);
        let serves = matches!(state.members.get(&world::node_id(node)).map(|m| m.serving), Some(Serving::Yes { .. }));
        let it = &mut self.nodes[node];
        if serves {
            it.lease.out_since = None;
            return;
        }
        let since = *it.lease.out_since.get_or_insert(local);
        let fresh = local.saturating_sub(it.started) < REJOIN_PAUSE;
        if !fresh && local.saturating_sub(since) < REJOIN_PAUSE {
            return;
        }
        it.lease.out_since = Some(local);
        let command = Command::SetServing { node: world::node_id(node), serving: true };
        self.fact(Fact::Joined { node });
        self.propose(node, world::actor(node), command, Purpose::Serve);
    }

    pub(super) fn keep_serving_set(&mut self, node: usize) {
        self.timer(node, RENEWAL_INTERVAL, Timer::KeepServingSet);
        if !self.nodes[node].raft.leads() {
            return;
        }
        let local = self.local(node);
        let since = *self.nodes[node].leading.since.get_or_insert(local);
        for other in 0..self.count {
            let last = self.nodes[node].leading.heard[other].map_or(since, |(at, _)| at.max(since));
            if other != node && self.serves_for(node, other) && local.saturating_sub(last) > barrier_wait() * 2 {
                self.take_out(node, other);
            }
        }
    }

    fn serves_for(&self, node: usize, other: usize) -> bool {
        let state = self.world.state(self.nodes[node].applied);
        matches!(state.members.get(&world::node_id(other)).map(|m| m.serving), Some(Serving::Yes { .. }))
    }

    /// A barrier ran to its end waiting for `about`. The leader takes it out if it, too, lacks its report.
    pub(super) fn suspect(&mut self, node: usize, about: usize, place: usize) {
        if !self.nodes[node].raft.leads() || !self.serves_for(node, about) {
            return;
        }
        let local = self.local(node);
        let heard = self.nodes[node].leading.heard[about];
        if !heard.is_some_and(|(at, enforced)| enforced >= place && local.saturating_sub(at) < LEASE) {
            self.take_out(node, about);
        }
    }

    pub(super) fn take_out(&mut self, node: usize, other: usize) {
        self.fact(Fact::TakenOut { node: other });
        let command = Command::SetServing { node: world::node_id(other), serving: false };
        self.propose(node, world::actor(node), command, Purpose::TakeOut);
    }
}
