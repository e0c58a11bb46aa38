//! Sessions, their gates, enforcement, and the kernel's queue towards the target: `session::{gate, registry}`.

use domain::admission::{Attempt, Permit, admit};
use domain::id::{GrantId, Index};
use domain::policy::NoRules;
use domain::time::LogTime;

use super::event::{Event, Timer};
use super::figures::{DRAIN_DEADLINE, EXPIRY_POLL, MS, TARGET_DELAY_MAX};
use super::history::{Fact, Revoked, Statement};
use super::{Quirk, Sim, world};
use crate::flaw::Flaw;

pub(super) struct Session {
    id: u64,
    agent: usize,
    permit: Permit,
    /// The state at which the permit was last seen to be current.
    checked: Option<usize>,
    frozen: bool,
    shut: bool,
    /// A thread stands between check and write.
    held: bool,
    /// At the target, and not answered.
    busy: Option<usize>,
    connection: usize,
}

/// A connection to the target, as the kernel has it.
#[derive(Debug)]
pub(super) struct Connection {
    node: usize,
    open: bool,
    sending: bool,
    queue: Vec<Unacknowledged>,
}

#[derive(Debug, Clone, Copy)]
struct Unacknowledged {
    statement: usize,
    written: u64,
    on_wire: bool,
}

/// An enforcement under way.
#[derive(Debug)]
pub(super) struct Enforcing {
    through: usize,
    ended: Vec<u64>,
    /// When what is not drained is reset; known once all gates are taken.
    deadline: Option<u64>,
}

impl Session {
    pub(super) fn rests_on(&self, revoked: &Revoked) -> bool {
        revoked.bears(self.agent, self.permit.admitted_at(), self.permit.grants())
    }
}

impl Sim {
    fn log_now(&mut self, node: usize) -> LogTime {
        let local = self.local(node);
        self.nodes[node].log_clock.now(local)
    }

    fn session(&mut self, node: usize, id: u64) -> Option<&mut Session> {
        self.nodes[node].sessions.iter_mut().find(|s| s.id == id)
    }

    /// An agent's loop: it connects when it has no connection, and sends a statement now and then.
    pub(super) fn client(&mut self, node: usize, agent: usize) {
        let pause = self.rng.range(40 * MS, 240 * MS);
        self.timer(node, pause, Timer::Client { agent });
        let Some(session) = self.nodes[node].sessions.iter().find(|s| s.agent == agent) else {
            return self.log_in(node, agent);
        };
        if session.held || session.busy.is_some() || session.shut {
            return;
        }
        let id = session.id;
        let statement = self.history.statements.len();
        let boot = self.nodes[node].boot;
        let nothing = Index(0);
        let unjudged = Statement {
            node,
            boot,
            agent,
            grants: Vec::new(),
            admitted_at: nothing,
            decided_at: nothing,
            decided: 0,
            granted: false,
            expires: None,
        };
        self.history.statements.push(unjudged);
        self.statement_connections.push(usize::MAX);
        // Its record is committed meanwhile.
        let recorded = self.rng.range(100, 4 * MS);
        self.timer(node, recorded, Timer::Forward { session: id, statement });
    }

    fn log_in(&mut self, node: usize, agent: usize) {
        let now = self.log_now(node);
        if !self.may_forward(node) || !self.nodes[node].target_reachable {
            return self.fact(Fact::LoginRefused { node });
        }
        self.nodes[node].session_number += 1;
        let it = &self.nodes[node];
        let attempt: Attempt = world::attempt(node, it.boot, it.session_number, agent);
        let Some(permit) = admit(self.world.state(it.applied), &attempt, now, &NoRules).permit else { return };
        let (id, connection) = (it.session_number, self.connections.len());
        self.connections.push(Connection { node, open: true, sending: false, queue: Vec::new() });
        let session = Session { id, agent, permit, checked: None, frozen: false, shut: false, held: false, busy: None, connection };
        self.nodes[node].sessions.push(session);
    }

