//! What can happen next, and what nodes say to each other.

use super::nemesis::Fault;

#[derive(Debug)]
pub(super) enum Event {
    /// `boot`: only if the process is still that one (a call within it).
    Arrives {
        from: usize,
        to: usize,
        boot: Option<u64>,
        message: Message,
    },
    /// Something a process wants to do. A stopped one does it when it goes on, a dead one never.
    Timer {
        node: usize,
        boot: u64,
        timer: Timer,
    },
    /// A kernel sends what a connection holds; no process is needed for that.
    Kernel {
        connection: usize,
    },
    AtTarget {
        connection: usize,
        statement: usize,
    },
    TargetAcknowledged {
        connection: usize,
    },
    DeadMan {
        node: usize,
        boot: u64,
        deadline: u64,
    },
    Die {
        node: usize,
        boot: u64,
    },
    Restart {
        node: usize,
        forgets: bool,
    },
    Fault(Fault),
    Admin {
        agent: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    Election { epoch: u64 },
    Heartbeat { term: u32 },
    Apply,
    Renew { epoch: u64 },
    RenewalTimeout { request: u64 },
    LeaseEnds { end: u64 },
    KeepServingSet,
    LogTick,
    Propose { ticket: u64 },
    AskEnforced { barrier: u64, member: usize, through_leader: bool },
    BarrierOver { barrier: u64, member: usize },
    Enforce,
    Client { agent: usize },
    Forward { session: u64, statement: usize },
    Write { session: u64, statement: usize },
    CheckAgain { session: u64, statement: usize },
    TargetAnswers { session: u64, statement: usize },
    Expiry,
}

#[derive(Debug)]
pub(super) enum Message {
    Append {
        term: u32,
        previous: (usize, u32),
        entries: Vec<(u32, u32)>,
        commit: usize,
        round: u64,
    },
    AppendReply {
        term: u32,
        matched: Option<usize>,
        round: u64,
    },
    Vote {
        term: u32,
        last: (u32, usize),
        pre: bool,
    },
    VoteReply {
        term: u32,
        granted: bool,
        pre: bool,
    },
    Renew {
        request: u64,
        enforced: usize,
        wall_ms: u64,
    },
    Renewed {
        request: u64,
        answer: Option<(usize, u64)>,
    },
    Propose {
        ticket: u64,
        number: u32,
    },
    Proposed {
        ticket: u64,
        place: Option<usize>,
    },
    /// `asker` learns through `via` when `node` enforces `place`.
    AwaitEnforced {
        barrier: u64,
        asker: usize,
        node: usize,
        place: usize,
    },
    Enforces {
        barrier: u64,
        asker: usize,
        node: usize,
    },
    Suspect {
        node: usize,
        place: usize,
    },
}

impl Event {
    /// Tells kinds and whom they concern apart, for the trace.
    pub(super) fn code(&self) -> u64 {
        match self {
            Event::Arrives { from, to, message, .. } => 1_000 + (*from * 10 + *to) as u64 + 100 * message.code(),
            Event::Timer { node, boot, timer } => 10_000 + *node as u64 + 10 * boot + 1_000 * timer.code(),
            Event::Kernel { connection } => 100_000 + *connection as u64,
            Event::AtTarget { statement, .. } => 200_000 + *statement as u64,
            Event::TargetAcknowledged { connection } => 300_000 + *connection as u64,
            Event::DeadMan { node, deadline, .. } => 400_000 + *node as u64 + deadline,
            Event::Die { node, .. } => 500_000 + *node as u64,
            Event::Restart { node, .. } => 600_000 + *node as u64,
            Event::Fault(_) => 700_000,
            Event::Admin { agent } => 800_000 + *agent as u64,
        }
    }
}

impl Timer {
    fn code(&self) -> u64 {
        match self {
            Timer::Election { epoch } => 1 + 100 * epoch,
            Timer::Heartbeat { term } => 2 + 100 * u64::from(*term),
            Timer::Apply => 3,
            Timer::Renew { epoch } => 4 + 100 * epoch,
            Timer::RenewalTimeout { request } => 5 + 100 * request,
            Timer::LeaseEnds { end } => 6 + 100 * end,
            Timer::KeepServingSet => 7,
            Timer::LogTick => 8,
            Timer::Propose { ticket } => 9 + 100 * ticket,
            Timer::AskEnforced { member, .. } => 10 + 100 * *member as u64,
            Timer::BarrierOver { member, .. } => 11 + 100 * *member as u64,
            Timer::Enforce => 12,
            Timer::Client { agent } => 13 + 100 * *agent as u64,
            Timer::Forward { statement, .. } => 14 + 100 * *statement as u64,
            Timer::Write { statement, .. } => 15 + 100 * *statement as u64,
            Timer::CheckAgain { statement, .. } => 16 + 100 * *statement as u64,
            Timer::TargetAnswers { statement, .. } => 17 + 100 * *statement as u64,
            Timer::Expiry => 18,
        }
    }
}

impl Message {
    fn code(&self) -> u64 {
        match self {
            Message::Append { term, entries, .. } => 1 + 20 * u64::from(*term) + 200 * entries.len() as u64,
            Message::AppendReply { .. } => 2,
            Message::Vote { .. } => 3,
            Message::VoteReply { .. } => 4,
            Message::Renew { .. } => 5,
            Message::Renewed { .. } => 6,
            Message::Propose { .. } => 7,
            Message::Proposed { .. } => 8,
            Message::AwaitEnforced { .. } => 9,
            Message::Enforces { .. } => 10,
            Message::Suspect { .. } => 11,
        }
    }
}
