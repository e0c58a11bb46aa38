//! A person approves or denies. Nobody decides on their own access (R6); one denial ends a request.

use planted::{Bug, planted};

use super::check::{long, not_found};
use super::open_request::is_current;
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use crate::id::{GrantId, Name, RequestId};
use crate::permission::PermissionSet;
use crate::request::{Ask, Decision, Request, RequestStatus};

pub(super) fn apply(step: &mut Step<'_>, id: RequestId, approve: bool, reason: String) -> Result<Reply, Rejection> {
    let mut request = step.state.requests.get(&id).cloned().ok_or_else(|| not_found(id))?;
    long("reason", &reason)?;
    let by = decider(step, &request)?;
    if !request.status.is_open() {
        return Err(Rejection::NotOpen { request: id, status: request.status.in_words().to_owned() });
    }
    let decision = Decision { by: by.clone(), at: step.now, reason };
    request.version = step.index;
    if !approve {
        request.status = RequestStatus::Denied(decision);
        step.put_request(request);
        return Ok(step.done());
    }
    if is_stale(step, &request) {
        let why =
            "out of date: the job description, the target or the policy has changed since; it can be decided when the client asks again";
        return Err(reopen(step, request, why));
    }
    request.approvals.insert(by.clone(), decision);
    request.status = RequestStatus::Pending;
    if step.state.counting_approvals(&request) >= request.needed as usize {
        let grant = match &request.ask {
            Ask::Exact { .. } => None,
            Ask::Window { permissions, length } => Some(open_window(step, &request, permissions.clone(), *length, by)),
        };
        request.status = RequestStatus::Approved { grant };
    }
    step.put_request(request);
    Ok(step.done())
}

/// A person, not in conflict, with the right to decide on this target.
fn decider(step: &Step<'_>, request: &Request) -> Result<Name, Rejection> {
    let Actor::Principal(who) = step.actor else {
        return Err(Rejection::Forbidden { message: "only a person decides on requests".to_owned() });
    };
    if step.state.active_person(who).is_none() {
        return Err(Rejection::Forbidden { message: "only an active person decides on requests".to_owned() });
    }
    if step.state.conflicted(request).contains(who) && !planted(Bug::OwnerDecides) {
        let why = if *who == request.principal { "asked for it" } else { "answers for, or is behind, who asked for it" };
        return Err(Rejection::SeparationOfDuties { who: who.clone(), why: why.to_owned() });
    }
    if !step.state.may_decide(who, &request.target) {
        return Err(Rejection::Forbidden {
            message: format!("{who} needs assize:decide on request/{}, or to own the target", request.target),
        });
    }
    if !request.ask.admits(who) {
        return Err(Rejection::Forbidden { message: format!("the policy that holds {} names others to decide", request.id) });
    }
    Ok(who.clone())
}

/// A version the request was made under has moved: what was approved is void, and it must be decided anew.
pub(super) fn reopen(step: &mut Step<'_>, mut request: Request, why: &str) -> Rejection {
    let id = request.id;
    request.approvals.clear();
    request.status = RequestStatus::Reopened;
    step.put_request(request);
    Rejection::NotOpen { request: id, status: why.to_owned() }
}

/// Exact requests are bound to versions; a window is not.
pub(super) fn is_stale(step: &Step<'_>, request: &Request) -> bool {
    match &request.ask {
        Ask::Exact { job_version, target_version, under, .. } => match step.state.targets.get(&request.target) {
            Some(target) => !is_current(step.state, &request.principal, target, *job_version, *target_version, under.as_ref()),
            None => true,
        },
        Ask::Window { .. } => false,
    }
}

fn open_window(step: &mut Step<'_>, request: &Request, permissions: PermissionSet, length: std::time::Duration, by: Name) -> GrantId {
    let id = GrantId(step.index.0);
    step.put_grant(Grant {
        id,
        name: None,
        principal: request.principal.clone(),
        target: TargetSelector::Name(request.target.clone()),
        permissions,
        roles: Default::default(),
        valid_from: None,
        expires: Some(step.now.after(length)),
        review_due: None,
        under_review: None,
        strict: false,
        source: GrantSource::Request(request.id),
        status: GrantStatus::Active,
        granted_by: by,
        granted: step.now,
        version: step.index,
        narrowed: step.index,
    });
    id
}
