//! The barrier of a narrowing command: `cluster::receipt`.

use domain::member::Serving;

use super::event::{Message, Timer};
use super::figures::{AWAIT_ENFORCED_DEADLINE, MS, barrier_wait};
use super::history::{Fact, Revoked};
use super::propose::Purpose;
use super::{Sim, figures, world};
use crate::flaw::Flaw;

#[derive(Debug)]
pub(super) struct Barrier {
    id: u64,
    revoked: Revoked,
    place: usize,
    learned_at: u64,
    stops: u32,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    node: usize,
    /// By the answering node's clock.
    until: u64,
    reported: Option<bool>,
}

/// Another node waits until this one enforces a place.
#[derive(Debug)]
pub(super) struct Question {
    from: usize,
    barrier: u64,
    asker: usize,
    place: usize,
    until: u64,
}

impl Sim {
    pub(super) fn start_barrier(&mut self, node: usize, revoked: Revoked, learned: u64, stops: u32) {
        let local = self.local(node);
        let wait = self.wait();
        let state = self.world.state(self.nodes[node].applied);
        let mut members = Vec::new();
        let mut departed = Vec::new();
        for other in 0..self.count {
            let full = learned + wait;
            match state.members.get(&world::node_id(other)).map(|m| m.serving) {
                Some(Serving::Yes { .. }) => members.push(Member { node: other, until: full, reported: None }),
                Some(Serving::No { .. }) if !self.is(Flaw::LeftNotAwaited) => {
                    let Some((_, since)) = self.nodes[node].left[other] else { continue };
                    let until = full.min(since + wait);
                    if until > local {
                        members.push(Member { node: other, until, reported: None });
                        departed.push(other);
                    }
                }
                Some(Serving::No { .. }) | None => {}
            }
        }
        for other in departed {
            let left_at = self.nodes[node].left[other].map_or(0, |(place, _)| place);
            let departed_for = self.now - self.applied_first[left_at];
            self.fact(Fact::DepartedAwaited { node: other, departed_for });
        }
        self.order += 1;
        let id = self.order;
        let place = self.world.place(revoked.revocation);
        let count = members.len();
        let untils: Vec<u64> = members.iter().map(|m| m.until).collect();
        self.nodes[node].barriers.push(Barrier { id, revoked, place, learned_at: self.now, stops, members });
        if self.is(Flaw::NoBarrier) {
            return self.acknowledge(node, self.nodes[node].barriers.len() - 1);
        }
        for (member, until) in untils.into_iter().enumerate() {
            self.timer_at_local(node, until, Timer::BarrierOver { barrier: id, member });
            self.ask_enforced(node, id, member, false);
        }
        if count == 0 {
            self.acknowledge(node, self.nodes[node].barriers.len() - 1);
        }
    }

    /// `W`.
    fn wait(&self) -> u64 {
        match self.setup.flaw {
            Some(Flaw::NoDriftFactor) => figures::LEASE + figures::FENCE_MARGIN,
            Some(Flaw::NoFenceMargin) => barrier_wait() - figures::FENCE_MARGIN,
            _ => barrier_wait(),
        }
    }

    fn barrier(&mut self, node: usize, barrier: u64) -> Option<(usize, &mut Barrier)> {
        self.nodes[node].barriers.iter_mut().enumerate().find(|(_, b)| b.id == barrier)
    }

    pub(super) fn ask_enforced(&mut self, node: usize, barrier: u64, member: usize, through_leader: bool) {
        let Some((_, it)) = self.barrier(node, barrier) else { return };
        let (about, place, done) = (it.members[member].node, it.place, it.members[member].reported.is_some());
        if done {
            return;
        }
        let via = self.nodes[node].raft.leader.filter(|leader| through_leader && *leader != node).unwrap_or(about);
        self.send(node, via, Message::AwaitEnforced { barrier, asker: node, node: about, place });
        let again = Timer::AskEnforced { barrier, member, through_leader: !through_leader };
        self.timer(node, AWAIT_ENFORCED_DEADLINE + 220 * MS, again);
    }

    pub(super) fn await_enforced(&mut self, node: usize, from: usize, barrier: u64, asker: usize, about: usize, place: usize) {
        if about != node {
            return self.send(node, about, Message::AwaitEnforced { barrier, asker, node: about, place });
        }
        if self.nodes[node].enforced >= place {
            return self.send(node, from, Message::Enforces { barrier, asker, node });
        }
        let until = self.now + AWAIT_ENFORCED_DEADLINE;
        self.nodes[node].asked.push(Question { from, barrier, asker, place, until });
    }

    /// What was enforced moved.
    pub(super) fn answer_questions(&mut self, node: usize) {
        let (enforced, now) = (self.nodes[node].enforced, self.now);
        let asked = std::mem::take(&mut self.nodes[node].asked);
        for question in asked {
            if question.place <= enforced && now <= question.until {
                self.send(node, question.from, Message::Enforces { barrier: question.barrier, asker: question.asker, node });
            } else if now <= question.until {
                self.nodes[node].asked.push(question);
            }
        }
    }

    pub(super) fn enforces(&mut self, node: usize, barrier: u64, asker: usize, about: usize) {
        if asker != node {
            return self.send(node, asker, Message::Enforces { barrier, asker, node: about });
        }
        self.member_done(node, barrier, |m| m.node == about, true);
    }

    pub(super) fn barrier_over(&mut self, node: usize, barrier: u64, member: usize) {
        let Some((_, it)) = self.barrier(node, barrier) else { return };
        let (about, place) = (it.members[member].node, it.place);
        if it.members[member].reported.is_some() {
            return;
        }
        if let Some(leader) = self.nodes[node].raft.leader {
            self.send(node, leader, Message::Suspect { node: about, place });
        }
        self.member_done(node, barrier, |m| m.node == about, false);
    }

    fn member_done(&mut self, node: usize, barrier: u64, which: impl Fn(&Member) -> bool, reported: bool) {
        let Some((at, it)) = self.barrier(node, barrier) else { return };
        for member in it.members.iter_mut().filter(|m| which(m)) {
            member.reported.get_or_insert(reported);
        }
        if it.members.iter().all(|m| m.reported.is_some()) {
            self.acknowledge(node, at);
        }
    }

    fn acknowledge(&mut self, node: usize, at: usize) {
        let it = self.nodes[node].barriers.swap_remove(at);
        let silent = it.members.iter().filter(|m| m.reported == Some(false)).count() as u8;
        for member in it.members.iter().filter(|m| m.reported == Some(true)) {
            let open = self.nodes[member.node].sessions.iter().any(|s| s.rests_on(&it.revoked));
            if self.nodes[member.node].alive && open {
                self.fact(Fact::StillOpen { agent: it.revoked.agent, node: member.node });
            }
        }
        self.fact(Fact::Acknowledged {
            node,
            revoked: it.revoked,
            learned: it.learned_at,
            silent,
            stopped_meanwhile: it.stops != self.nodes[node].stops,
        });
        let Revoked { agent, grant, .. } = it.revoked;
        self.admin_heard(Purpose::Revoke { agent, grant, stops: it.stops }, true);
    }
}
