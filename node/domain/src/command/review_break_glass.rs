//! Somebody else says afterwards whether it was justified to break the glass. Once, and for good. What was not loses
//! its grant, if that still lives.

use super::check::{invalid, long, not_found};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::break_glass::{BreakGlass, Reviewed};
use crate::grant::GrantStatus;
use crate::id::{BreakGlassId, Name};

pub(super) fn apply(step: &mut Step<'_>, id: BreakGlassId, justified: bool, note: String) -> Result<Reply, Rejection> {
    let mut broken = step.state.break_glass.get(&id).cloned().ok_or_else(|| not_found(id))?;
    let by = reviewer(step, &broken)?;
    if note.trim().is_empty() {
        return Err(invalid("note", "must not be empty: say what was found"));
    }
    long("note", &note)?;
    if let Some(earlier) = &broken.review {
        return Err(invalid("break_glass", format!("{id} was reviewed by {} already", earlier.by)));
    }
    if !justified
        && let Some(grant) = step.state.grants.get(&broken.grant).cloned()
        && !matches!(grant.status, GrantStatus::Revoked { .. })
    {
        step.revoke_grant(grant, by.clone(), format!("{id} was not justified"));
    }
    broken.review = Some(Reviewed { by, at: step.now, justified, note });
    broken.version = step.index;
    step.put_break_glass(broken);
    Ok(step.done())
}

/// Neither who broke it, nor whom it was for, nor who answers for that; with the right to decide at the target.
fn reviewer(step: &Step<'_>, broken: &BreakGlass) -> Result<Name, Rejection> {
    let Actor::Principal(who) = step.actor else {
        return Err(Rejection::Forbidden { message: "only a person reviews access".to_owned() });
    };
    if step.state.active_person(who).is_none() {
        return Err(Rejection::Forbidden { message: "only an active person reviews access".to_owned() });
    }
    let mut conflicted = broken.conflicted.clone();
    step.state.add_conflicted(&broken.principal, &mut conflicted);
    if conflicted.contains(who) {
        let why = if *who == broken.by { "broke the glass" } else { "is, or answers for, whom it was broken for" };
        return Err(Rejection::SeparationOfDuties { who: who.clone(), why: why.to_owned() });
    }
    if !step.state.may_decide(who, &broken.target) {
        return Err(Rejection::Forbidden {
            message: format!("{who} needs assize:decide on request/{}, or to own the target", broken.target),
        });
    }
    Ok(who.clone())
}
