//! A new grant; or, for one that `assize apply` made and applies again, its new terms.

use std::collections::BTreeSet;

use super::check::{invalid, labels, not_found, permissions, roles_exist};
use super::step::Step;
use super::{Rejection, Reply};
use crate::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use crate::id::{GrantId, Index, Name};
use crate::operation::Protocol;
use crate::permission::PermissionSet;
use crate::time::LogTime;

/// The reason of a revocation by which `assize apply --prune` takes back its own grant. Such a grant may be declared
/// again; one that anything else revoked may not, until a person issues it anew.
pub const PRUNED: &str = "no longer declared";

pub(super) struct Terms {
    pub(super) name: Option<Name>,
    pub(super) principal: Name,
    pub(super) target: TargetSelector,
    pub(super) permissions: PermissionSet,
    pub(super) roles: BTreeSet<Name>,
    pub(super) valid_from: Option<LogTime>,
    pub(super) expires: Option<LogTime>,
    pub(super) review_due: Option<LogTime>,
    pub(super) strict: bool,
    pub(super) source: GrantSource,
}

pub(super) fn apply(step: &mut Step<'_>, terms: Terms) -> Result<Reply, Rejection> {
    check(step, &terms)?;
    let new = Grant {
        id: GrantId(step.index.0),
        name: terms.name,
        principal: terms.principal,
        target: terms.target,
        permissions: terms.permissions,
        roles: terms.roles,
        valid_from: terms.valid_from,
        expires: terms.expires,
        review_due: terms.review_due,
        under_review: None,
        strict: terms.strict,
        source: terms.source,
        status: GrantStatus::Active,
        granted_by: step.actor_name(),
        granted: step.now,
        version: step.index,
        narrowed: step.index,
    };
    let grant = match new.name.as_ref().and_then(|name| step.state.grant_named(name)).cloned() {
        Some(old) => under_same_name(step, old, new)?,
        None => Outcome::Put(Box::new(new)),
    };
    Ok(match grant {
        Outcome::Put(grant) => {
            let id = grant.id;
            step.put_grant(*grant);
            Reply::Grant(id)
        }
        Outcome::Unchanged(id) => Reply::Grant(id),
    })
}

enum Outcome {
    Put(Box<Grant>),
    Unchanged(GrantId),
}

/// What a name that was given before means for a new grant under it.
fn under_same_name(step: &Step<'_>, old: Grant, new: Grant) -> Result<Outcome, Rejection> {
    let declared = new.source == GrantSource::Declared;
    let what = || format!("grant {} ({})", old.name.as_ref().map_or("", Name::as_str), old.id);
    match &old.status {
        GrantStatus::Revoked { reason, .. } if declared && reason != PRUNED => {
            Err(Rejection::Conflict { what: format!("{}, revoked: {reason}", what()), expected: Index(0), current: old.version })
        }
        GrantStatus::Revoked { .. } => Ok(Outcome::Put(Box::new(new))),
        GrantStatus::Active | GrantStatus::Suspended { .. } if old.has_ended(step.now) => Ok(Outcome::Put(Box::new(new))),
        GrantStatus::Active | GrantStatus::Suspended { .. }
            if declared && old.source == GrantSource::Declared && old.principal == new.principal =>
        {
            Ok(replaced(step, old, new))
        }
        GrantStatus::Active | GrantStatus::Suspended { .. } => match old.source {
            GrantSource::Review(review) if declared => {
                let what = format!("{}, narrowed by {review}", what());
                Err(Rejection::Conflict { what, expected: Index(0), current: old.version })
            }
            GrantSource::Baseline
            | GrantSource::Declared
            | GrantSource::Request(_)
            | GrantSource::Review(_)
            | GrantSource::BreakGlass(_) => Err(Rejection::Exists { what: what() }),
        },
    }
}

/// The same grant under new terms. It keeps its id and its status: applying a file confirms nothing.
fn replaced(step: &Step<'_>, old: Grant, new: Grant) -> Outcome {
    // A date that a review set is the review's to move.
    let review_due = if old.under_review.is_some() { old.review_due } else { new.review_due };
    let renewed = Grant {
        id: old.id,
        review_due,
        under_review: old.under_review,
        status: old.status.clone(),
        granted_by: old.granted_by.clone(),
        granted: old.granted,
        version: old.version,
        narrowed: old.narrowed,
        ..new
    };
    if renewed == old {
        return Outcome::Unchanged(old.id);
    }
    let narrowed = if covers(&renewed, &old) { old.narrowed } else { step.index };
    Outcome::Put(Box::new(Grant { granted_by: step.actor_name(), granted: step.now, version: step.index, narrowed, ..renewed }))
}

fn covers(new: &Grant, old: &Grant) -> bool {
    let until = |end: Option<LogTime>| end.unwrap_or(LogTime(u64::MAX));
    new.target == old.target
        && new.permissions.covers(&old.permissions)
        && new.roles.is_superset(&old.roles)
        && new.valid_from.unwrap_or_default() <= old.valid_from.unwrap_or_default()
        && until(new.expires) >= until(old.expires)
        && until(new.review_due) >= until(old.review_due)
        && new.strict == old.strict
}

fn check(step: &Step<'_>, terms: &Terms) -> Result<(), Rejection> {
    match terms.source {
        GrantSource::Declared if terms.name.is_none() => return Err(invalid("name", "a declared grant needs one, to be found again")),
        GrantSource::Baseline | GrantSource::Declared => {}
        GrantSource::Request(_) | GrantSource::Review(_) | GrantSource::BreakGlass(_) => {
            return Err(invalid("source", "only a decision makes such a grant"));
        }
    }
    if !step.state.principals.contains_key(&terms.principal) {
        return Err(invalid("principal", format!("there is no principal {}", terms.principal)));
    }
    roles_exist(step.state, &terms.roles)?;
    if terms.permissions.is_empty() && terms.roles.is_empty() {
        return Err(invalid("permissions", "a grant of nothing"));
    }
    let protocol = protocol_of(step, &terms.target)?;
    permissions(&terms.permissions, Some(protocol))?;
    for role in &terms.roles {
        let set = step.state.roles.get(role).map(|r| &r.permissions).ok_or_else(|| not_found(format!("role {role}")))?;
        if !set.is_empty() && !set.iter().any(|p| p.protocol == protocol) {
            return Err(invalid("roles", format!("{role} has no permission for {protocol:?}")));
        }
    }
    times(step.now, terms)
}

/// The protocol whose permissions make sense there.
fn protocol_of(step: &Step<'_>, target: &TargetSelector) -> Result<Protocol, Rejection> {
    match target {
        TargetSelector::Name(name) => match step.state.targets.get(name) {
            Some(target) => Ok(target.protocol),
            None => Err(invalid("target", format!("there is no target {name}"))),
        },
        TargetSelector::Labels(wanted) if wanted.is_empty() => Err(invalid("target", "select by at least one label")),
        TargetSelector::Labels(wanted) => labels(wanted).map(|()| Protocol::Postgres),
        TargetSelector::Assize => Ok(Protocol::Assize),
    }
}

fn times(now: LogTime, terms: &Terms) -> Result<(), Rejection> {
    if terms.expires.is_some_and(|end| end <= now) {
        return Err(invalid("expires", "lies in the past"));
    }
    if terms.review_due.is_some_and(|due| due <= now) {
        return Err(invalid("review_due", "lies in the past"));
    }
    match (terms.valid_from, terms.expires) {
        (Some(from), Some(end)) if end <= from => Err(invalid("valid_from", "is not before it expires")),
        _ => Ok(()),
    }
}
