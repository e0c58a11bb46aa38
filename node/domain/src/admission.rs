//! Admission: the review of one attempt to start a loop, and the permit it yields.
//!
//! ```text
//! effective permissions = (grants ∩ job description) ∪ approved requests − locks, then policy
//! ```

mod effective;
pub mod permit;
pub mod reach;
mod recent;
mod table;
#[cfg(test)]
mod tests;

use crate::grant::{Grant, GrantStatus};
use crate::id::{Digest, GrantId, Index, Name, PolicyId, SessionId};
use crate::limits::ENDED_LOOKED_AT_MAX;
use crate::lock::LockOn;
use crate::operation::{Access, Operation};
use crate::policy::{AtAdmission, Parties, Rules, Ruling};
use crate::principal::PrincipalKind;
use crate::refusal::Refusal;
use crate::state::State;
use crate::target::Target;
use crate::time::LogTime;
pub use permit::{Judgement, Permit, ended_since};
pub use recent::Recent;

/// An identified principal wants a session with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub session: SessionId,
    pub principal: Name,
    pub on_behalf_of: Option<Name>,
    pub target: Name,
}

/// The outcome on record. `Modified` is admitted with less than was granted: the grants reached wider than the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Approved,
    /// What was granted and not admitted, a permission a line.
    Modified {
        dropped: Vec<String>,
    },
    Revoked(Refusal),
}

/// The versions of all an admission read: the record cites them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cited {
    pub state: Index,
    pub principal: Index,
    pub owner: Option<Index>,
    pub target: Index,
    pub job: Option<Index>,
    pub grants: Vec<(GrantId, Index)>,
    /// The active policy.
    pub policy: Option<PolicyId>,
}

#[derive(Debug, Clone)]
pub struct Admission {
    pub outcome: Outcome,
    pub cited: Cited,
    /// There unless the outcome is `Revoked`.
    pub permit: Option<Permit>,
    /// What the policy wants on record.
    pub notes: Vec<String>,
}

/// Reviews one attempt at `now`, a node's own idea of log time. Cheap enough to be done anew whenever
/// [`Permit::is_current`] says no: some map look-ups, set algebra over the grants for this target, and what the active
/// policy says to it, if there is one.
pub fn admit(state: &State, attempt: &Attempt, now: LogTime, rules: &dyn Rules) -> Admission {
    let mut cited = Cited { state: state.applied, ..Cited::default() };
    let mut notes = Vec::new();
    match review(state, attempt, now, rules, &mut cited, &mut notes) {
        Ok((outcome, permit)) => Admission { outcome, cited, permit: Some(permit), notes },
        Err(refusal) => Admission { outcome: Outcome::Revoked(refusal), cited, permit: None, notes },
    }
}

