//! Judges a history. One function a promise; each is a sweep in time order, and each is tested with a planted violation.
//! The numbers are those of THREATS §3.1.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::{FENCE_MARGIN, LEASE, MS, TARGET_DELAY_MAX, barrier_wait};
use super::history::{Fact, History, Revoked};
use super::{END, HEALTHY_FROM};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: &'static str,
    /// Microseconds since the run began.
    pub at: u64,
    pub what: String,
}

pub type Check = fn(&History) -> Vec<Violation>;

pub const CHECKS: [(&str, Check); 9] = [
    ("R1", revoked_means_out),
    ("R1b", acknowledged_in_time),
    ("R5", overdue_is_closed),
    ("R7", no_effect_without_a_grant),
    ("R11", no_lost_control),
    ("R13", nothing_left_open),
    ("R15", nothing_without_a_lease_of_this_process),
    ("R18", everybody_comes_back),
    ("R20", no_false_not_done),
];

pub fn all(history: &History) -> Vec<Violation> {
    CHECKS.iter().flat_map(|(_, check)| check(history)).collect()
}

fn violation(promise: &'static str, at: u64, what: impl Into<String>) -> Violation {
    Violation { promise, at, what: what.into() }
}

/// R1w: nothing reaches the target under what was revoked, later than what the wire held when that was acknowledged.
pub fn revoked_means_out(history: &History) -> Vec<Violation> {
    let mut acknowledged = Vec::new();
    let mut found = Vec::new();
    for (at, fact) in &history.facts {
        match fact {
            Fact::Acknowledged { revoked, .. } => acknowledged.push((*revoked, *at)),
            Fact::Delivered { statement } => {
                let it = &history.statements[*statement];
                let bears = |revoked: &Revoked| revoked.bears(it.agent, it.admitted_at, &it.grants);
                if let Some((revoked, when)) = acknowledged.iter().find(|(revoked, when)| bears(revoked) && *at > when + TARGET_DELAY_MAX) {
                    let late = (at - when) as f64 / 1000.0;
                    let what = format!(
                        "statement {statement} reached the target from node {}, {late:.1} ms after {revoked:?} was acknowledged",
                        it.node
                    );
                    found.push(violation("R1", *at, what));
                }
            }
            _ => {}
        }
    }
    found
}

/// R1b: whoever was not stopped itself answers within `W` of learning of the commit.
pub fn acknowledged_in_time(history: &History) -> Vec<Violation> {
    let bound = barrier_wait() + barrier_wait() / 50 + 5 * MS;
    let late = |(at, fact): &(u64, Fact)| match fact {
        Fact::Acknowledged { learned, stopped_meanwhile: false, node, .. } if at - learned > bound => {
            Some(violation("R1b", *at, format!("node {node} answered {} ms after it learned of the commit", (at - learned) / MS)))
        }
        _ => None,
    };
    history.facts.iter().filter_map(late).collect()
}

/// R5: nothing is decided under a grant later than 250 ms after it ended (and the 20 ms by which wall clocks err here), and
/// nothing decided before is still on its way when a lease and its fences are over.
pub fn overdue_is_closed(history: &History) -> Vec<Violation> {
    let late = |(at, fact): &(u64, Fact)| match fact {
        Fact::Delivered { statement } => {
            let it = &history.statements[*statement];
            let end = it.expires? + 270 * MS;
            (it.decided > end || *at > end + LEASE + FENCE_MARGIN).then(|| {
                violation(
                    "R5",
                    *at,
                    format!(
                        "statement {statement} was decided {} ms after its grant had ended",
                        it.decided.saturating_sub(it.expires.unwrap_or(0)) / MS
                    ),
                )
            })
        }
        _ => None,
    };
    history.facts.iter().filter_map(late).collect()
}

/// R7: what was written was granted in the state it was decided on.
pub fn no_effect_without_a_grant(history: &History) -> Vec<Violation> {
    let without = |(at, fact): &(u64, Fact)| match fact {
        Fact::Delivered { statement } if !history.statements[*statement].granted => {
            Some(violation("R7", *at, format!("statement {statement} had no grant in the state it was decided on")))
        }
        _ => None,
    };
    history.facts.iter().filter_map(without).collect()
}

