//! The lease protocol in continuous time, with the figures of the code, driven by a seed.
//!
//! Each node runs a small Raft, the renewal loop, enforcement, the barrier and its sessions' gates as `node/cluster` and
//! `node/session` do; what a command does, who is admitted and whether a permit is current is `domain`'s own code.
//! Processes are stopped, killed and restarted, links cut in one direction or both, clocks run at the bound of their
//! error, kernels go on delivering for a stopped process. All that happens is a [`history::Fact`]; [`check`] judges it.

mod barrier;
pub mod check;
pub mod clock;
mod event;
pub mod figures;
mod gate;
pub mod history;
mod lease;
mod nemesis;
mod propose;
mod raft;
pub(crate) mod rng;
mod world;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domain::command::Proposal;
use domain::id::GrantId;

use crate::flaw::Flaw;
use clock::Clock;
use event::{Event, Message, Timer};
use figures::{MS, SECOND};
use history::{Fact, History};
use rng::Rng;
use world::World;

pub const NODES_MAX: usize = 5;

/// When faults begin, when all is healed, and when the run ends.
pub const FAULTS_FROM: u64 = 1_500 * MS;
pub const HEALED_AT: u64 = 9 * SECOND;
/// From here on everybody must serve again. R18 allows 5 s, which a restart (up to 2 s after the fault), elections and the
/// pause before a node may rejoin (3 s) do not always leave: see [`check::back_within`].
pub const HEALTHY_FROM: u64 = 18 * SECOND;
pub const END: u64 = 19 * SECOND;

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub seed: u64,
    pub flaw: Option<Flaw>,
    /// No faults at all: to see what a healthy cluster does.
    pub calm: bool,
    /// Beyond the protocol: behaviour of the code of which these runs found that it is wrong. See [`Quirk`].
    pub quirk: Option<Quirk>,
}

/// What the code did when these runs were first made, and should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quirk {
    /// `Publisher::note_departures` forgets a departure after `2W` and takes the node for freshly departed at the next
    /// entry: of every `2W`, barriers wait up to `W` for a node that is long gone.
    DepartureNotedAgain,
    /// A leader that has not heard a majority of clocks yet answers renewals with the last entry's stamp and the time since
    /// it *applied* that entry, however long before that it was stamped.
    LogTimeWithoutClocks,
    /// A renewal that was long on its way, or lay before a stopped leader, sets back what that leader takes the voter's
    /// clock to be; two of them set log time back.
    ClocksSetBack,
    /// A busy session that is frozen, and a late send, are told "not done, nothing was passed on".
    SaysNotDone,
}

/// What a run was.
#[derive(Debug)]
pub struct Run {
    pub history: History,
    /// Of every event in its order.
    pub trace: u64,
    pub events: u64,
}

pub fn run(setup: Setup) -> Run {
    let mut sim = Sim::new(setup);
    sim.start();
    while let Some(Reverse(entry)) = sim.queue.pop() {
        if entry.at > END {
            break;
        }
        sim.now = entry.at;
        sim.trace_event(&entry);
        sim.events += 1;
        sim.handle(entry.event);
    }
    sim.history.places = sim.world.len();
    Run { history: sim.history, trace: sim.trace, events: sim.events }
}