    /// `Gate::forward`, up to the write.
    pub(super) fn forward(&mut self, node: usize, session: u64, statement: usize) {
        let now = self.log_now(node);
        let leased = self.may_forward(node);
        let frozen_counts = !self.is(Flaw::LeaseNotChecked);
        let applied = self.nodes[node].applied;
        let Some(at) = self.nodes[node].sessions.iter().position(|s| s.id == session && !s.shut) else {
            return self.fact(Fact::NotDone { statement });
        };
        let state = self.world.state(applied);
        let it = &mut self.nodes[node].sessions[at];
        if it.checked != Some(applied) || it.permit.is_over(now) {
            if !it.permit.is_current(state) || it.permit.is_over(now) {
                // Admitted anew, or over.
                match it.permit.renew(state, now, &NoRules).ok().and_then(|admission| admission.permit) {
                    Some(permit) => it.permit = permit,
                    None => {
                        self.fact(Fact::NotDone { statement });
                        return self.end_session(node, session);
                    }
                }
            }
            it.checked = Some(applied);
        }
        if (it.frozen && frozen_counts) || !leased {
            return self.fact(Fact::NotDone { statement });
        }
        it.held = true;
        let (admitted_at, connection, agent, grants) = (it.permit.admitted_at(), it.connection, it.agent, it.permit.grants().to_vec());
        let attempt = world::attempt(node, self.nodes[node].boot, session, agent);
        let granted = admit(state, &attempt, state.now, &NoRules).permit.is_some();
        let end = |grant: &GrantId| self.grants.iter().find(|(known, _)| known == grant).map_or(u64::MAX, |(_, end)| *end);
        let expires = grants.iter().map(end).max().filter(|end| *end < u64::MAX);
        let known = &mut self.history.statements[statement];
        (known.admitted_at, known.decided_at, known.granted, known.expires) = (admitted_at, self.world.index(applied), granted, expires);
        known.grants = grants;
        known.decided = self.now;
        self.statement_connections[statement] = connection;
        // Between the check and the write a thread may lose its core.
        let delay = if self.rng.in_thousand(30) { self.rng.range(MS, 300 * MS) } else { self.rng.range(5, 60) };
        self.timer(node, delay, Timer::Write { session, statement });
        self.pass_trap(node, agent, false);
    }

    pub(super) fn write(&mut self, node: usize, session: u64, statement: usize) {
        let connection = self.statement_connections[statement];
        if !self.connections[connection].open {
            self.fact(Fact::NotDone { statement });
            if let Some(it) = self.session(node, session) {
                it.held = false;
            }
            return self.end_session(node, session);
        }
        let now = self.now;
        let it = &mut self.connections[connection];
        it.queue.push(Unacknowledged { statement, written: now, on_wire: false });
        let sending = it.sending;
        self.fact(Fact::Wrote { statement });
        if !sending {
            // The system call itself sends what may go.
            self.kernel_sends(connection);
        }
        self.pass_trap(node, self.history.statements[statement].agent, true);
        if self.nodes[node].stopped || self.rng.in_thousand(20) {
            let delay = self.rng.range(MS, 100 * MS);
            return self.timer(node, delay, Timer::CheckAgain { session, statement });
        }
        self.check_again(node, session, statement);
    }

    /// `Gate::forward`, after the write.
    pub(super) fn check_again(&mut self, node: usize, session: u64, statement: usize) {
        let leased = self.may_forward(node);
        let Some(it) = self.session(node, session) else { return };
        it.held = false;
        it.busy = Some(statement);
        let frozen = it.frozen;
        if !leased {
            self.fact(Fact::LateSend { node });
            self.abort_session(node, session);
        } else if frozen {
            self.freeze_session(node, session);
        }
        self.disarm_if_frozen(node);
    }

    pub(super) fn target_answers(&mut self, node: usize, session: u64, statement: usize) {
        let Some(it) = self.session(node, session) else { return };
        if it.busy == Some(statement) {
            it.busy = None;
            self.fact(Fact::Answered { statement });
        }
    }

