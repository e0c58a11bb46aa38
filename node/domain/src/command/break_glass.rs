//! A person opens access now. Pure widening, so it is in force with the entry; loud, so that it cannot pass unseen; and
//! a debt: the review it opens is due, and whoever owes one that is overdue opens no more.

use std::time::Duration;

use super::check::{invalid, long, not_empty, not_found, permissions};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::break_glass::BreakGlass;
use crate::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use crate::id::{BreakGlassId, GrantId, Name};
use crate::limits::{BREAK_GLASS_KEPT_MAX, BREAK_GLASS_LENGTH_MAX, BREAK_GLASS_REVIEW_MAX, BREAK_GLASS_UNREVIEWED_MAX};
use crate::permission::PermissionSet;

/// What is opened, and why.
pub(super) struct Opening {
    pub(super) principal: Name,
    pub(super) target: Name,
    pub(super) permissions: PermissionSet,
    pub(super) length: Duration,
    pub(super) review_within: Duration,
    pub(super) reason: String,
    pub(super) ticket: String,
}

pub(super) fn apply(step: &mut Step<'_>, opening: Opening) -> Result<Reply, Rejection> {
    let by = breaker(step, &opening.principal)?;
    check(step, &opening)?;
    owes_nothing(step, &by)?;
    make_room(step)?;
    let mut conflicted = [by.clone()].into();
    step.state.add_conflicted(&opening.principal, &mut conflicted);
    let (id, grant) = (BreakGlassId(step.index.0), GrantId(step.index.0));
    let expires = step.now.after(opening.length);
    step.put_grant(Grant {
        id: grant,
        name: None,
        principal: opening.principal.clone(),
        target: TargetSelector::Name(opening.target.clone()),
        permissions: opening.permissions,
        roles: Default::default(),
        valid_from: None,
        expires: Some(expires),
        review_due: None,
        under_review: None,
        strict: false,
        source: GrantSource::BreakGlass(id),
        status: GrantStatus::Active,
        granted_by: by.clone(),
        granted: step.now,
        version: step.index,
        narrowed: step.index,
    });
    step.put_break_glass(BreakGlass {
        id,
        by,
        principal: opening.principal,
        target: opening.target,
        grant,
        reason: opening.reason,
        ticket: opening.ticket,
        opened: step.now,
        expires,
        review_due: step.now.after(opening.review_within),
        conflicted,
        review: None,
        version: step.index,
    });
    Ok(Reply::Grant(grant))
}

/// A person, for themselves or for an agent: nobody hands access to another person so.
fn breaker(step: &Step<'_>, principal: &Name) -> Result<Name, Rejection> {
    let forbidden = |message: String| Err(Rejection::Forbidden { message });
    let Actor::Principal(by) = step.actor else { return forbidden("only a person breaks glass".into()) };
    if step.state.active_person(by).is_none() {
        return forbidden("only an active person breaks glass".into());
    }
    let whom = step.state.principals.get(principal).ok_or_else(|| not_found(format!("principal {principal}")))?;
    if !whom.active {
        return Err(invalid("principal", format!("{principal} is not active")));
    }
    if whom.is_person() && principal != by {
        return forbidden(format!("{by} breaks glass for themselves or for an agent, not for {principal}"));
    }
    Ok(by.clone())
}

fn check(step: &Step<'_>, opening: &Opening) -> Result<(), Rejection> {
    let target = step.state.targets.get(&opening.target).ok_or_else(|| not_found(format!("target {}", opening.target)))?;
    if opening.permissions.is_empty() {
        return Err(invalid("permissions", "glass broken for nothing"));
    }
    permissions(&opening.permissions, Some(target.protocol))?;
    if opening.reason.trim().is_empty() {
        return Err(invalid("reason", "must not be empty: it is what the review goes by"));
    }
    long("reason", &opening.reason)?;
    not_empty("ticket", &opening.ticket)?;
    if opening.length.is_zero() || opening.length > BREAK_GLASS_LENGTH_MAX {
        return Err(invalid("length", format!("is not between nothing and {BREAK_GLASS_LENGTH_MAX:?}")));
    }
    if opening.review_within.is_zero() || opening.review_within > BREAK_GLASS_REVIEW_MAX {
        return Err(invalid("review_within", format!("is not between nothing and {BREAK_GLASS_REVIEW_MAX:?}")));
    }
    Ok(())
}

fn owes_nothing(step: &Step<'_>, by: &Name) -> Result<(), Rejection> {
    let unreviewed = || step.state.break_glass.values().filter(|broken| broken.by == *by && broken.review.is_none());
    if let Some(owed) = unreviewed().find(|broken| broken.is_overdue(step.now)) {
        return Err(Rejection::Forbidden {
            message: format!("{} of {by} was to be reviewed by now: somebody else has to do that first", owed.id),
        });
    }
    if unreviewed().count() >= BREAK_GLASS_UNREVIEWED_MAX {
        let message = format!("{by} has broken glass {BREAK_GLASS_UNREVIEWED_MAX} times that nobody has reviewed yet");
        return Err(Rejection::Forbidden { message });
    }
    Ok(())
}

/// The oldest that was reviewed makes place: all of them are in the log.
fn make_room(step: &mut Step<'_>) -> Result<(), Rejection> {
    if step.state.break_glass.len() < BREAK_GLASS_KEPT_MAX {
        return Ok(());
    }
    match step.state.break_glass.values().find(|broken| broken.review.is_some() && broken.expires <= step.now).map(|broken| broken.id) {
        Some(oldest) => {
            step.remove_break_glass(oldest);
            Ok(())
        }
        None => Err(Rejection::Forbidden { message: format!("{BREAK_GLASS_KEPT_MAX} of them wait for a review already") }),
    }
}
