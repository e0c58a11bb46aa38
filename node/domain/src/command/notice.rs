//! What one entry means to the triggers of reviews, and the reviews that they open.
//!
//! Told from the state before and after the command, row by row, and so the same on every node and again from the log.

use std::collections::BTreeMap;

use super::open_review;
use super::step::Step;
use crate::id::{GrantId, Name, ReviewId};
use crate::limits::{REVIEWS_OPEN_MAX, TRIGGER_PENDING_MAX, VOLUMES_MAX};
use crate::review::trigger::{About, Cause, Event, Opening, Pending, Trigger, Triggered, Volume};
use crate::review::{Risk, risk_of_grant};
use crate::state::State;
use crate::state::rows::RowKey;

/// What happened to one principal or target.
struct Happened {
    about: Name,
    what: String,
    count: u64,
    usual: u64,
}

impl Happened {
    fn to(about: &Name, what: impl ToString) -> Happened {
        Happened { about: about.clone(), what: what.to_string(), count: 0, usual: 0 }
    }
}

pub(super) fn notice(step: &mut Step<'_>, before: &State) {
    let touched: Vec<RowKey> = step.touched.iter().cloned().collect();
    for row in &touched {
        match row {
            RowKey::Principal(name) => principal(step, before, name),
            RowKey::Job(name) => job(step, before, name),
            RowKey::Credential(name) => credential(step, before, name),
            RowKey::Grant(id) => grant(step, before, *id),
            RowKey::Usage(id) => usage(step, before, *id),
            RowKey::Denials(principal, target) => denials(step, before, principal, target),
            RowKey::Findings(target) => findings(step, before, target),
            RowKey::Clock
            | RowKey::Cluster
            | RowKey::Member(_)
            | RowKey::JoinToken(_)
            | RowKey::Target(_)
            | RowKey::Role(_)
            | RowKey::Request(_)
            | RowKey::Lock(_)
            | RowKey::Receipt(_)
            | RowKey::Proposal(_)
            | RowKey::Review(_)
            | RowKey::ReviewItems(..)
            | RowKey::ReviewHistory(..)
            | RowKey::Trigger(_)
            | RowKey::Policy(_)
            | RowKey::Volume(..)
            | RowKey::Sink(_)
            | RowKey::SinkProgress(_)
            | RowKey::Witness(_)
            | RowKey::Cosigned(..)
            | RowKey::BreakGlass(_)
            | RowKey::RetentionRule(_)
            | RowKey::Hold(_)
            | RowKey::Retention => {}
        }
    }
}

fn principal(step: &mut Step<'_>, before: &State, name: &Name) {
    // Who is new had no access to look at.
    let (Some(was), is) = (before.principals.get(name), step.state.principals.get(name).cloned()) else { return };
    let Some(is) = is else { return };
    if was.is_person() && was.active && !is.active {
        let mut agents: Vec<Name> = step.state.agents_owned_by(name).into_iter().map(|agent| agent.name).collect();
        let jobs: Vec<Name> = step.state.jobs.values().filter(|job| job.owner == *name).map(|job| job.name.clone()).collect();
        agents.extend(jobs.iter().flat_map(|job| agents_with(step.state, job)));
        agents.iter().for_each(|agent| happened(step, &Event::OwnerLeft, &Happened::to(agent, name)));
    }
    if let Some(owner) = was.owner().filter(|_| was.owner() != is.owner()) {
        happened(step, &Event::OwnerLeft, &Happened::to(name, owner));
    }
    if was.job() != is.job() {
        happened(step, &Event::JobChanged, &Happened::to(name, is.job().or(was.job()).expect("one of two that differ")));
    }
    let another = is.tokens.keys().find(|token| !was.tokens.contains_key(*token));
    if let Some(token) = another.filter(|_| was.tokens.values().any(|token| token.is_live(step.now))) {
        happened(step, &Event::TokenIssued, &Happened::to(name, token));
    }
}

fn job(step: &mut Step<'_>, before: &State, name: &Name) {
    if !before.jobs.contains_key(name) {
        return;
    }
    for agent in agents_with(step.state, name) {
        happened(step, &Event::JobChanged, &Happened::to(&agent, name));
    }
}

fn credential(step: &mut Step<'_>, before: &State, name: &Name) {
    if !before.credentials.contains_key(name) || !step.state.credentials.contains_key(name) {
        return;
    }
    let targets: Vec<Name> = step.state.targets.values().filter(|t| t.credential == *name).map(|t| t.name.clone()).collect();
    targets.iter().for_each(|target| happened(step, &Event::CredentialChanged, &Happened::to(target, name)));
}

fn grant(step: &mut Step<'_>, before: &State, id: GrantId) {
    let high = |state: &State| {
        let found = state.grants.get(&id).filter(|grant| !grant.has_ended(state.now));
        found.filter(|grant| risk_of_grant(state, grant) == Risk::High).map(|grant| grant.principal.clone())
    };
    if let (None, Some(principal)) = (high(before), high(step.state)) {
        happened(step, &Event::HighRiskGrant, &Happened::to(&principal, id));
    }
}

fn denials(step: &mut Step<'_>, before: &State, principal: &Name, target: &Name) {
    let key = (principal.clone(), target.clone());
    let count = |state: &State| state.denials.get(&key).map_or(0, |denials| denials.count.operations);
    let (was, is) = (count(before), count(step.state));
    for trigger in triggers(step.state, |event| matches!(event, Event::Denials { every } if was / every < is / every)) {
        gather(step, &trigger, &Happened { count: is, ..Happened::to(principal, target) });
    }
}