    /// Resets the connection; whoever waits for an answer is told what is known.
    fn abort_session(&mut self, node: usize, session: u64) {
        let says_not_done = self.has(Quirk::SaysNotDone);
        let Some(at) = self.nodes[node].sessions.iter().position(|s| s.id == session) else { return };
        let ended = self.nodes[node].sessions.swap_remove(at);
        self.reset(ended.connection);
        if let Some(statement) = ended.busy {
            self.fact(if says_not_done { Fact::NotDone { statement } } else { Fact::Unknown { statement } });
        }
    }

    fn end_session(&mut self, node: usize, session: u64) {
        let Some(at) = self.nodes[node].sessions.iter().position(|s| s.id == session) else { return };
        let ended = self.nodes[node].sessions.swap_remove(at);
        if let Some(statement) = ended.busy {
            self.fact(Fact::Unknown { statement });
        }
        // Somebody who was overlooked at the gate still has the socket.
        let in_use = ended.held && self.is(Flaw::GateNotTaken);
        let polite = self.is(Flaw::NotDrained) && !self.connections[ended.connection].queue.is_empty();
        if !in_use && !polite {
            self.reset(ended.connection);
        }
    }

    fn reset(&mut self, connection: usize) {
        let it = &mut self.connections[connection];
        it.open = false;
        it.queue.clear();
    }

    /// The process died.
    pub(super) fn close_connections_of(&mut self, node: usize) {
        let lingers = self.is(Flaw::NoLinger);
        for session in std::mem::take(&mut self.nodes[node].sessions) {
            if !lingers {
                self.reset(session.connection);
            }
        }
    }

    /// `Registry::watch`: the lease is over.
    pub(super) fn freeze(&mut self, node: usize) {
        let sessions: Vec<(u64, bool)> = self.nodes[node].sessions.iter().map(|s| (s.id, s.held)).collect();
        for (id, held) in sessions {
            if let Some(session) = self.session(node, id) {
                session.frozen = true;
            }
            // Whoever holds the gate is waited for.
            if !held {
                self.freeze_session(node, id);
            }
        }
        self.disarm_if_frozen(node);
    }

    fn freeze_session(&mut self, node: usize, id: u64) {
        let keeps = self.is(Flaw::FrozenNotAborted) || self.is(Flaw::LeaseNotChecked);
        let Some(session) = self.nodes[node].sessions.iter().find(|s| s.id == id) else { return };
        let undrained = !self.connections[session.connection].queue.is_empty();
        if (undrained || session.busy.is_some()) && !keeps {
            self.abort_session(node, id);
        }
    }

    /// All gates are taken and the process lives: nothing needs to be killed.
    fn disarm_if_frozen(&mut self, node: usize) {
        let it = &self.nodes[node];
        if !it.lease.serving && it.sessions.iter().all(|s| s.frozen && !s.held) {
            self.disarm(node);
        }
    }

    pub(super) fn thaw(&mut self, node: usize) {
        self.nodes[node].sessions.iter_mut().for_each(|s| s.frozen = false);
    }

    /// `Publisher::enforce` and `Registry::enforce`.
    pub(super) fn enforce(&mut self, node: usize) {
        let now = self.log_now(node);
        let it = &self.nodes[node];
        if it.enforcing.is_none() {
            if it.applied == it.enforced {
                return;
            }
            let through = it.applied;
            if it.narrowed <= it.enforced {
                self.nodes[node].enforced = through;
                return self.enforced_more(node, false);
            }
            let state = self.world.state(through);
            let over =
                |s: &&Session| (!s.permit.is_current(state) || s.permit.is_over(now)) && s.permit.renew(state, now, &NoRules).is_err();
            let ended: Vec<u64> = it.sessions.iter().filter(over).map(|s| s.id).collect();
            self.nodes[node].enforcing = Some(Enforcing { through, ended, deadline: None });
        }
        self.enforce_on(node);
    }

