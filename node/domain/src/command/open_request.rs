//! Asks for more than is granted. Identical requests join; how many may wait is bounded.

use std::collections::BTreeSet;

use super::check::{invalid, long, not_found, permissions};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::id::{Index, Name, RequestId};
use crate::limits::{
    APPROVALS_NEEDED_MAX, MISSING_ACCESSES_MAX, PENDING_PER_PRINCIPAL_MAX, PENDING_PER_TARGET_MAX, POLICY_APPROVERS_MAX,
    REQUEST_DETAIL_MAX, WINDOW_LENGTH_MAX,
};
use crate::policy::AskedUnder;
use crate::request::{Ask, Request, RequestStatus, STATEMENT_SHOWN_MAX};
use crate::state::State;
use crate::target::Target;

pub(super) fn apply(
    step: &mut Step<'_>,
    principal: Name,
    on_behalf_of: Option<Name>,
    target: Name,
    ask: Ask,
    reason: String,
) -> Result<Reply, Rejection> {
    let who = step.state.principals.get(&principal).ok_or_else(|| not_found(format!("principal {principal}")))?;
    if !who.active {
        return Err(invalid("principal", format!("{principal} is not active")));
    }
    let at = step.state.targets.get(&target).cloned().ok_or_else(|| not_found(format!("target {target}")))?;
    long("reason", &reason)?;
    check(step, &principal, on_behalf_of.as_ref(), &at, &ask)?;

    if let Some(mut same) = identical(step.state, &principal, on_behalf_of.as_ref(), &target, &ask) {
        same.joined += 1;
        same.version = step.index;
        let request = same.id;
        step.put_request(same);
        return Ok(Reply::Request { request, joined: true });
    }
    let conflicted = conflicted(step, &principal, on_behalf_of.as_ref());
    let needed = at.approvals_needed.max(ask.approvals());
    if let Some(stale) = same_under_older_versions(step.state, &principal, on_behalf_of.as_ref(), &at, &ask) {
        let request = stale.id;
        let conflicted = stale.conflicted.union(&conflicted).cloned().collect();
        step.put_request(Request {
            ask,
            conflicted,
            needed,
            approvals: Default::default(),
            status: RequestStatus::Pending,
            expires: step.now.after(at.request_expiry),
            joined: stale.joined + 1,
            version: step.index,
            ..stale
        });
        return Ok(Reply::Request { request, joined: true });
    }
    bounded(step.state.open_requests_of(&principal).count(), PENDING_PER_PRINCIPAL_MAX, || format!("for {principal}"))?;
    bounded(step.state.open_requests_for(&target).count(), PENDING_PER_TARGET_MAX, || format!("at {target}"))?;
    let request = RequestId(step.index.0);
    step.put_request(Request {
        id: request,
        principal,
        on_behalf_of,
        target,
        ask,
        reason,
        conflicted,
        needed,
        approvals: Default::default(),
        status: RequestStatus::Pending,
        opened: step.now,
        expires: step.now.after(at.request_expiry),
        joined: 0,
        version: step.index,
    });
    Ok(Reply::Request { request, joined: false })
}

fn bounded(pending: usize, limit: u32, scope: impl FnOnce() -> String) -> Result<(), Rejection> {
    if pending >= limit as usize { Err(Rejection::TooMany { limit, scope: scope() }) } else { Ok(()) }
}

/// Who must not decide: everybody on the asking side, and whoever opened it for them.
fn conflicted(step: &Step<'_>, principal: &Name, on_behalf_of: Option<&Name>) -> BTreeSet<Name> {
    let mut all = BTreeSet::new();
    step.state.add_conflicted(principal, &mut all);
    if let Some(delegator) = on_behalf_of {
        step.state.add_conflicted(delegator, &mut all);
    }
    if let Actor::Principal(opener) = step.actor {
        all.insert(opener.clone());
    }
    all
}

