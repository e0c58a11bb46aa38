//! Linear sweeps over a history, one for each promise. Each names the first thing that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Event, Moment, Noted, Outcome, Statement};

/// The recorder's own delay between the kernel's receipt of a statement and its stamp, which counts against the gateway.
const STAMPED_LATE: Duration = Duration::from_millis(10);
/// After an acknowledgement: telling the client, cancelling and closing, where the node lives.
const CLOSED_WITHIN: Duration = Duration::from_secs(3);

/// Log time may run ahead of a wall clock that is right by the median's own error.
const EARLY: Duration = Duration::from_millis(50);

/// R1: no statement of an agent arrives after its revocation was acknowledged.
///
/// # Errors
/// With the first that does.
pub fn revoked_means_out(events: &[Noted]) -> Result<usize> {
    let agents = agents(events);
    let mut out: BTreeMap<&str, Moment> = BTreeMap::new();
    for Noted { at, event } in events {
        match event {
            Event::Revoked { agent, .. } => {
                out.entry(agent).or_insert(*at);
            }
            Event::Seen { statement, .. } => {
                let agent = agents.get(statement).with_context(|| format!("nobody sent statement {statement}"))?;
                if let Some(since) = out.get(agent.as_str()) {
                    let late = at.saturating_sub(*since);
                    ensure!(
                        late <= STAMPED_LATE,
                        "R1: statement {statement} of {agent} arrived {late:?} after its revocation was acknowledged"
                    );
                }
            }
            _ => {}
        }
    }
    Ok(out.len())
}

/// R1b: every revocation is acknowledged within `bound`.
///
/// # Errors
/// With the first that is not.
pub fn acknowledged_in_time(events: &[Noted], bound: Duration) -> Result<Vec<Duration>> {
    let mut asked: BTreeMap<&str, Moment> = BTreeMap::new();
    let mut took = Vec::new();
    for Noted { at, event } in events {
        match event {
            Event::Revoke { agent } => {
                asked.entry(agent).or_insert(*at);
            }
            Event::Revoked { agent, silent, .. } => {
                let since = asked.remove(agent.as_str()).with_context(|| format!("nobody asked for {agent}'s"))?;
                let took_it = at.saturating_sub(since);
                ensure!(took_it <= bound, "R1b: the revocation of {agent} took {took_it:?}, more than {bound:?}; silent: {silent:?}");
                took.push(took_it);
            }
            Event::RevokeUnknown { agent, why } => bail!("R1b: the revocation of {agent} was not acknowledged: {why}"),
            _ => {}
        }
    }
    ensure!(asked.is_empty(), "R1b: never answered: {:?}", asked.keys());
    Ok(took)
}

/// R5: no statement arrives later than `slack` after the agent's access ended by itself.
///
/// # Errors
/// With the first that does.
pub fn overdue_is_closed(events: &[Noted], slack: Duration) -> Result<()> {
    let agents = agents(events);
    let mut ended: BTreeMap<&str, Moment> = BTreeMap::new();
    for Noted { at, event } in events {
        match event {
            Event::Expired { agent } => {
                ended.insert(agent, *at);
            }
            Event::Seen { statement, .. } => {
                let Some((agent, since)) = agents.get(statement).and_then(|agent| Some((agent, ended.get(agent.as_str())?))) else {
                    continue;
                };
                let late = at.saturating_sub(*since);
                ensure!(late <= slack + STAMPED_LATE, "R5: statement {statement} of {agent} arrived {late:?} after its access ended");
            }
            _ => {}
        }
    }
    Ok(())
}

/// R5: how long each connection at the target outlived its agent's access, which ended by itself.
///
/// # Errors
/// With the first that was closed before the end, or never.
pub fn closed_after_the_end(events: &[Noted]) -> Result<Vec<Duration>> {
    let Connections { owner, closed } = connections(events);
    let mut late = Vec::new();
    for Noted { at, event } in events {
        let Event::Expired { agent } = event else { continue };
        for (connection, _) in owner.iter().filter(|(_, (owner, _))| *owner == agent) {
            let end = closed.get(connection).with_context(|| format!("R5: a connection of {agent} is still open"))?;
            ensure!(*end + EARLY >= *at, "a connection of {agent} was closed {:?} before its access ended", *at - *end);
            late.push(end.saturating_sub(*at));
        }
    }
    Ok(late)
}

/// R13: no node that reported has a connection to the target left of an agent whose revocation was acknowledged. What other
/// nodes hold is frozen, and closes when they die, have their lease again, or the grace ends.
///
/// # Errors
/// With the first that stays.
pub fn nothing_left_open(events: &[Noted]) -> Result<()> {
    let Connections { owner, closed } = connections(events);
    let last = events.last().map_or(Duration::ZERO, |noted| noted.at);
    for Noted { at, event } in events {
        let Event::Revoked { agent, reported, .. } = event else { continue };
        let of_agent = owner.iter().filter(|(_, (owner, node))| owner == agent && reported.contains(&(*node as u64 + 1)));
        for (connection, (_, node)) in of_agent {
            let open_for = closed.get(connection).copied().unwrap_or(last).saturating_sub(*at);
            ensure!(open_for <= CLOSED_WITHIN, "R13: node {} kept a connection of {agent} at the target for {open_for:?}", node + 1);
        }
    }
    Ok(())
}

