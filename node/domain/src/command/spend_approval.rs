//! Uses an approval up: at most once, cluster-wide (R4). A compare-and-set in the log, so it does not matter which
//! node asks, or how often.
//!
//! ```text
//! Pending ──approvals──▶ Approved ──SpendApproval──▶ Spent
//!    ▲                      │  ▲                       │
//!    └──approver lost right─┤  └────ReturnApproval─────┘  (same operation only)
//! Reopened ◀──version moved─┘
//! ```

use planted::{Bug, planted};

use super::check::{invalid, not_found};
use super::decide_request::{is_stale, reopen};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::id::{Digest, OperationId, RequestId};
use crate::request::{Ask, RequestStatus};

pub(super) fn apply(step: &mut Step<'_>, id: RequestId, used_for: Digest, by: OperationId) -> Result<Reply, Rejection> {
    let mut request = step.state.requests.get(&id).cloned().ok_or_else(|| not_found(id))?;
    own_session(step.actor, by)?;
    match &request.ask {
        Ask::Exact { digest, .. } if *digest == used_for => {}
        Ask::Exact { .. } => return Err(invalid("digest", "is of another operation than was approved")),
        Ask::Window { .. } => return Err(invalid("request", "is for a window, which is a grant and not spent")),
    }
    match &request.status {
        RequestStatus::Spent { by: earlier } if *earlier == by || planted(Bug::AnyoneRepeatsSpending) => return Ok(Reply::Spent),
        RequestStatus::Spent { .. } => return Err(Rejection::AlreadySpent { request: id }),
        RequestStatus::Approved { .. } => {}
        RequestStatus::Pending
        | RequestStatus::Reopened
        | RequestStatus::Denied(_)
        | RequestStatus::Withdrawn { .. }
        | RequestStatus::Expired => {
            return Err(Rejection::NotOpen { request: id, status: request.status.in_words().to_owned() });
        }
    }
    request.version = step.index;
    if is_stale(step, &request) {
        return Err(reopen(step, request, "open again: the job description, the target or the policy has changed since it was approved"));
    }
    if step.state.counting_approvals(&request) < request.needed as usize {
        request.status = RequestStatus::Pending;
        step.put_request(request);
        return Err(Rejection::NotOpen { request: id, status: "open again: who approved it may not decide on it any more".to_owned() });
    }
    if !planted(Bug::ApprovalNotSpent) {
        request.status = RequestStatus::Spent { by };
    }
    step.put_request(request);
    Ok(Reply::Spent)
}

/// A node speaks for its own sessions only.
pub(super) fn own_session(actor: &Actor, by: OperationId) -> Result<(), Rejection> {
    match actor {
        Actor::Node(node) if *node != by.session.node => {
            Err(Rejection::Forbidden { message: format!("{} is not a session of node {node}", by.session) })
        }
        Actor::Node(_) | Actor::Principal(_) | Actor::Operator => Ok(()),
    }
}
