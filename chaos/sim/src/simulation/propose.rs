//! Putting a command through the log from any node: `cluster::propose`.

use domain::command::{Actor, Command, Proposal, Reply};
use domain::id::{GrantId, Index};
use domain::time::LogTime;

use super::event::{Message, Timer};
use super::figures::{MS, PROPOSE_ATTEMPT, PROPOSE_DEADLINE, PROPOSE_PAUSE};
use super::history::Revoked;
use super::{Sim, world};

/// What to do when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Revoke { agent: usize, grant: Option<GrantId>, stops: u32 },
    Widen { agent: usize },
    Serve,
    TakeOut,
}

#[derive(Debug)]
struct Pending {
    ticket: u64,
    number: u32,
    purpose: Purpose,
    proposed: u64,
    deadline: u64,
    attempt_ends: u64,
    asked: Option<usize>,
    /// Committed at this place, and not applied here yet.
    place: Option<(usize, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Proposing {
    pending: Vec<Pending>,
}

impl Sim {
    pub(super) fn propose(&mut self, node: usize, actor: Actor, command: Command, purpose: Purpose) {
        let number = self.proposals.len() as u32;
        let id = format!("p{number}").parse().expect("an id");
        self.proposals.push(Some(Proposal { id, actor, stamp: LogTime(0), command }));
        let (ticket, now) = (u64::from(number), self.now);
        let pending = Pending {
            ticket,
            number,
            purpose,
            proposed: self.local(node),
            deadline: now + PROPOSE_DEADLINE,
            attempt_ends: 0,
            asked: None,
            place: None,
        };
        self.nodes[node].propose.pending.push(pending);
        self.propose_again(node, ticket);
    }

    /// Asks the leader that is known, unless one that still leads was asked not long ago.
    pub(super) fn propose_again(&mut self, node: usize, ticket: u64) {
        let (now, leader) = (self.now, self.nodes[node].raft.leader);
        let pending = &mut self.nodes[node].propose.pending;
        let Some(at) = pending.iter().position(|p| p.ticket == ticket) else { return };
        if now >= pending[at].deadline {
            let given_up = pending.swap_remove(at);
            return self.admin_heard(given_up.purpose, false);
        }
        let it = &mut pending[at];
        let waits = it.place.is_some() || (it.asked.is_some() && it.asked == leader && now < it.attempt_ends);
        let mut pause = 50 * MS;
        if !waits {
            it.asked = leader;
            it.attempt_ends = now + PROPOSE_ATTEMPT;
            let number = it.number;
            match leader {
                Some(leader) => self.send(node, leader, Message::Propose { ticket, number }),
                None => pause = PROPOSE_PAUSE,
            }
        }
        self.timer(node, pause, Timer::Propose { ticket });
    }

    pub(super) fn proposed(&mut self, node: usize, ticket: u64, place: Option<usize>) {
        let local = self.local(node);
        let Some(it) = self.nodes[node].propose.pending.iter_mut().find(|p| p.ticket == ticket) else { return };
        match place {
            // `tc`: only from here on does this node know that it is committed.
            Some(place) => {
                it.place.get_or_insert((place, local));
                self.follow_own_proposals(node);
            }
            None => it.asked = None,
        }
    }

    /// A proposal is done when this node has applied it.
    pub(super) fn follow_own_proposals(&mut self, node: usize) {
        let applied = self.nodes[node].applied;
        while let Some(at) = self.nodes[node].propose.pending.iter().position(|p| p.place.is_some_and(|(place, _)| place <= applied)) {
            let done = self.nodes[node].propose.pending.swap_remove(at);
            let (place, learned) = done.place.expect("just found to be there");
            if let Purpose::Revoke { agent, grant, stops } = done.purpose {
                // A repeated proposal is answered with what the first one made.
                let index = match self.world.reply(place) {
                    Reply::Rejected(_) => {
                        self.admin_heard(done.purpose, false);
                        continue;
                    }
                    Reply::Done { version } => *version,
                    Reply::Lock(lock) => Index(lock.0),
                    _ => self.world.index(place),
                };
                let learned = if self.is(crate::flaw::Flaw::WaitFromProposal) { done.proposed } else { learned };
                self.start_barrier(node, Revoked { agent, grant, revocation: index }, learned, stops);
            } else if done.purpose == Purpose::Serve {
                // The lease it may have now is asked for at once.
                self.hurry_renewal(node);
            } else {
                self.admin_heard(done.purpose, true);
            }
        }
    }

    /// The stamp a leader gives now.
    pub(super) fn stamp(&mut self, node: usize) -> LogTime {
        let (local, wall, count) = (self.local(node), self.nodes[node].clock.wall_ms(self.now), self.count);
        let it = &mut self.nodes[node];
        let floor = self.world.state(it.applied).now.0;
        it.leading.clocks.heard(node, wall, local, true);
        it.leading.clocks.stamp(count, floor, it.stamped, local)
    }

    /// `Node::tick`: while something can expire, time is put on the log.
    pub(super) fn log_tick(&mut self, node: usize) {
        use super::figures::TICK_INTERVAL;
        let it = &self.nodes[node];
        let due = self.now > 0 && self.local(node).saturating_sub(it.stamped) >= TICK_INTERVAL;
        let something_expires = self.grants.iter().any(|(_, end)| *end + 5_000 * MS > self.now);
        if it.raft.leads() && due && something_expires {
            let number = self.proposals.len() as u32;
            let id = format!("tick{number}").parse().expect("an id");
            self.proposals.push(Some(Proposal { id, actor: world::actor(node), stamp: LogTime(0), command: Command::Tick }));
            self.propose_here(node, node, u64::from(number), number);
        }
        self.timer(node, TICK_INTERVAL, Timer::LogTick);
    }
}