/// R20: what a client was told was not done never arrives, and what it was told was done has arrived before.
///
/// # Errors
/// With the first that is otherwise.
pub fn told_the_truth(events: &[Noted]) -> Result<()> {
    let mut seen: BTreeSet<Statement> = BTreeSet::new();
    let mut not_done: BTreeMap<Statement, &str> = BTreeMap::new();
    for Noted { event, .. } in events {
        match event {
            Event::Seen { statement, .. } => {
                ensure!(
                    !not_done.contains_key(statement),
                    "R20: statement {statement} arrived after its client was told: {}",
                    not_done[statement]
                );
                seen.insert(*statement);
            }
            Event::Answer { statement, outcome: Outcome::NotDone(told) } => {
                ensure!(!seen.contains(statement), "R20: statement {statement} had arrived when its client was told: {told}");
                not_done.insert(*statement, told);
            }
            Event::Answer { statement, outcome: Outcome::Done } => {
                ensure!(seen.contains(statement), "statement {statement} was answered and never arrived: is the recorder in the way?");
            }
            _ => {}
        }
    }
    Ok(())
}

/// No statement arrives twice: nothing the gateway does repeats what a client sent once.
///
/// # Errors
/// With the first that does.
pub fn forwarded_once(events: &[Noted]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for Noted { event, .. } in events {
        if let Event::Seen { statement, .. } = event {
            ensure!(seen.insert(*statement), "statement {statement} arrived twice");
        }
    }
    Ok(())
}

/// R2: everything that arrived is on record, with the agent that sent it. `recorded` is each statement with its agent.
///
/// # Errors
/// With the first that is not.
pub fn nothing_without_a_record(events: &[Noted], recorded: &BTreeMap<Statement, String>) -> Result<()> {
    let agents = agents(events);
    for Noted { event, .. } in events {
        let Event::Seen { statement, .. } = event else { continue };
        let by = recorded.get(statement).with_context(|| format!("R2: statement {statement} arrived and is not on record"))?;
        ensure!(agents.get(statement) == Some(by), "R2: statement {statement} is on record as {by}'s");
    }
    Ok(())
}

/// R4: of the statements that need an approval each, no more arrive than there were approvals.
///
/// # Errors
/// When there were more.
pub fn spent_at_most(events: &[Noted], needs_approval: impl Fn(Statement) -> bool, approvals: usize) -> Result<usize> {
    let spent = events.iter().filter(|noted| matches!(&noted.event, Event::Seen { statement, .. } if needs_approval(*statement))).count();
    ensure!(spent <= approvals, "R4: {spent} statements for {approvals} approvals");
    Ok(spent)
}

/// Voids a run that proves nothing: the fault happened, with successes before, during and after it, and a revocation
/// was acknowledged during it.
///
/// # Errors
/// With what is missing.
pub fn covered(events: &[Noted], at_least: usize) -> Result<Coverage> {
    let first = events.iter().position(|noted| matches!(noted.event, Event::Fault(_))).context("no fault happened")?;
    let last = events.iter().rposition(|noted| noted.event == Event::Healed).context("nothing was healed")?;
    ensure!(first < last, "it was healed before the fault");
    let done = |events: &[Noted]| events.iter().filter(|n| matches!(n.event, Event::Answer { outcome: Outcome::Done, .. })).count();
    let revoked = events[first..last].iter().filter(|n| matches!(n.event, Event::Revoked { .. })).count();
    let coverage = Coverage { before: done(&events[..first]), during: done(&events[first..last]), after: done(&events[last..]), revoked };
    let Coverage { before, during, after, .. } = coverage;
    ensure!(before >= at_least && during >= at_least && after >= at_least, "too few successes for {at_least} each: {coverage:?}");
    ensure!(revoked >= 1, "nothing was revoked during the fault");
    Ok(coverage)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub before: usize,
    pub during: usize,
    pub after: usize,
    pub revoked: usize,
}

/// Connections at the target: the agent and the node whose statements came over each, and when it was over.
struct Connections<'e> {
    owner: BTreeMap<u64, (&'e str, usize)>,
    closed: BTreeMap<u64, Moment>,
}

fn connections(events: &[Noted]) -> Connections<'_> {
    let sent = attempts(events);
    let mut found = Connections { owner: BTreeMap::new(), closed: BTreeMap::new() };
    for Noted { at, event } in events {
        match event {
            Event::Seen { statement, connection } => {
                if let Some((agent, node)) = sent.get(statement) {
                    found.owner.insert(*connection, (agent, *node));
                }
            }
            Event::Closed { connection } => {
                found.closed.insert(*connection, *at);
            }
            _ => {}
        }
    }
    found
}

fn attempts<'e>(events: &'e [Noted]) -> BTreeMap<Statement, (&'e String, usize)> {
    let attempt = |noted: &'e Noted| match &noted.event {
        Event::Attempt { statement, agent, node, .. } => Some((*statement, (agent, *node))),
        _ => None,
    };
    events.iter().filter_map(attempt).collect()
}

fn agents(events: &[Noted]) -> BTreeMap<Statement, String> {
    attempts(events).into_iter().map(|(statement, (agent, _))| (statement, agent.clone())).collect()
}

#[cfg(test)]
mod tests;