/// The checks in their order: who, for what, to where, by which grants, and what the policy leaves of it.
fn review(
    state: &State,
    attempt: &Attempt,
    now: LogTime,
    rules: &dyn Rules,
    cited: &mut Cited,
    notes: &mut Vec<String>,
) -> Result<(Outcome, Permit), Refusal> {
    let unlocked = |on: LockOn| state.live_lock(&on, now).map_or(Ok(()), |lock| Err(lock.refusal()));

    let principal = state.principals.get(&attempt.principal).ok_or(Refusal::UnknownPrincipal)?;
    cited.principal = principal.version;
    if !principal.active {
        return Err(Refusal::PrincipalInactive);
    }
    unlocked(LockOn::Principal(principal.name.clone()))?;
    if let Some(delegator) = attempt.on_behalf_of.as_ref().and_then(|name| state.principals.get(name)) {
        if !delegator.active {
            return Err(Refusal::PrincipalInactive);
        }
        unlocked(LockOn::Principal(delegator.name.clone()))?;
    }
    let job = match &principal.kind {
        PrincipalKind::Person { .. } => None,
        PrincipalKind::Agent { owner, job, .. } => {
            let person = state.active_person(owner).ok_or_else(|| Refusal::OwnerInactive { owner: owner.clone() })?;
            cited.owner = Some(person.version);
            unlocked(LockOn::Principal(owner.clone()))?;
            let job = job.as_ref().and_then(|job| state.jobs.get(job)).ok_or(Refusal::NoJob)?;
            cited.job = Some(job.version);
            if !job.is_live(now) {
                return Err(Refusal::JobExpired);
            }
            Some(job)
        }
    };

    let target = state.targets.get(&attempt.target).ok_or(Refusal::UnknownTarget)?;
    cited.target = target.version;
    unlocked(LockOn::Target(target.name.clone()))?;
    unlocked(LockOn::Credential(target.credential.clone()))?;
    unlocked(LockOn::Session(attempt.session))?;

    let live: Vec<&Grant> = state.grants_of(&principal.name).filter(|grant| grant.target.selects(target) && grant.is_live(now)).collect();
    cited.grants = live.iter().map(|grant| (grant.id, grant.version)).collect();
    if live.is_empty() {
        return Err(why_no_grant(state, &principal.name, target, now));
    }
    let effective = effective::of(state, now, target.protocol, job, &live);
    if effective.table.is_empty() {
        return Err(effective.locked.unwrap_or(Refusal::NoGrant));
    }
    let ruling = match state.active_policy() {
        Some(policy) => {
            cited.policy = Some(policy.id);
            let parties = Parties { state, principal, on_behalf_of: attempt.on_behalf_of.as_ref(), target, job };
            let ruling = rules.at_admission(policy, &AtAdmission { parties, grants: &live, dropped: &effective.dropped });
            *notes = ruling.notes();
            match ruling {
                Ruling { refuse: Some(reason), .. } => return Err(Refusal::Policy { policy: policy.id, reason }),
                ruling => Some((policy.id, rules.judges_operations(policy), ruling)),
            }
        }
        None => None,
    };
    let outcome = if effective.dropped.is_empty() { Outcome::Approved } else { Outcome::Modified { dropped: effective.dropped.clone() } };
    Ok((outcome, Permit::new(state, attempt, now, principal, target, job, &live, effective, ruling)))
}

/// The reason that tells most: what is overdue can be reviewed, what was revoked has a name to ask.
fn why_no_grant(state: &State, principal: &Name, target: &Target, now: LogTime) -> Refusal {
    let selects = |grant: &&Grant| grant.target.selects(target);
    if state.grants_of(principal).filter(selects).any(|g| g.review_due.is_some_and(|due| due <= now) && g.status == GrantStatus::Active) {
        return Refusal::ReviewOverdue;
    }
    if state.grants_of(principal).filter(selects).any(|g| g.expires.is_some_and(|end| end <= now)) {
        return Refusal::GrantExpired;
    }
    match state.ended_grants_of(principal).take(ENDED_LOOKED_AT_MAX).find(selects).map(|g| &g.status) {
        Some(GrantStatus::Revoked { reason, revocation, .. }) => Refusal::Revoked { revocation: *revocation, reason: reason.clone() },
        Some(GrantStatus::Active | GrantStatus::Suspended { .. }) => Refusal::GrantExpired,
        None => Refusal::NoGrant,
    }
}

/// Why an operation would be allowed, held or refused now: `assize explain`.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub admission: Admission,
    /// What each access of the operation is covered by.
    pub accesses: Vec<(Access, Option<GrantId>)>,
    /// `None` when the attempt is not admitted.
    pub judgement: Option<Judgement>,
}

/// Approvals are left out: they are for one exact execution.
pub fn explain(state: &State, attempt: &Attempt, operation: &Operation, now: LogTime, rules: &dyn Rules) -> Explanation {
    let admission = admit(state, attempt, now, rules);
    let permit = admission.permit.as_ref();
    let accesses = operation.accesses.iter().map(|access| (access.clone(), permit.and_then(|p| p.covers(access)))).collect();
    let judgement = permit.map(|permit| permit.judge(state, operation, &Digest([0; 32]), now, rules));
    Explanation { admission, accesses, judgement }
}
