//! What goes wrong, and the administrator whose revocations must hold all the same.

use std::time::Duration;

use domain::command::Command;
use domain::lock::LockOn;
use domain::time::LogTime;

use super::clock::START;
use super::event::Event;
use super::figures::{MS, SECOND};
use super::history::Fact;
use super::propose::Purpose;
use super::{END, FAULTS_FROM, HEALED_AT, Sim, figures, world};

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Stop {
        node: usize,
    },
    Continue {
        node: usize,
    },
    /// `forgets`: the power went, and what was not synced with it.
    Kill {
        node: usize,
        forgets: bool,
    },
    CutTarget {
        node: usize,
    },
    HealTarget {
        node: usize,
    },
    /// Messages from one node to another are lost.
    Cut {
        from: usize,
        to: usize,
    },
    Heal {
        from: usize,
        to: usize,
    },
    /// What is committed is not applied here.
    Stall {
        node: usize,
        until: u64,
    },
    /// Somebody else begins an election although the leader is well.
    ChangeLeader {
        node: usize,
    },
    /// An operator takes a healthy node out.
    TakeOut {
        node: usize,
    },
    /// The process stops as soon as a thread gets to a certain place.
    Trap {
        node: usize,
        trap: Trap,
    },
    HealAll,
    Finish,
}

/// A failpoint: the process stops for a while when a session of that agent has been checked, or has been written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trap {
    pub(super) agent: usize,
    pub(super) written: bool,
    pub(super) span: u64,
}

/// What the administrator does about one agent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    waits: bool,
    /// Counts what was asked, so that an answer that came too late is not taken for the next one's.
    asked_at: u64,
    /// Revoke when this node has renewed, or when it asks to.
    ambush: Option<(usize, bool)>,
    /// It has; now is the time.
    aimed: Option<(usize, bool)>,
    through: Option<usize>,
}

/// Revocations end here, so that everybody has access again when health is measured.
const LAST_REVOCATION: u64 = HEALED_AT - SECOND;

impl Sim {
    pub(super) fn start_admin(&mut self) {
        for agent in 0..world::AGENTS {
            let first = self.rng.range(1_300 * MS, 2_200 * MS);
            self.at(first, Event::Admin { agent });
        }
        self.at(END - 1, Event::Fault(Fault::Finish));
    }

    pub(super) fn start_nemesis(&mut self) {
        for _ in 0..self.rng.range(4, 12) {
            let at = self.rng.range(FAULTS_FROM, HEALED_AT - 500 * MS);
            self.plan_fault(at);
        }
        self.at(HEALED_AT, Event::Fault(Fault::HealAll));
    }

    fn during(&mut self, at: u64, span: u64, begins: Fault, ends: Fault) {
        if at >= HEALED_AT {
            return;
        }
        self.at(at, Event::Fault(begins));
        self.at((at + span).min(HEALED_AT), Event::Fault(ends));
    }

    fn plan_fault(&mut self, at: u64) {
        let node = self.rng.below(self.count);
        let other = (node + 1 + self.rng.below(self.count - 1)) % self.count;
        match self.rng.below(11) {
            0 => {
                let span = self.rng.range(50 * MS, 4 * SECOND);
                self.during(at, span, Fault::Stop { node }, Fault::Continue { node });
            }
            1 => {
                let forgets = self.rng.in_thousand(500);
                self.at(at, Event::Fault(Fault::Kill { node, forgets }));
            }
            2 => {
                let span = self.rng.range(100 * MS, 3 * SECOND);
                self.during(at, span, Fault::CutTarget { node }, Fault::HealTarget { node });
            }
            3 => self.plan_isolation(at, node, true, true),
            4 => self.plan_isolation(at, node, true, false),
            5 => self.plan_isolation(at, node, false, true),
            6 => {
                let span = self.rng.range(200 * MS, 5 * SECOND);
                self.during(at, span, Fault::Cut { from: node, to: other }, Fault::Heal { from: node, to: other });
                if self.rng.in_thousand(500) {
                    self.during(at, span, Fault::Cut { from: other, to: node }, Fault::Heal { from: other, to: node });
                }
            }
            7 => {
                let span = self.rng.range(100 * MS, 3 * SECOND);
                self.at(at, Event::Fault(Fault::Stall { node, until: at + span }));
            }
            8 | 9 => self.at(at, Event::Fault(Fault::ChangeLeader { node })),
            _ => self.at(at, Event::Fault(Fault::TakeOut { node })),
        }
    }

    /// A node cut off in what it says, in what it hears, or in both.
    fn plan_isolation(&mut self, at: u64, node: usize, outwards: bool, inwards: bool) {
        let span = self.rng.range(200 * MS, 5 * SECOND);
        self.isolate(at, span, node, outwards, inwards);
    }

