//! Which policy is active: activating, going back by one, and doing without. All nodes switch at the same entry, and
//! every permit counts as read under what was active before: live sessions are reviewed again at once.

use std::collections::BTreeSet;

use super::check::not_found;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Name, PolicyId};
use crate::limits::POLICY_ROLLBACKS_MAX;
use crate::policy::{Policy, PolicyFacts};

pub(super) fn activate(step: &mut Step<'_>, id: PolicyId) -> Result<Reply, Rejection> {
    let policy = step.state.policies.get(&id).cloned().ok_or_else(|| not_found(id))?;
    let mut facts = facts(step);
    if facts.active == Some(id) {
        return Ok(Reply::Done { version: facts.changed });
    }
    somebody_else(step, &facts, &policy)?;
    facts.before.extend(facts.active.replace(id));
    Ok(switch(step, facts))
}

pub(super) fn rollback(step: &mut Step<'_>) -> Result<Reply, Rejection> {
    let mut facts = facts(step);
    let nothing = || not_found("a policy that was active before");
    let id = facts.before.pop().ok_or_else(nothing)?;
    let policy = step.state.policies.get(&id).cloned().ok_or_else(nothing)?;
    somebody_else(step, &facts, &policy)?;
    facts.active = Some(id);
    Ok(switch(step, facts))
}

/// Doing without is a widening too: who published what is active does not undo it alone.
pub(super) fn deactivate(step: &mut Step<'_>) -> Result<Reply, Rejection> {
    let mut facts = facts(step);
    let policy = step.state.active_policy().cloned().ok_or_else(|| not_found("an active policy"))?;
    somebody_else(step, &facts, &policy)?;
    facts.before.extend(facts.active.take());
    Ok(switch(step, facts))
}

pub(super) fn set_rule(step: &mut Step<'_>, two_people: bool) -> Result<Reply, Rejection> {
    let mut facts = facts(step);
    facts.two_people = two_people;
    step.put_policy_facts(facts);
    Ok(step.done())
}

fn facts(step: &Step<'_>) -> PolicyFacts {
    step.state.cluster.policy.clone().unwrap_or_default()
}

fn switch(step: &mut Step<'_>, mut facts: PolicyFacts) -> Reply {
    facts.changed = step.index;
    let surplus = facts.before.len().saturating_sub(POLICY_ROLLBACKS_MAX);
    facts.before.drain(..surplus);
    step.put_policy_facts(facts);
    step.state.indexes.touch_all(step.index);
    step.done()
}

/// Where two people are demanded, neither the publisher nor anybody behind it (an agent's owners, a person's agents)
/// is the second.
fn somebody_else(step: &Step<'_>, facts: &PolicyFacts, policy: &Policy) -> Result<(), Rejection> {
    if !facts.two_people && !policy.two_people {
        return Ok(());
    }
    let who = step.actor_name();
    let behind = |name: &Name| {
        let mut all = BTreeSet::new();
        step.state.add_conflicted(name, &mut all);
        all
    };
    if behind(&policy.published_by).is_disjoint(&behind(&who)) {
        Ok(())
    } else {
        let why = format!("published {} or is behind who did; somebody else must do this", policy.id);
        Err(Rejection::SeparationOfDuties { who, why })
    }
}