fn identical(state: &State, principal: &Name, on_behalf_of: Option<&Name>, target: &Name, ask: &Ask) -> Option<Request> {
    let same_parties = |r: &Request| r.principal == *principal && r.on_behalf_of.as_ref() == on_behalf_of && r.target == *target;
    match ask {
        Ask::Exact { digest, .. } => {
            state.request_by_digest(digest).filter(|r| same_parties(r) && r.status != RequestStatus::Reopened).cloned()
        }
        Ask::Window { .. } => state.open_requests_of(principal).find(|r| same_parties(r) && r.ask == *ask).cloned(),
    }
}

/// The same operation, asked for before the job description, the target or the policy changed: it goes on under one id, but what
/// was decided is void. Nothing else may be taken for the same, so every part the approver sees is compared.
fn same_under_older_versions(state: &State, principal: &Name, on_behalf_of: Option<&Name>, target: &Target, ask: &Ask) -> Option<Request> {
    let Ask::Exact { statement, parameters, context, .. } = ask else { return None };
    let stale = state.open_requests_of(principal).find(|r| match &r.ask {
        Ask::Exact { statement: s, parameters: p, context: c, job_version, target_version, under, .. } => {
            r.target == target.name
                && r.on_behalf_of.as_ref() == on_behalf_of
                && (s, p, c) == (statement, parameters, context)
                && (r.status == RequestStatus::Reopened
                    || !is_current(state, principal, target, *job_version, *target_version, under.as_ref()))
        }
        Ask::Window { .. } => false,
    });
    stale.cloned()
}

/// Are these still the versions an operation of `principal` at `target` is judged under?
pub(super) fn is_current(
    state: &State,
    principal: &Name,
    target: &Target,
    job_version: Option<Index>,
    target_version: Index,
    under: Option<&AskedUnder>,
) -> bool {
    target.version == target_version
        && state.job_of(principal).map(|job| job.version) == job_version
        && state.active_policy().map(|policy| policy.id) == under.map(|under| under.policy)
}

fn check(step: &Step<'_>, principal: &Name, on_behalf_of: Option<&Name>, target: &Target, ask: &Ask) -> Result<(), Rejection> {
    match ask {
        Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, under } => {
            if statement.len() > STATEMENT_SHOWN_MAX {
                return Err(invalid(
                    "statement",
                    format!("is longer than {STATEMENT_SHOWN_MAX} bytes; what cannot be shown whole cannot be approved"),
                ));
            }
            let detail: usize = parameters.iter().map(String::len).sum::<usize>()
                + context.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            if detail > REQUEST_DETAIL_MAX {
                return Err(invalid("parameters", format!("with the context are longer than {REQUEST_DETAIL_MAX} bytes")));
            }
            if missing.len() > MISSING_ACCESSES_MAX {
                return Err(invalid("missing", format!("are more than {MISSING_ACCESSES_MAX} accesses")));
            }
            let parties = (principal, on_behalf_of, &target.name);
            if step.state.request_by_digest(digest).is_some_and(|r| (&r.principal, r.on_behalf_of.as_ref(), &r.target) != parties) {
                return Err(invalid("digest", "belongs to somebody else's request"));
            }
            if let Some(AskedUnder { hold: Some(hold), .. }) = under {
                long("under.hold.reason", &hold.reason)?;
                if hold.approvers.len() > POLICY_APPROVERS_MAX || hold.approvals > APPROVALS_NEEDED_MAX {
                    return Err(invalid(
                        "under.hold",
                        format!("names more than {POLICY_APPROVERS_MAX} approvers, or demands more than {APPROVALS_NEEDED_MAX} approvals"),
                    ));
                }
            }
            if !is_current(step.state, principal, target, *job_version, *target_version, under.as_ref()) {
                return Err(Rejection::Conflict {
                    what: format!("what the request was judged under, at {}", target.name),
                    expected: *target_version,
                    current: target.version,
                });
            }
            Ok(())
        }
        Ask::Window { permissions: asked, length } => {
            if asked.is_empty() {
                return Err(invalid("permissions", "a window on nothing"));
            }
            permissions(asked, Some(target.protocol))?;
            if length.is_zero() || *length > WINDOW_LENGTH_MAX {
                return Err(invalid("length", format!("is not between nothing and {WINDOW_LENGTH_MAX:?}")));
            }
            Ok(())
        }
    }
}
