//! The promises, judged over what happened.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{GrantId, RequestId};

use super::Outcome;
use super::history::{Event, Fact};
use crate::linear::{self, Operation};

/// What is promised, and how it was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: &'static str,
    pub what: String,
}

fn violation(promise: &'static str, what: impl Into<String>) -> Violation {
    Violation { promise, what: what.into() }
}

/// Every promise.
#[must_use]
pub fn all(run: &Outcome) -> Vec<Violation> {
    let history = &run.history;
    let mut found = revoked_means_out(history);
    found.extend(spent_once(history));
    found.extend(nobody_decides_on_themselves(history));
    found.extend(nothing_acknowledged_is_lost(run));
    found.extend(nothing_denied_is_done(run));
    found.extend(records_are_whole(run));
    found.extend(all_agree(run));
    found.extend(registers_are_linearizable(history));
    found
}

/// R1: after the acknowledgement no gate passes.
pub fn revoked_means_out(history: &[Event]) -> Vec<Violation> {
    let mut revoked: BTreeMap<GrantId, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for event in history {
        match &event.fact {
            Fact::Acknowledged { grant, .. } => drop(revoked.insert(*grant, event.at)),
            Fact::Forwarded { node, grant } => {
                if let Some(at) = revoked.get(grant) {
                    let late = (event.at - at) as f64 / 1e6;
                    found.push(violation(
                        "R1",
                        format!("node {node} forwarded under {grant} {late:.1} ms after its revocation was acknowledged"),
                    ));
                }
            }
            _ => {}
        }
    }
    found
}

/// R4: an approval is used at most once.
pub fn spent_once(history: &[Event]) -> Vec<Violation> {
    let mut spent: BTreeMap<RequestId, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for event in history {
        if let Fact::Spent { node, request } = &event.fact
            && let Some(first) = spent.insert(*request, *node)
        {
            found.push(violation("R4", format!("{request} was spent by node {first} and by node {node}")));
        }
    }
    found
}

/// R6.
pub fn nobody_decides_on_themselves(history: &[Event]) -> Vec<Violation> {
    let own = history.iter().filter_map(|event| match &event.fact {
        Fact::ApprovedOwn { request } => Some(violation("R6", format!("{request} was approved by the owner of who asked"))),
        _ => None,
    });
    own.collect()
}

/// R11: what was acknowledged stands in every node's state in the end.
fn nothing_acknowledged_is_lost(run: &Outcome) -> Vec<Violation> {
    let mut found = Vec::new();
    for (node, end) in &run.ends {
        for event in &run.history {
            match &event.fact {
                Fact::Granted { grant } if !end.grants.contains_key(grant) => {
                    found.push(violation("R11", format!("node {node} does not know {grant}, which was acknowledged")));
                }
                Fact::Acknowledged { grant, .. } if end.grants.get(grant).is_none_or(|live| *live) => {
                    found.push(violation("R11", format!("on node {node} {grant} is live, though its revocation was acknowledged")));
                }
                _ => {}
            }
        }
    }
    found
}

/// R20: what was reported as not done was not done.
fn nothing_denied_is_done(run: &Outcome) -> Vec<Violation> {
    let denied: BTreeSet<&String> = run
        .history
        .iter()
        .filter_map(|event| match &event.fact {
            Fact::NotGranted { marker } => Some(marker),
            _ => None,
        })
        .collect();
    let done = run.ends.values().flat_map(|end| &end.markers).filter(|marker| denied.contains(marker));
    done.map(|marker| violation("R20", format!("{marker} was reported as not committed, and is"))).collect()
}

/// R3: every acknowledged record is in the log once, and each boot's records are there in order and without a gap.
fn records_are_whole(run: &Outcome) -> Vec<Violation> {
    let mut found = Vec::new();
    for (node, end) in &run.ends {
        let mut last: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for (by, process, sequence) in &end.records {
            let before = last.insert((*by, *process), *sequence).unwrap_or(0);
            if *sequence != before + 1 {
                found.push(violation("R3", format!("in node {node}'s log record {sequence} of node {by} follows its record {before}")));
            }
        }
        for event in &run.history {
            if let Fact::Recorded { node: by, process, through } = &event.fact
                && last.get(&(*by, *process)).copied().unwrap_or(0) < *through
            {
                found.push(violation("R3", format!("record {through} of node {by} was acknowledged and is not in node {node}'s log")));
            }
        }
    }
    found
}

