//! Releases a legal hold: what it kept goes when its class' rule says so. Who released it, and why, is in the log.

use super::check::{invalid, long, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::HoldId;

pub(super) fn apply(step: &mut Step<'_>, id: HoldId, reason: &str) -> Result<Reply, Rejection> {
    long("reason", reason)?;
    if reason.trim().is_empty() {
        return Err(invalid("reason", "must say why the hold is released"));
    }
    let hold = step.state.holds.get(&id).ok_or_else(|| not_found(id))?;
    let who = step.actor_name();
    if hold.two_people && hold.by == who {
        return Err(Rejection::SeparationOfDuties { who, why: format!("placed {id}, which takes another person to release") });
    }
    step.remove_hold(id);
    step.retention_changed(true);
    Ok(step.done())
}