    fn isolate(&mut self, at: u64, span: u64, node: usize, outwards: bool, inwards: bool) {
        for other in (0..self.count).filter(|other| *other != node) {
            if outwards {
                self.during(at, span, Fault::Cut { from: node, to: other }, Fault::Heal { from: node, to: other });
            }
            if inwards {
                self.during(at, span, Fault::Cut { from: other, to: node }, Fault::Heal { from: other, to: node });
            }
        }
        self.fact(if outwards && inwards { Fact::Cut } else { Fact::OneWayCut });
    }

    /// The worst for a revocation: a gateway that has just renewed is cut off, its process stops between check and write
    /// or with bytes in its kernel, and the way to its target opens again when its lease and its fences end.
    fn aim(&mut self, agent: usize, node: usize, asking: bool) {
        // Who only asks must still hear the answer, but apply nothing after it.
        let cut_off = if !asking && self.rng.in_thousand(800) { self.rng.range(2_500 * MS, 5 * SECOND) } else { 1 };
        if cut_off > 1 {
            self.isolate(self.now, cut_off, node, true, true);
        } else {
            self.at(self.now, Event::Fault(Fault::Stall { node, until: self.now + 3 * SECOND }));
        }
        let at = self.now + self.rng.range(0, 1_950 * MS);
        let kind = self.rng.below(3);
        if kind < 2 {
            let span = self.rng.range(300 * MS, 3 * SECOND);
            self.at(at, Event::Fault(Fault::Trap { node, trap: Trap { agent, written: kind == 0, span } }));
        }
        if kind != 1 {
            let ends = if asking { self.now + figures::LEASE } else { self.nodes[node].clock.reaches(self.nodes[node].lease.end) };
            let heals = (ends + self.rng.range(0, 400 * MS)).saturating_sub(50 * MS);
            self.during(at, heals.saturating_sub(at), Fault::CutTarget { node }, Fault::HealTarget { node });
        }
        if self.rng.in_thousand(150) {
            let at = self.now + self.rng.range(50 * MS, 2 * SECOND);
            self.at(at, Event::Fault(Fault::Kill { node, forgets: true }));
        }
    }

    /// A gateway that does not hear of it is taken out, and then something is revoked, perhaps on a node that restarts
    /// meanwhile.
    fn aim_at_departure(&mut self, agent: usize, answering: usize) {
        let node = self.another(answering);
        self.isolate(self.now, 3 * SECOND, node, true, true);
        self.take_out(answering, node);
        let restarts = self.rng.in_thousand(400);
        if restarts {
            let at = self.now + 30 * MS;
            self.at(at, Event::Fault(Fault::Kill { node: answering, forgets: false }));
        }
        let pause = if restarts { self.rng.range(100 * MS, 900 * MS) } else { self.rng.range(30 * MS, 900 * MS) };
        self.agents[agent] = Standing { through: Some(answering), ..Standing::default() };
        self.after(pause, Event::Admin { agent });
    }

    fn another(&mut self, than: usize) -> usize {
        (than + 1 + self.rng.below(self.count - 1)) % self.count
    }

    /// The node renewed its lease, or asks to: whoever waits for that revokes now.
    pub(super) fn spring_ambush(&mut self, node: usize, asking: bool) {
        for agent in 0..world::AGENTS {
            if self.agents[agent].ambush == Some((node, asking)) {
                self.agents[agent].ambush = None;
                self.agents[agent].aimed = Some((node, asking));
                let soon = self.rng.range(0, 3 * MS);
                self.after(soon, Event::Admin { agent });
            }
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Stop { node } => {
                if self.runs(node) && self.now < HEALED_AT {
                    self.nodes[node].stopped = true;
                    self.nodes[node].stops += 1;
                    self.fact(Fact::Stopped { node });
                }
            }
            Fault::Continue { node } => self.resume(node),
            Fault::Kill { node, forgets } => {
                if self.nodes[node].alive {
                    self.die(node);
                    let pause = self.rng.range(30 * MS, 2 * SECOND);
                    self.after(pause, Event::Restart { node, forgets });
                }
            }
            Fault::CutTarget { node } => {
                self.nodes[node].target_reachable = false;
                self.fact(Fact::TargetCut { node });
            }
            Fault::HealTarget { node } => self.nodes[node].target_reachable = true,
            Fault::Cut { from, to } => self.open[from][to] = false,
            Fault::Heal { from, to } => self.open[from][to] = true,
            Fault::Stall { node, until } => {
                self.nodes[node].stalled_until = until.min(HEALED_AT);
                self.fact(Fact::Stalled { node });
            }
            Fault::ChangeLeader { node } => {
                if self.runs(node) && !self.nodes[node].raft.leads() {
                    self.stand_for_election(node);
                }
            }
            Fault::TakeOut { node } => {
                if let Some(by) = self.somebody() {
                    self.take_out(by, node);
                }
            }
            Fault::Trap { node, trap } => self.nodes[node].trap = Some(trap).filter(|_| self.now < HEALED_AT),
            Fault::HealAll => {
                self.nodes.iter_mut().for_each(|node| node.trap = None);
                self.open = [[true; super::NODES_MAX]; super::NODES_MAX];
                (self.lossy, self.slow) = (0, 0);
                for node in 0..self.count {
                    self.nodes[node].target_reachable = true;
                    self.resume(node);
                }
            }
            Fault::Finish => {
                for node in 0..self.count {
                    let (serves, applied) = (self.may_forward(node) && self.runs(node), self.nodes[node].applied);
                    self.fact(Fact::Final { node, serves, applied });
                }
            }
        }
    }

