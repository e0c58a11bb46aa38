//! What can happen, and what it does.

use super::state::{Cluster, Entry, Renewal, Writing};
use super::{GATEWAYS, Protocol, Seen};
use crate::flaw::Flaw;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Time passes; the gateways of this mask lose the tick. Timers that are due kill, and then the answering node
    /// looks at its clock.
    Tick {
        losing: u8,
    },
    /// [`Flaw::WaitFromProposal`] only; without it nothing depends on when the revocation was proposed.
    Propose,
    /// The revocation is committed, and the answering node knows it.
    Revoke,
    AnsweringRestarts,
    LeaderChanges,
    /// The leader takes a gateway out: at any time, as nothing may rest on its reasons.
    TakeOut(u8),
    Rejoin(u8),
    /// A gateway asks for a read index.
    Ask(u8),
    /// [`Flaw::NotedAfterSending`] only.
    Note(u8),
    RoundStarts(u8, u8),
    RoundEnds(u8, u8),
    /// [`Flaw::RoundShared`] only: answered with a round that was under way.
    RoundJoined(u8, u8),
    /// [`Flaw::LeaseRead`] only.
    DeposedLeaderAnswers(u8, u8),
    UseAnswer(u8, u8),
    Apply(u8),
    /// The receipt reaches the answering node at once: later is safer.
    Enforce(u8),
    Check(u8),
    Write(u8),
    CheckAgain(u8),
    /// The watch task acts on the end of the lease.
    Freeze(u8),
    /// The kernel delivers.
    Deliver(u8),
    Kill(u8),
    /// `forgets`: what was applied but not synced is gone.
    Restart {
        gateway: u8,
        forgets: bool,
    },
}

pub(super) fn possible(model: &Protocol, c: &Cluster, acts: &mut Vec<Act>) {
    if c.violated {
        return;
    }
    let bounds = &model.bounds;
    if c.now < bounds.ticks {
        let may_lose = |gateway: usize| c.gateways[gateway].lost < bounds.drift;
        let fits = |losing: &u8| (0..bounds.gateways).all(|g| losing >> g & 1 == 0 || may_lose(g));
        acts.extend((0..1_u8 << bounds.gateways).filter(fits).map(|losing| Act::Tick { losing }));
    }
    if c.term < bounds.leader_changes {
        acts.push(Act::LeaderChanges);
    }
    if c.revocation().is_none() {
        match c.proposed {
            None if model.is(Flaw::WaitFromProposal) => acts.push(Act::Propose),
            _ => acts.push(Act::Revoke),
        }
        if c.answering_restarts < bounds.answering_restarts {
            acts.push(Act::AnsweringRestarts);
        }
    }
    for g in 0..bounds.gateways {
        members(model, c, g, acts);
        renewing(model, c, g, acts);
        forwarding(model, c, g, acts);
    }
}

fn members(model: &Protocol, c: &Cluster, g: usize, acts: &mut Vec<Act>) {
    let gateway = &c.gateways[g];
    let everything = c.log.len() as u8;
    if c.serves_in(g, everything) && c.count(|e| matches!(e, Entry::Leave(_))) < model.bounds.departures {
        acts.push(Act::TakeOut(g as u8));
    }
    let knows_it_is_out = gateway.alive && !c.serves_in(g, gateway.applied);
    if knows_it_is_out && !c.serves_in(g, everything) && c.count(|e| matches!(e, Entry::Join(_))) < model.bounds.rejoins {
        acts.push(Act::Rejoin(g as u8));
    }
    if !gateway.alive {
        acts.push(Act::Restart { gateway: g as u8, forgets: true });
        if gateway.applied > 0 {
            acts.push(Act::Restart { gateway: g as u8, forgets: false });
        }
    } else if c.kills < model.bounds.kills {
        acts.push(Act::Kill(g as u8));
    }
}