/// R18: all serve, and hold the same.
fn all_agree(run: &Outcome) -> Vec<Violation> {
    if let Some(why) = &run.stuck {
        return vec![violation("R18", why.clone())];
    }
    let digests: BTreeSet<u64> = run.ends.values().map(|end| end.digest).collect();
    if digests.len() > 1 {
        return vec![violation("R18", format!("the nodes' states differ: {digests:x?}"))];
    }
    Vec::new()
}

/// R12, per key.
pub fn registers_are_linearizable(history: &[Event]) -> Vec<Violation> {
    let mut keys: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for event in history {
        match &event.fact {
            Fact::Invoked { client, key, write } => {
                keys.entry(*key).or_default().push(Operation::Invoked { client: *client, write: *write })
            }
            Fact::Returned { client, key, read } => {
                keys.entry(*key).or_default().push(Operation::Returned { client: *client, read: *read })
            }
            _ => {}
        }
    }
    let broken = keys.iter().filter(|(_, operations)| !linear::is_linearizable(operations));
    broken.map(|(key, operations)| violation("R12", format!("register {key} is not linearizable: {operations:?}"))).collect()
}

/// What a set of runs has in it, so that a run in which nothing happens is not taken for one in which nothing is wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Coverage {
    pub runs: u64,
    pub events: u64,
    pub simulated_seconds: u64,
    pub forwarded: u64,
    pub acknowledged: u64,
    pub acknowledged_with_a_silent_node: u64,
    pub not_acknowledged: u64,
    pub spent: u64,
    pub refused_as_spent: u64,
    pub records: u64,
    pub register_operations: u64,
    pub partitions: u64,
    pub power_losses: u64,
    pub power_losses_of_all: u64,
    pub writes_lost: u64,
    pub longest_acknowledgement_ms: u64,
}

impl Coverage {
    pub fn add(&mut self, run: &Outcome) {
        self.runs += 1;
        self.events += run.history.len() as u64;
        self.simulated_seconds += run.history.last().map_or(0, |event| event.at / 1_000_000_000);
        self.writes_lost += run.writes_lost;
        self.records += run.ends.values().next().map_or(0, |end| end.records.len() as u64);
        for event in &run.history {
            match &event.fact {
                Fact::Forwarded { .. } => self.forwarded += 1,
                Fact::Acknowledged { silent, took_ms, .. } => {
                    self.acknowledged += 1;
                    self.acknowledged_with_a_silent_node += u64::from(*silent > 0);
                    self.longest_acknowledgement_ms = self.longest_acknowledgement_ms.max(*took_ms);
                }
                Fact::NotAcknowledged { .. } => self.not_acknowledged += 1,
                Fact::Spent { .. } => self.spent += 1,
                Fact::NotSpent { .. } => self.refused_as_spent += 1,
                Fact::Returned { .. } => self.register_operations += 1,
                Fact::Fault(what) if what.starts_with("cut") => self.partitions += 1,
                Fact::Fault(what) if what.starts_with("all lose power") => self.power_losses_of_all += 1,
                Fact::Fault(what) if what.contains("loses power") => self.power_losses += 1,
                _ => {}
            }
        }
    }

    /// Sums two.
    pub fn merge(&mut self, other: &Coverage) {
        let longest = self.longest_acknowledgement_ms.max(other.longest_acknowledgement_ms);
        for (mine, theirs) in self.fields().into_iter().zip(other.clone().fields()) {
            *mine += *theirs;
        }
        self.longest_acknowledgement_ms = longest;
    }

    fn fields(&mut self) -> [&mut u64; 16] {
        [
            &mut self.runs,
            &mut self.events,
            &mut self.simulated_seconds,
            &mut self.forwarded,
            &mut self.acknowledged,
            &mut self.acknowledged_with_a_silent_node,
            &mut self.not_acknowledged,
            &mut self.spent,
            &mut self.refused_as_spent,
            &mut self.records,
            &mut self.register_operations,
            &mut self.partitions,
            &mut self.power_losses,
            &mut self.power_losses_of_all,
            &mut self.writes_lost,
            &mut self.longest_acknowledgement_ms,
        ]
    }

    /// As one line, for the process that started the run.
    #[must_use]
    pub fn line(&self) -> String {
        self.clone().fields().map(|n| n.to_string()).join(" ")
    }

    /// # Errors
    /// When it is no such line.
    pub fn parse(line: &str) -> Result<Coverage, String> {
        let mut coverage = Coverage::default();
        let numbers: Vec<u64> = line.split_whitespace().map(|n| n.parse().map_err(|_| line.to_owned())).collect::<Result<_, _>>()?;
        let fields = coverage.fields();
        if fields.len() != numbers.len() {
            return Err(line.to_owned());
        }
        fields.into_iter().zip(numbers).for_each(|(field, number)| *field = number);
        Ok(coverage)
    }
}