#[derive(Debug)]
struct Queued {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One node: its machine, and the process on it.
struct Node {
    clock: Clock,
    alive: bool,
    stopped: bool,
    /// How often it was stopped.
    stops: u32,
    boot: u64,
    /// BOOTTIME at which this process started.
    started: u64,
    /// What reached the process while it was stopped, in order.
    held_back: Vec<Event>,
    trap: Option<nemesis::Trap>,
    /// The way to the target is open.
    target_reachable: bool,
    raft: raft::Raft,
    lease: lease::Lease,
    log_clock: clock::LogClock,
    leading: lease::Leading,
    propose: propose::Proposing,
    barriers: Vec<barrier::Barrier>,
    /// Questions of others that wait until this node enforces enough.
    asked: Vec<barrier::Question>,
    sessions: Vec<gate::Session>,
    session_number: u64,
    /// Until then nothing is applied here.
    stalled_until: u64,
    applying: bool,
    /// BOOTTIME of the last entry applied.
    stamped: u64,
    applied: usize,
    enforced: usize,
    narrowed: usize,
    enforcing: Option<gate::Enforcing>,
    /// When this node learned that a node had left, and at which place; by BOOTTIME.
    left: [Option<(usize, u64)>; NODES_MAX],
}

struct Sim {
    setup: Setup,
    now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    rng: Rng,
    trace: u64,
    events: u64,
    count: usize,
    nodes: Vec<Node>,
    /// `open[from][to]`
    open: [[bool; NODES_MAX]; NODES_MAX],
    /// Messages of a thousand that are lost, and that take long.
    lossy: u64,
    slow: u64,
    /// One node to which everything takes longer, and how much.
    far: Option<(usize, u64)>,
    /// How long a kernel waits before it sends again, and after how long it gives up; the dead-man timer alone must do
    /// where it never does.
    retransmit: u64,
    user_timeout: u64,
    world: World,
    /// By the number they have in logs; 0 is the blank entry of a new leader.
    proposals: Vec<Option<Proposal>>,
    /// When each place of the log was applied first; nothing stands at place 0.
    applied_first: Vec<u64>,
    /// The log as far as anybody knows it to be committed: term and number.
    committed: Vec<(u32, u32)>,
    history: History,
    /// Of each agent: the admin's next move.
    agents: [nemesis::Standing; world::AGENTS],
    /// Grants that end by themselves, and when.
    grants: Vec<(GrantId, u64)>,
    connections: Vec<gate::Connection>,
    /// The connection each statement went to.
    statement_connections: Vec<usize>,
}

impl Sim {
    fn new(setup: Setup) -> Sim {
        let mut rng = Rng::new(setup.seed);
        let count = if rng.in_thousand(700) { 3 } else { 5 };
        let one_wall_wrong = rng.in_thousand(100).then(|| rng.below(count));
        let nodes = (0..count)
            .map(|node| {
                let percent = figures::DRIFT_PERCENT as i64 * 10_000;
                // At the bound more often than not: that is where it hurts.
                let rate = [-percent, percent, -percent, percent, 0][rng.below(5)];
                let wall_error = if one_wall_wrong == Some(node) { 3_600_000 } else { rng.below(40) as i64 - 20 };
                Node::new(Clock::new(rng.range(10, 10_000) * SECOND, rate, wall_error))
            })
            .collect();
        let retransmit = [5 * MS, 20 * MS, 200 * MS][rng.below(3)];
        let user_timeout = if rng.in_thousand(500) { figures::UPSTREAM_USER_TIMEOUT } else { END };
        let far = rng.in_thousand(300).then(|| (rng.below(count), rng.range(20 * MS, 350 * MS))).filter(|_| !setup.calm);
        Sim {
            setup,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            lossy: if setup.calm { 0 } else { [0, 5, 30][rng.below(3)] },
            slow: if setup.calm { 0 } else { [0, 10, 50][rng.below(3)] },
            rng,
            trace: 0xcbf2_9ce4_8422_2325,
            events: 0,
            count,
            nodes,
            open: [[true; NODES_MAX]; NODES_MAX],
            far,
            retransmit,
            user_timeout,
            world: World::new(count),
            proposals: vec![None],
            applied_first: vec![0],
            committed: Vec::new(),
            history: History { nodes: count, ..History::default() },
            agents: Default::default(),
            grants: Vec::new(),
            connections: Vec::new(),
            statement_connections: Vec::new(),
        }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.setup.flaw == Some(flaw)
    }

    fn has(&self, quirk: Quirk) -> bool {
        self.setup.quirk == Some(quirk)
    }

    fn start(&mut self) {
        for node in 0..self.count {
            self.boot(node);
        }
        self.start_admin();
        if !self.setup.calm {
            self.start_nemesis();
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, event }));
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// A timer of the process that runs on the node now.
    fn timer(&mut self, node: usize, delay: u64, timer: Timer) {
        let boot = self.nodes[node].boot;
        self.after(delay, Event::Timer { node, boot, timer });
    }