fn renewing(model: &Protocol, c: &Cluster, g: usize, acts: &mut Vec<Act>) {
    let gateway = &c.gateways[g];
    let id = g as u8;
    if !gateway.alive {
        return;
    }
    if gateway.renewals_asked < model.bounds.renewals {
        acts.push(Act::Ask(id));
    }
    if model.is(Flaw::NotedAfterSending) && gateway.renewals.iter().any(|r| r.asked().is_none()) {
        acts.push(Act::Note(id));
    }
    for (slot, renewal) in gateway.renewals.iter().enumerate() {
        let slot = slot as u8;
        match renewal {
            Renewal::Asked { .. } => {
                acts.push(Act::RoundStarts(id, slot));
                let round = |r: &Renewal| matches!(r, Renewal::Round { .. });
                if model.is(Flaw::RoundShared) && c.gateways.iter().any(|other| other.renewals.iter().any(round)) {
                    acts.push(Act::RoundJoined(id, slot));
                }
                if model.is(Flaw::LeaseRead) && c.term > 0 {
                    acts.push(Act::DeposedLeaderAnswers(id, slot));
                }
            }
            Renewal::Round { .. } => acts.push(Act::RoundEnds(id, slot)),
            Renewal::Answered { index, asked } => {
                let counts = asked.is_some() || model.is(Flaw::CountedFromAnswer);
                if counts && (gateway.enforced >= *index || model.is(Flaw::UsedBeforeEnforced)) {
                    acts.push(Act::UseAnswer(id, slot));
                }
            }
        }
    }
    if (gateway.applied as usize) < c.log.len() {
        acts.push(Act::Apply(id));
    }
    let gate_is_free = gateway.writing == Writing::Idle || model.is(Flaw::GateNotTaken);
    if gateway.enforced < gateway.applied && gate_is_free {
        acts.push(Act::Enforce(id));
    }
}

fn forwarding(model: &Protocol, c: &Cluster, g: usize, acts: &mut Vec<Act>) {
    let gateway = &c.gateways[g];
    let id = g as u8;
    if gateway.queued {
        acts.push(Act::Deliver(id));
    }
    if !gateway.alive {
        return;
    }
    match gateway.writing {
        Writing::Idle => {
            let leased = gateway.holds_lease(c.now) || model.is(Flaw::LeaseNotChecked);
            if leased && !c.revoked_in(gateway.applied) && !gateway.queued && gateway.operations < model.bounds.operations {
                acts.push(Act::Check(id));
            }
            if gateway.deadline > 0 && !gateway.holds_lease(c.now) {
                acts.push(Act::Freeze(id));
            }
        }
        Writing::Checked => acts.push(Act::Write(id)),
        Writing::Written => acts.push(Act::CheckAgain(id)),
    }
}