    fn somebody(&mut self) -> Option<usize> {
        self.somebody_but(None)
    }

    fn somebody_but(&mut self, not: Option<usize>) -> Option<usize> {
        let first = self.rng.below(self.count);
        (0..self.count).map(|n| (first + n) % self.count).find(|n| self.runs(*n) && Some(*n) != not)
    }

    /// A thread of that agent's session got to where a trap may be.
    pub(super) fn pass_trap(&mut self, node: usize, agent: usize, written: bool) {
        if let Some(trap) = self.nodes[node].trap.filter(|t| t.agent == agent && t.written == written) {
            self.nodes[node].trap = None;
            self.strike(Fault::Stop { node });
            self.after(trap.span, Event::Fault(Fault::Continue { node }));
        }
    }

    /// Takes away what an agent has, or gives back what it has not.
    pub(super) fn administer(&mut self, agent: usize) {
        let standing = &mut self.agents[agent];
        // No answer for so long: the node that was asked is gone.
        if standing.waits && self.now < standing.asked_at + 4 * SECOND {
            return self.after(100 * MS, Event::Admin { agent });
        }
        if standing.ambush.is_some() && self.now < standing.asked_at + SECOND {
            return;
        }
        standing.ambush = None;
        let (aimed, through) = (standing.aimed.take(), standing.through.take());
        let Some(node) = through.filter(|n| self.runs(*n)).or_else(|| self.somebody_but(aimed.map(|(node, _)| node))) else {
            return self.after(100 * MS, Event::Admin { agent });
        };
        self.agents[agent] = Standing { waits: true, asked_at: self.now, ..Standing::default() };
        let latest = self.world.state(self.world.len());
        let locked = latest.live_lock(&LockOn::Principal(world::agent(agent)), latest.now).map(|lock| lock.id);
        let grant = self.world.grant_of(agent);
        let (command, purpose) = match (locked, grant) {
            (Some(lock), _) => (Command::DeleteLock { lock }, Purpose::Widen { agent }),
            (None, None) => {
                let ends_in = self.rng.range(1_500, 4_000);
                // One of three runs has grants that end by themselves.
                let expires = (self.setup.seed.is_multiple_of(3) && self.now < LAST_REVOCATION - 4 * SECOND)
                    .then(|| LogTime(START + self.now / MS).after(Duration::from_millis(ends_in)));
                (world::grant_to(agent, expires), Purpose::Widen { agent })
            }
            (None, Some(_)) if self.now > LAST_REVOCATION => {
                self.agents[agent].waits = false;
                return self.after(500 * MS, Event::Admin { agent });
            }
            (None, Some(grant)) => {
                let stops = self.nodes[node].stops;
                match aimed {
                    Some((node, asking)) => self.aim(agent, node, asking),
                    None if through.is_some() || self.setup.calm => {}
                    None if self.rng.in_thousand(120) => return self.aim_at_departure(agent, node),
                    None if self.rng.in_thousand(500) => {
                        let ambush = Some((self.another(node), self.rng.in_thousand(500)));
                        self.agents[agent] = Standing { ambush, asked_at: self.now, ..Standing::default() };
                        return self.after(1_100 * MS, Event::Admin { agent });
                    }
                    None => {}
                }
                self.fact(Fact::Revoking { agent, node });
                let revoke = Command::RevokeGrant { grant, reason: "no longer needed".into() };
                if self.rng.in_thousand(500) {
                    (revoke, Purpose::Revoke { agent, grant: Some(grant), stops })
                } else {
                    (world::lock_on(agent), Purpose::Revoke { agent, grant: None, stops })
                }
            }
        };
        self.propose(node, world::admin(), command, purpose);
        self.after(4_100 * MS, Event::Admin { agent });
    }

    /// The administrator has an answer.
    pub(super) fn admin_heard(&mut self, purpose: Purpose, done: bool) {
        let (Purpose::Revoke { agent, .. } | Purpose::Widen { agent }) = purpose else { return };
        if matches!(purpose, Purpose::Widen { .. }) && done {
            self.note_expiry(agent);
        }
        if std::mem::replace(&mut self.agents[agent].waits, false) {
            let pause = self.rng.range(100 * MS, 900 * MS);
            self.after(pause, Event::Admin { agent });
        }
    }

    /// Grants that end by themselves, with the true time at which they do.
    fn note_expiry(&mut self, agent: usize) {
        let state = self.world.state(self.world.len());
        let Some(grant) = self.world.grant_of(agent) else { return };
        if let Some(end) = state.grants.get(&grant).and_then(|g| g.expires)
            && !self.grants.iter().any(|(known, _)| *known == grant)
        {
            self.grants.push((grant, (end.0 - START) * MS));
        }
    }
}