/// R11: what is committed stays, and is the same everywhere.
pub fn no_lost_control(history: &History) -> Vec<Violation> {
    let forked = |(at, fact): &(u64, Fact)| match fact {
        Fact::Forked { node, place } => Some(violation("R11", *at, format!("node {node} has another entry at {place}"))),
        _ => None,
    };
    history.facts.iter().filter_map(forked).collect()
}

/// R13: a node that reported has no session open that rests on what was revoked.
pub fn nothing_left_open(history: &History) -> Vec<Violation> {
    let open = |(at, fact): &(u64, Fact)| match fact {
        Fact::StillOpen { agent, node } => {
            Some(violation("R13", *at, format!("node {node} reported, and has a session of agent {agent} open")))
        }
        _ => None,
    };
    history.facts.iter().filter_map(open).collect()
}

/// R15: a process writes nothing before it took a lease itself.
pub fn nothing_without_a_lease_of_this_process(history: &History) -> Vec<Violation> {
    let mut leased = BTreeSet::new();
    let mut found = Vec::new();
    for (at, fact) in &history.facts {
        match fact {
            Fact::LeaseTaken { node, boot } => {
                leased.insert((*node, *boot));
            }
            Fact::Wrote { statement } => {
                let it = &history.statements[*statement];
                if !leased.contains(&(it.node, it.boot)) {
                    found.push(violation("R15", *at, format!("node {} wrote statement {statement} without ever a lease", it.node)));
                }
            }
            _ => {}
        }
    }
    found
}

/// R18 and R22: 5 s after all is healed everybody serves, has applied the same, and what is granted works.
pub fn everybody_comes_back(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, fact) in &history.facts {
        match fact {
            Fact::Final { node, serves: false, .. } => found.push(violation("R18", *at, format!("node {node} does not serve"))),
            Fact::Final { node, applied, .. } if *applied + 3 < history.places => {
                found.push(violation("R18", *at, format!("node {node} has applied {applied} of {}", history.places)));
            }
            Fact::NotDone { .. } | Fact::LoginRefused { .. } if (HEALTHY_FROM..END).contains(at) => {
                found.push(violation("R22", *at, format!("{fact:?} although all are well")));
            }
            _ => {}
        }
    }
    found
}

/// R20: who is told that nothing was done can rely on it.
pub fn no_false_not_done(history: &History) -> Vec<Violation> {
    let mut not_done = BTreeMap::new();
    let mut delivered = BTreeMap::new();
    for (at, fact) in &history.facts {
        match fact {
            Fact::NotDone { statement } => not_done.insert(*statement, *at),
            Fact::Delivered { statement } => delivered.insert(*statement, *at),
            _ => None,
        };
    }
    let both = not_done.iter().filter_map(|(statement, at)| delivered.get(statement).map(|when| (statement, (*at).max(*when))));
    both.map(|(statement, at)| violation("R20", at, format!("statement {statement} was delivered, and its client told \"not done\"")))
        .collect()
}

/// What a set of runs must have met, or it says little.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    pub runs: u64,
    pub events: u64,
    pub delivered: u64,
    pub revocations: u64,
    pub acknowledged: u64,
    pub acknowledged_in_silence: u64,
    /// Runs in which a revocation was acknowledged.
    pub runs_acknowledged: u64,
    pub leaders: u64,
    pub stopped: u64,
    pub killed_by_timer: u64,
    pub died: u64,
    pub frozen: u64,
    pub late_sends: u64,
    pub cuts: u64,
    pub one_way_cuts: u64,
    pub target_cuts: u64,
    pub stalled: u64,
    pub taken_out: u64,
    pub joined: u64,
    pub departed_awaited: u64,
    pub expiring_statements: u64,
    /// Statements delivered in the healthy second at the end, and those that were not done there.
    pub healthy_delivered: u64,
    pub healthy_refused: u64,
}