pub(super) fn perform(model: &Protocol, c: &mut Cluster, act: Act) {
    let (now, committed, acknowledged) = (c.now, c.log.len() as u8, c.acknowledged);
    match act {
        Act::Tick { losing } => tick(model, c, losing),
        Act::Propose => c.proposed = Some(now),
        Act::Revoke => start_barrier(model, c),
        Act::AnsweringRestarts => {
            c.answering_restarts += 1;
            let forgets = model.is(Flaw::LeftForgottenAtRestart);
            c.left = c.left.map(|left| left.filter(|_| !forgets).map(|_| now));
        }
        Act::LeaderChanges => {
            c.term += 1;
            c.deposed_knows = if model.is(Flaw::LeaseRead) { committed } else { 0 };
        }
        Act::TakeOut(g) => {
            c.log.push(Entry::Leave(g));
            if c.barrier.is_none() {
                c.left[g as usize] = Some(now);
            }
        }
        Act::Rejoin(g) => {
            c.log.push(Entry::Join(g));
            c.left[g as usize] = None;
        }
        Act::Ask(g)
        | Act::Note(g)
        | Act::RoundStarts(g, _)
        | Act::RoundEnds(g, _)
        | Act::RoundJoined(g, _)
        | Act::DeposedLeaderAnswers(g, _) => renew(model, c, g as usize, act),
        Act::UseAnswer(g, slot) => use_answer(model, c, g as usize, slot as usize),
        Act::Apply(g) => {
            let ends_a_session = c.log[c.gateways[g as usize].applied as usize] == Entry::Revoke;
            let gateway = &mut c.gateways[g as usize];
            // What ends no session here is enforced when it is applied, if nothing before it waits.
            if gateway.enforced == gateway.applied && !ends_a_session {
                gateway.enforced += 1;
            }
            gateway.applied += 1;
        }
        Act::Enforce(g) => {
            let gateway = &mut c.gateways[g as usize];
            gateway.enforced = gateway.applied;
            gateway.queued &= model.is(Flaw::NotDrained);
            if c.revoked_in(c.gateways[g as usize].enforced)
                && let Some(barrier) = &mut c.barrier
            {
                barrier[g as usize] = 0;
            }
        }
        Act::Check(g) => {
            let gateway = &mut c.gateways[g as usize];
            gateway.writing = Writing::Checked;
            gateway.operations += 1;
        }
        Act::Write(g) => {
            let gateway = &mut c.gateways[g as usize];
            (gateway.writing, gateway.queued) = (Writing::Written, true);
        }
        Act::CheckAgain(g) => {
            let gateway = &mut c.gateways[g as usize];
            gateway.writing = Writing::Idle;
            let leased = gateway.holds_lease(now);
            model.saw(Seen::LateSendReset, gateway.queued && !leased);
            gateway.queued &= leased || model.is(Flaw::LeaseNotChecked);
        }
        Act::Freeze(g) => {
            let gateway = &mut c.gateways[g as usize];
            gateway.queued &= model.is(Flaw::FrozenNotAborted);
            gateway.deadline = 0;
            model.saw(Seen::FrozenAlive, true);
        }
        Act::Deliver(g) => {
            c.gateways[g as usize].queued = false;
            c.violated |= acknowledged;
            model.saw(Seen::Delivered, true);
        }
        Act::Kill(g) => {
            c.kills += 1;
            kill(model, c, g as usize);
        }
        Act::Restart { gateway, forgets } => {
            let gateway = &mut c.gateways[gateway as usize];
            gateway.alive = true;
            if forgets {
                gateway.applied = 0;
            }
            // It has no session yet.
            gateway.enforced = gateway.applied;
        }
    }
    acknowledge(model, c);
}

/// As soon as nobody is waited for.
fn acknowledge(model: &Protocol, c: &mut Cluster) {
    let Some(barrier) = c.barrier else { return };
    if !c.acknowledged && (model.is(Flaw::NoBarrier) || barrier.iter().all(|until| *until <= c.now)) {
        c.acknowledged = true;
        model.saw(Seen::AcknowledgedByReports, barrier.iter().all(|until| *until == 0));
        model.saw(Seen::AcknowledgedInSilence, barrier.iter().any(|until| *until > 0));
        // What the answering node knew decides nothing any more.
        (c.barrier, c.left, c.proposed) = (Some([0; GATEWAYS]), [None; GATEWAYS], None);
    }
}

fn tick(model: &Protocol, c: &mut Cluster, losing: u8) {
    c.now += 1;
    for g in 0..model.bounds.gateways {
        c.gateways[g].lost += losing >> g & 1;
        let gateway = &c.gateways[g];
        let due = gateway.alive && gateway.deadline > 0 && gateway.clock(c.now) >= gateway.deadline;
        if due && !model.is(Flaw::NoDeadMan) {
            model.saw(Seen::KilledByTimer, true);
            model.saw(Seen::KilledWithBytesQueued, gateway.queued && c.barrier.is_some());
            kill(model, c, g);
        }
    }
}

fn start_barrier(model: &Protocol, c: &mut Cluster) {
    let learned = c.proposed.unwrap_or(c.now);
    let everything = c.log.len() as u8;
    let mut barrier = [0; GATEWAYS];
    for (g, awaited) in barrier.iter_mut().enumerate().take(model.bounds.gateways) {
        let left = c.left[g].filter(|_| !model.is(Flaw::LeftNotAwaited));
        let until = match left {
            _ if c.serves_in(g, everything) => learned + model.wait(),
            Some(left) => left + model.wait(),
            None => 0,
        };
        model.saw(Seen::DepartedAwaited, left.is_some() && until > c.now);
        *awaited = if until > c.now { until } else { 0 };
    }
    c.log.push(Entry::Revoke);
    c.barrier = Some(barrier);
}

