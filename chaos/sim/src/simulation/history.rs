//! What happened in a run, as an observer with one clock saw it.

use domain::id::{GrantId, Index};

/// One statement of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub node: usize,
    pub boot: u64,
    pub agent: usize,
    /// What its permit rests on.
    pub grants: Vec<GrantId>,
    /// The state its permit was made from, and the state it was decided on.
    pub admitted_at: Index,
    pub decided_at: Index,
    /// When that was; microseconds since the run began.
    pub decided: u64,
    /// What `domain` says of that state when it is asked again: there is a grant.
    pub granted: bool,
    /// When the grant ends, by a true clock; microseconds since the run began.
    pub expires: Option<u64>,
}

/// What was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    pub agent: usize,
    /// One grant; without it the agent was locked.
    pub grant: Option<GrantId>,
    /// Where in the log.
    pub revocation: Index,
}

impl Revoked {
    /// A permit of that agent, made at `admitted_at` from `grants`, rests on what was taken away.
    pub fn bears(&self, agent: usize, admitted_at: Index, grants: &[GrantId]) -> bool {
        self.agent == agent
            && match self.grant {
                Some(grant) => grants.contains(&grant),
                None => admitted_at < self.revocation,
            }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A process holds a lease that it did not hold before.
    LeaseTaken {
        node: usize,
        boot: u64,
    },
    /// Bytes went to the kernel.
    Wrote {
        statement: usize,
    },
    /// … and arrived at the target: `rx` of THREATS §3.1.
    Delivered {
        statement: usize,
    },
    /// The client was told that nothing was done.
    NotDone {
        statement: usize,
    },
    /// The client was told that nobody knows.
    Unknown {
        statement: usize,
    },
    Answered {
        statement: usize,
    },
    /// A client had no session and got none.
    LoginRefused {
        node: usize,
    },
    /// A narrowing command on this agent was proposed.
    Revoking {
        agent: usize,
        node: usize,
    },
    /// Its client heard that it holds. `learned`: when the answering node knew of the commit.
    Acknowledged {
        node: usize,
        revoked: Revoked,
        learned: u64,
        silent: u8,
        stopped_meanwhile: bool,
    },
    /// At an acknowledgement, a node that reported had a session open that rests on what was revoked (R13).
    StillOpen {
        agent: usize,
        node: usize,
    },
    /// Two nodes disagree about a committed entry.
    Forked {
        node: usize,
        place: usize,
    },
    TakenOut {
        node: usize,
    },
    Joined {
        node: usize,
    },
    Leads {
        node: usize,
    },
    Stopped {
        node: usize,
    },
    Died {
        node: usize,
    },
    KilledByTimer {
        node: usize,
    },
    Restarted {
        node: usize,
    },
    Frozen {
        node: usize,
    },
    LateSend {
        node: usize,
    },
    Cut,
    OneWayCut,
    TargetCut {
        node: usize,
    },
    Stalled {
        node: usize,
    },
    /// A barrier awaited a node that was out of the serving set.
    DepartedAwaited {
        node: usize,
        departed_for: u64,
    },
    /// At the end of the run: who holds a lease, and how far each has applied.
    Final {
        node: usize,
        serves: bool,
        applied: usize,
    },
}

#[derive(Debug, Clone, Default)]
pub struct History {
    pub nodes: usize,
    pub facts: Vec<(u64, Fact)>,
    pub statements: Vec<Statement>,
    /// Length of the log.
    pub places: usize,
}

impl History {
    pub fn count(&self, which: impl Fn(&Fact) -> bool) -> usize {
        self.facts.iter().filter(|(_, fact)| which(fact)).count()
    }

    /// The last facts before and at `at`, for a person.
    pub fn around(&self, at: u64, many: usize) -> String {
        let end = self.facts.partition_point(|(t, _)| *t <= at);
        let lines = self.facts[end.saturating_sub(many)..end].iter();
        lines.map(|(t, fact)| format!("{:>10.3} ms  {fact:?}", *t as f64 / 1000.0)).collect::<Vec<_>>().join("\n")
    }
}