fn usage(step: &mut Step<'_>, before: &State, id: GrantId) {
    let rows = |state: &State| state.usage.get(&id).map_or(0, |usage| usage.total.rows);
    let moved = rows(step.state).saturating_sub(rows(before));
    let Some(principal) = step.state.grants.get(&id).map(|grant| grant.principal.clone()).filter(|_| moved > 0) else { return };
    for trigger in triggers(step.state, |event| matches!(event, Event::Volume { .. })) {
        let Event::Volume { window, factor, least } = trigger.event else { continue };
        let key = (trigger.name.clone(), principal.clone());
        let found = step.state.volumes.get(&key).cloned();
        if !in_scope(step.state, &trigger, &principal) || (found.is_none() && step.state.volumes.len() >= VOLUMES_MAX) {
            continue;
        }
        let mut volume = found.unwrap_or_else(|| Volume::new(key.0, key.1));
        let event = volume.add(moved, step.now, window, factor, least);
        let rows = volume.rows;
        step.put_volume(volume);
        if let Some(usual) = event {
            gather(step, &trigger, &Happened { count: rows, usual, ..Happened::to(&principal, id) });
        }
    }
}

fn findings(step: &mut Step<'_>, before: &State, target: &Name) {
    let Some(is) = step.state.findings.get(target).cloned() else { return };
    let known = before.findings.get(target).map_or(&[][..], |was| &was.findings);
    for trigger in triggers(step.state, |event| matches!(event, Event::Finding { .. })) {
        let Event::Finding { from } = trigger.event else { continue };
        let new: Vec<_> = is.findings.iter().filter(|finding| finding.risk >= from && !known.contains(finding)).collect();
        if let Some(first) = new.first() {
            gather(step, &trigger, &Happened { count: new.len() as u64, ..Happened::to(target, &first.code) });
        }
    }
}

/// Looks, at a tick, for what only time tells. The tick is a leaf of the control log then.
pub(super) fn look(step: &mut Step<'_>) {
    let looking: Vec<Trigger> = step.state.triggers.values().filter(|trigger| trigger.looks(step.now).is_some()).cloned().collect();
    for mut trigger in looking {
        let Some(span) = trigger.looks(step.now) else { continue };
        let (from, to) = (trigger.looked, step.now);
        let unused = |grant: &&crate::grant::Grant| {
            let since = step.state.unused_since(grant).filter(|_| !grant.has_ended(to));
            since.is_some_and(|since| from < since.after(span) && since.after(span) <= to)
        };
        let found: Vec<Happened> =
            step.state.grants.values().filter(unused).map(|grant| Happened::to(&grant.principal, grant.id)).collect();
        trigger.looked = to;
        step.put_trigger(trigger.clone());
        found.iter().for_each(|happened| gather(step, &trigger, happened));
    }
}

/// Opens the review of the first trigger that has gathered long enough, at a tick whose index no other review has.
pub(super) fn open(step: &mut Step<'_>) {
    let Some(mut trigger) = step.state.triggers.values().find(|trigger| trigger.is_ripe(step.now)).cloned() else { return };
    if step.state.reviews.contains_key(&ReviewId(step.index.0)) || step.state.open_reviews() >= REVIEWS_OPEN_MAX {
        return;
    }
    let Some(pending) = trigger.pending.take() else { return };
    let (name, terms, by) = (trigger.name.clone(), trigger.terms_about(&pending), trigger.by.clone());
    let why = Triggered { trigger: name.clone(), event: trigger.event.clone(), causes: pending.causes, more: pending.more };
    let review = open_review::by_trigger(step, name, terms, by, why);
    trigger.last = Some(Opening { at: step.now, review });
    trigger.version = step.index;
    step.put_trigger(trigger);
}

fn happened(step: &mut Step<'_>, event: &Event, happened: &Happened) {
    for trigger in triggers(step.state, |of| of == event) {
        gather(step, &trigger, happened);
    }
}

fn gather(step: &mut Step<'_>, of: &Trigger, happened: &Happened) {
    if !in_scope(step.state, of, &happened.about) || is_under_review(step.state, of, &happened.about) {
        return;
    }
    let Some(mut trigger) = step.state.triggers.get(&of.name).cloned() else { return };
    let pending = trigger.pending.get_or_insert_with(|| Pending { since: step.now, causes: BTreeMap::new(), more: false });
    if pending.causes.contains_key(&happened.about) || pending.more {
        return;
    }
    if pending.causes.len() < TRIGGER_PENDING_MAX {
        let Happened { about, what, count, usual } = happened;
        let cause = Cause { at: step.now, index: step.index, what: what.clone(), count: *count, usual: *usual };
        pending.causes.insert(about.clone(), cause);
    } else {
        pending.more = true;
    }
    step.put_trigger(trigger);
}

fn triggers(state: &State, of: impl Fn(&Event) -> bool) -> Vec<Trigger> {
    state.triggers.values().filter(|trigger| of(&trigger.event)).cloned().collect()
}

fn agents_with(state: &State, job: &Name) -> Vec<Name> {
    state.principals.values().filter(|p| p.job() == Some(job)).map(|p| p.name.clone()).collect()
}

fn in_scope(state: &State, trigger: &Trigger, about: &Name) -> bool {
    let scope = &trigger.terms.scope;
    match trigger.event.about() {
        About::Principals => state.principals.get(about).is_some_and(|principal| scope.takes_principal(principal)),
        About::Targets => scope.targets.is_empty() || scope.targets.contains(about),
    }
}

fn is_under_review(state: &State, trigger: &Trigger, about: &Name) -> bool {
    let about = |why: &Triggered| why.trigger == trigger.name && why.is_about(about);
    state.reviews.values().any(|review| !review.is_closed() && review.trigger.as_deref().is_some_and(about))
}