    fn enforce_on(&mut self, node: usize) {
        let (now, free, wet) = (self.now, self.is(Flaw::GateNotTaken), self.is(Flaw::NotDrained));
        let Some(mut enforcing) = self.nodes[node].enforcing.take() else { return };
        let (sessions, connections) = (&mut self.nodes[node].sessions, &self.connections);
        let mine = |s: &Session| enforcing.ended.contains(&s.id);
        let held = sessions.iter().any(|s| mine(s) && s.held) && !free;
        if !held {
            sessions.iter_mut().filter(|s| mine(s)).for_each(|s| s.shut = true);
            let drained = sessions.iter().filter(|s| mine(s)).all(|s| connections[s.connection].queue.is_empty());
            let deadline = *enforcing.deadline.get_or_insert(now + DRAIN_DEADLINE);
            if drained || wet || now >= deadline {
                for session in std::mem::take(&mut enforcing.ended) {
                    self.end_session(node, session);
                }
                self.nodes[node].enforced = enforcing.through;
                return self.enforced_more(node, true);
            }
        }
        self.nodes[node].enforcing = Some(enforcing);
        self.timer(node, if held { MS / 4 } else { MS }, Timer::Enforce);
    }

    fn enforced_more(&mut self, node: usize, narrowing: bool) {
        self.answer_questions(node);
        self.use_renewal(node);
        if narrowing {
            self.hurry_renewal(node);
        }
        if self.nodes[node].applied > self.nodes[node].enforced {
            self.timer(node, MS / 50, Timer::Enforce);
        }
    }

    /// `Registry::expire`.
    pub(super) fn expire(&mut self, node: usize) {
        let pause = if self.grants.is_empty() { 20 * EXPIRY_POLL } else { EXPIRY_POLL };
        self.timer(node, pause, Timer::Expiry);
        let now = self.log_now(node);
        let state = self.world.state(self.nodes[node].applied);
        let over = |s: &&Session| !s.held && s.permit.is_over(now) && s.permit.renew(state, now, &NoRules).is_err();
        let ended: Vec<u64> = self.nodes[node].sessions.iter().filter(over).map(|s| s.id).collect();
        for session in ended {
            self.end_session(node, session);
        }
    }

    // The kernel, which needs no process that runs.

    pub(super) fn kernel_sends(&mut self, connection: usize) {
        let now = self.now;
        let it = &mut self.connections[connection];
        it.sending = false;
        let Some(oldest) = it.queue.iter().map(|u| u.written).min().filter(|_| it.open) else { return };
        let node = it.node;
        if !self.nodes[node].target_reachable {
            if now - oldest > self.user_timeout {
                return self.reset(connection);
            }
            self.connections[connection].sending = true;
            let pause = self.retransmit;
            return self.after(pause, Event::Kernel { connection });
        }
        let delay = self.rng.range(30, TARGET_DELAY_MAX);
        let waiting: Vec<usize> = it.queue.iter().filter(|u| !u.on_wire).map(|u| u.statement).collect();
        self.connections[connection].queue.iter_mut().for_each(|u| u.on_wire = true);
        for statement in waiting {
            self.after(delay, Event::AtTarget { connection, statement });
        }
        self.after(2 * delay, Event::TargetAcknowledged { connection });
    }

    pub(super) fn arrives_at_target(&mut self, connection: usize, statement: usize) {
        self.fact(Fact::Delivered { statement });
        let node = self.connections[connection].node;
        let Some(session) = self.nodes[node].sessions.iter().find(|s| s.connection == connection).map(|s| s.id) else { return };
        let working = self.rng.range(MS, 20 * MS);
        if self.nodes[node].alive {
            self.timer(node, working, Timer::TargetAnswers { session, statement });
        }
    }

    pub(super) fn acknowledged_by_target(&mut self, connection: usize) {
        let it = &mut self.connections[connection];
        it.queue.retain(|u| !u.on_wire);
        if !it.queue.is_empty() && !std::mem::replace(&mut it.sending, true) {
            self.after(2, Event::Kernel { connection });
        }
    }
}