    /// A timer by the node's own clock.
    fn timer_at_local(&mut self, node: usize, local: u64, timer: Timer) {
        let (boot, at) = (self.nodes[node].boot, self.nodes[node].clock.reaches(local));
        self.at(at, Event::Timer { node, boot, timer });
    }

    fn local(&self, node: usize) -> u64 {
        self.nodes[node].clock.local(self.now)
    }

    fn fact(&mut self, fact: Fact) {
        self.history.facts.push((self.now, fact));
    }

    fn runs(&self, node: usize) -> bool {
        self.nodes[node].alive && !self.nodes[node].stopped
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        if from == to {
            let boot = self.nodes[to].boot;
            self.after(20, Event::Arrives { from, to, boot: Some(boot), message });
            return;
        }
        if !self.open[from][to] || self.rng.in_thousand(self.lossy) {
            return;
        }
        let far = self.far.filter(|(node, _)| *node == to && self.now < HEALED_AT).map_or(0, |(_, delay)| delay);
        let usual = far + self.rng.range(200, 1_500);
        let delay = if self.rng.in_thousand(self.slow) { self.rng.range(5 * MS, 2_500 * MS) } else { usual };
        self.after(delay, Event::Arrives { from, to, boot: None, message });
    }

    fn trace_event(&mut self, entry: &Queued) {
        let mut fold = |value: u64| self.trace = (self.trace ^ value).wrapping_mul(0x0000_0100_0000_01b3);
        fold(entry.at);
        fold(entry.order);
        fold(entry.event.code());
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives { from, to, boot, message } => {
                // Cut while it was on its way: it is lost.
                if !self.nodes[to].alive || !self.open[from][to] || boot.is_some_and(|b| b != self.nodes[to].boot) {
                    return;
                }
                if self.nodes[to].stopped {
                    self.nodes[to].held_back.push(Event::Arrives { from, to, boot, message });
                    return;
                }
                self.receive(to, from, message);
            }
            Event::Timer { node, boot, timer } => {
                if !self.nodes[node].alive || self.nodes[node].boot != boot {
                    return;
                }
                if self.nodes[node].stopped {
                    self.nodes[node].held_back.push(Event::Timer { node, boot, timer });
                    return;
                }
                self.fire(node, timer);
            }
            Event::Kernel { connection } => self.kernel_sends(connection),
            Event::AtTarget { connection, statement } => self.arrives_at_target(connection, statement),
            Event::TargetAcknowledged { connection } => self.acknowledged_by_target(connection),
            Event::DeadMan { node, boot, deadline } => self.dead_man(node, boot, deadline),
            Event::Die { node, boot } => {
                if self.nodes[node].alive && self.nodes[node].boot == boot {
                    self.fact(Fact::KilledByTimer { node });
                    self.die(node);
                    let pause = self.rng.range(100 * MS, 2 * SECOND);
                    self.after(pause, Event::Restart { node, forgets: false });
                }
            }
            Event::Restart { node, forgets } => {
                if !self.nodes[node].alive {
                    self.restart(node, forgets);
                }
            }
            Event::Fault(fault) => self.strike(fault),
            Event::Admin { agent } => self.administer(agent),
        }
    }

    fn fire(&mut self, node: usize, timer: Timer) {
        match timer {
            Timer::Election { epoch } => self.election_timeout(node, epoch),
            Timer::Heartbeat { term } => self.heartbeat(node, term),
            Timer::Apply => self.apply_committed(node),
            Timer::Renew { epoch } => self.renew(node, epoch),
            Timer::RenewalTimeout { request } => self.renewal_timeout(node, request),
            Timer::LeaseEnds { end } => self.lease_ends(node, end),
            Timer::KeepServingSet => self.keep_serving_set(node),
            Timer::LogTick => self.log_tick(node),
            Timer::Propose { ticket } => self.propose_again(node, ticket),
            Timer::AskEnforced { barrier, member, through_leader } => self.ask_enforced(node, barrier, member, through_leader),
            Timer::BarrierOver { barrier, member } => self.barrier_over(node, barrier, member),
            Timer::Enforce => self.enforce(node),
            Timer::Client { agent } => self.client(node, agent),
            Timer::Forward { session, statement } => self.forward(node, session, statement),
            Timer::Write { session, statement } => self.write(node, session, statement),
            Timer::CheckAgain { session, statement } => self.check_again(node, session, statement),
            Timer::TargetAnswers { session, statement } => self.target_answers(node, session, statement),
            Timer::Expiry => self.expire(node),
        }
    }

    /// A process starts: everything volatile is new.
    fn boot(&mut self, node: usize) {
        self.start_raft(node);
        let first = self.rng.range(MS, 60 * MS);
        let epoch = self.nodes[node].lease.epoch();
        self.timer(node, first, Timer::Renew { epoch });
        self.timer(node, figures::RENEWAL_INTERVAL, Timer::KeepServingSet);
        self.timer(node, figures::TICK_INTERVAL, Timer::LogTick);
        self.timer(node, figures::EXPIRY_POLL, Timer::Expiry);
        for agent in 0..world::AGENTS {
            let first = self.rng.range(MS, 200 * MS);
            self.timer(node, first, Timer::Client { agent });
        }
    }

    /// The process is gone at once; what its kernel does with its sockets is the fences' business.
    fn die(&mut self, node: usize) {
        self.fact(Fact::Died { node });
        self.close_connections_of(node);
        let survives = self.is(Flaw::LeaseSurvivesRestart);
        let it = &mut self.nodes[node];
        it.alive = false;
        it.stopped = false;
        it.held_back.clear();
        it.boot += 1;
        it.lease.forget(survives);
        it.leading = Default::default();
        it.propose = Default::default();
        it.barriers.clear();
        it.asked.clear();
        it.enforcing = None;
        it.applying = false;
        it.left = [None; NODES_MAX];
        it.log_clock = Default::default();
        it.raft.lose_volatile();
    }

    /// What was synced is there again. `forgets`: the state machine had not synced all it applied.
    fn restart(&mut self, node: usize, forgets: bool) {
        let local = self.local(node);
        let forgotten = if forgets { self.rng.below(self.nodes[node].applied.min(40) + 1) } else { 0 };
        let forget_left = self.is(Flaw::LeftForgottenAtRestart);
        let it = &mut self.nodes[node];
        it.alive = true;
        it.started = local;
        it.applied -= forgotten;
        it.raft.commit = it.raft.commit.max(it.applied);
        // It has no sessions; what was applied counts as enforced once that was seen.
        (it.enforced, it.narrowed) = (it.applied, it.applied);
        it.stamped = local;
        let applied = it.applied;
        self.note_departures(node, applied);
        if forget_left {
            for (_, learned) in self.nodes[node].left.iter_mut().flatten() {
                *learned = 0;
            }
        }
        self.fact(Fact::Restarted { node });
        self.boot(node);
        if self.nodes[node].lease.end > 0 {
            let boot = self.nodes[node].boot;
            self.fact(Fact::LeaseTaken { node, boot });
        }
    }

    /// SIGCONT: everything that was held back happens, in no particular order, as threads wake.
    fn resume(&mut self, node: usize) {
        if !self.nodes[node].stopped {
            return;
        }
        self.nodes[node].stopped = false;
        for event in std::mem::take(&mut self.nodes[node].held_back) {
            let delay = self.rng.range(0, 3 * MS);
            self.after(delay, event);
        }
    }
}

impl Node {
    fn new(clock: Clock) -> Node {
        Node {
            clock,
            alive: true,
            stopped: false,
            stops: 0,
            boot: 1,
            started: clock.local(0),
            held_back: Vec::new(),
            trap: None,
            target_reachable: true,
            raft: raft::Raft::default(),
            lease: lease::Lease::default(),
            log_clock: clock::LogClock::default(),
            leading: lease::Leading::default(),
            propose: propose::Proposing::default(),
            barriers: Vec::new(),
            asked: Vec::new(),
            sessions: Vec::new(),
            session_number: 0,
            stalled_until: 0,
            applying: false,
            stamped: clock.local(0),
            applied: 0,
            enforced: 0,
            narrowed: 0,
            enforcing: None,
            left: [None; NODES_MAX],
        }
    }
}