impl Coverage {
    pub fn of(history: &History, events: u64) -> Coverage {
        let mut it = Coverage { runs: 1, events, ..Coverage::default() };
        for (at, fact) in &history.facts {
            let healthy = (HEALTHY_FROM..END).contains(at);
            let counter = match fact {
                Fact::Delivered { statement } => {
                    it.healthy_delivered += u64::from(healthy);
                    it.expiring_statements += u64::from(history.statements[*statement].expires.is_some());
                    &mut it.delivered
                }
                Fact::NotDone { .. } | Fact::LoginRefused { .. } if healthy => &mut it.healthy_refused,
                Fact::Revoking { .. } => &mut it.revocations,
                Fact::Acknowledged { silent, .. } => {
                    it.acknowledged_in_silence += u64::from(*silent > 0);
                    it.runs_acknowledged = 1;
                    &mut it.acknowledged
                }
                Fact::Leads { .. } => &mut it.leaders,
                Fact::Stopped { .. } => &mut it.stopped,
                Fact::KilledByTimer { .. } => &mut it.killed_by_timer,
                Fact::Died { .. } => &mut it.died,
                Fact::Frozen { .. } => &mut it.frozen,
                Fact::LateSend { .. } => &mut it.late_sends,
                Fact::Cut => &mut it.cuts,
                Fact::OneWayCut => &mut it.one_way_cuts,
                Fact::TargetCut { .. } => &mut it.target_cuts,
                Fact::Stalled { .. } => &mut it.stalled,
                Fact::TakenOut { .. } => &mut it.taken_out,
                Fact::Joined { .. } => &mut it.joined,
                Fact::DepartedAwaited { .. } => &mut it.departed_awaited,
                _ => continue,
            };
            *counter += 1;
        }
        it
    }

    pub fn add(&mut self, other: &Coverage) {
        let Coverage { runs, events, delivered, revocations, acknowledged, acknowledged_in_silence, .. } = other;
        self.runs += runs;
        self.events += events;
        self.delivered += delivered;
        self.revocations += revocations;
        self.acknowledged += acknowledged;
        self.acknowledged_in_silence += acknowledged_in_silence;
        self.runs_acknowledged += other.runs_acknowledged;
        self.leaders += other.leaders;
        self.stopped += other.stopped;
        self.killed_by_timer += other.killed_by_timer;
        self.died += other.died;
        self.frozen += other.frozen;
        self.late_sends += other.late_sends;
        self.cuts += other.cuts;
        self.one_way_cuts += other.one_way_cuts;
        self.target_cuts += other.target_cuts;
        self.stalled += other.stalled;
        self.taken_out += other.taken_out;
        self.joined += other.joined;
        self.departed_awaited += other.departed_awaited;
        self.expiring_statements += other.expiring_statements;
        self.healthy_delivered += other.healthy_delivered;
        self.healthy_refused += other.healthy_refused;
    }
}

/// How long acknowledgements took from when the commit was learned, microseconds, sorted.
pub fn waits(history: &History, silent: bool) -> Vec<u64> {
    let mut waits: Vec<u64> = history
        .facts
        .iter()
        .filter_map(|(at, fact)| match fact {
            Fact::Acknowledged { learned, silent: s, stopped_meanwhile: false, .. } if (*s > 0) == silent => Some(at - learned),
            _ => None,
        })
        .collect();
    waits.sort_unstable();
    waits
}

/// Whether everybody serves again 5 s after all was healed, as R18 has it.
pub fn back_within(history: &History, span: u64) -> bool {
    let refused =
        |(at, fact): &(u64, Fact)| matches!(fact, Fact::LoginRefused { .. } | Fact::NotDone { .. }) && *at > super::HEALED_AT + span;
    !history.facts.iter().any(refused)
}

/// Barriers that waited for a node which had been out for twice as long as any lease can matter. A few are right: an
/// answering node that restarted, or lagged, learned of the departure late.
pub fn needless_waits(history: &History) -> usize {
    history.count(|fact| matches!(fact, Fact::DepartedAwaited { departed_for, .. } if *departed_for > 2 * barrier_wait()))
}