fn renew(model: &Protocol, c: &mut Cluster, g: usize, act: Act) {
    let (committed, term, deposed_knows) = (c.log.len() as u8, c.term, c.deposed_knows);
    let under_way = c.gateways.iter().flat_map(|g| &g.renewals).find_map(|r| match r {
        Renewal::Round { index, .. } => Some(*index),
        Renewal::Asked { .. } | Renewal::Answered { .. } => None,
    });
    let clock = c.gateways[g].clock(c.now);
    let gateway = &mut c.gateways[g];
    match act {
        Act::Ask(_) => {
            gateway.renewals_asked += 1;
            let noted_first = !model.is(Flaw::NotedAfterSending) && !model.is(Flaw::CountedFromAnswer);
            gateway.renewals.push(Renewal::Asked { asked: noted_first.then_some(clock) });
        }
        Act::Note(_) => gateway.renewals.iter_mut().for_each(|renewal| renewal.note(clock)),
        Act::RoundStarts(_, slot) | Act::RoundEnds(_, slot) | Act::RoundJoined(_, slot) | Act::DeposedLeaderAnswers(_, slot) => {
            let next = match (act, gateway.renewals.remove(slot as usize)) {
                (Act::RoundStarts(..), Renewal::Asked { asked }) => Some(Renewal::Round { asked, index: committed, term }),
                (Act::RoundJoined(..), Renewal::Asked { asked }) => under_way.map(|index| Renewal::Answered { asked, index }),
                (Act::DeposedLeaderAnswers(..), Renewal::Asked { asked }) => Some(Renewal::Answered { asked, index: deposed_knows }),
                (Act::RoundEnds(..), Renewal::Round { asked, index, term: of }) if of == term => Some(Renewal::Answered { asked, index }),
                _ => None,
            };
            model.saw(Seen::RoundLost, next.is_none());
            gateway.renewals.extend(next);
        }
        other => unreachable!("{other:?} is no step of a renewal"),
    }
    gateway.renewals.sort_unstable();
}

fn use_answer(model: &Protocol, c: &mut Cluster, g: usize, slot: usize) {
    let Renewal::Answered { asked, index } = c.gateways[g].renewals.remove(slot) else { unreachable!("only answers are used") };
    let clock = c.gateways[g].clock(c.now);
    // The state looked at is what the index asks for, or a later one.
    let state = c.gateways[g].applied;
    let joined = c.log[..state as usize].iter().rposition(|e| *e == Entry::Join(g as u8)).map_or(0, |at| at as u8 + 1);
    let serves = c.serves_in(g, state);
    let gateway = &mut c.gateways[g];
    if model.is(Flaw::RejoinWithoutIndex) || (serves && joined <= index) {
        let end = asked.unwrap_or(clock) + model.bounds.lease;
        gateway.lease_end = gateway.lease_end.max(end);
        gateway.deadline = gateway.lease_end + model.patience();
        let holds = clock < gateway.lease_end;
        model.saw(Seen::ServedAfterRevocation, holds && c.acknowledged);
        model.saw(Seen::RejoinedAndServed, holds && joined > 0);
    } else if !serves {
        // It gives the lease up; the watch task freezes, and the timer stays armed until it has.
        gateway.lease_end = 0;
    }
}

fn kill(model: &Protocol, c: &mut Cluster, g: usize) {
    let gateway = &mut c.gateways[g];
    (gateway.alive, gateway.writing, gateway.deadline) = (false, Writing::Idle, 0);
    gateway.queued &= model.is(Flaw::NoLinger);
    gateway.renewals.clear();
    if !model.is(Flaw::LeaseSurvivesRestart) {
        gateway.lease_end = 0;
    }
}
