//! Hold (DESIGN §5): an operation beyond the permit opens a request, its client waits for the decision.
//!
//! ```text
//!  open ──► Requested ──► decision ──► Approved ──► spend ──► Spent: forward
//!    │                       │                        │
//!    └──────► Refused ◄──────┴── denied, expired, ◄───┘
//!                                waited long enough
//! ```
//! Each arrow is one errand of the session, so that it keeps reading its client meanwhile. Dropping an errand
//! withdraws nothing: the request stays open, and a later identical operation on any node uses its approval.

use std::sync::Arc;
use std::time::Duration;

use domain::command::{Actor, Command, Rejection, Reply};
use domain::id::{Digest, Name, OperationId, ProposalId, RequestId};
use domain::refusal::Refusal;
use domain::request::{Ask, RequestStatus};
use domain::state::State;
use futures_util::future::BoxFuture;
use planted::{Point, reach};

use crate::authority::{Authority, ProposeError};
use crate::limits::PROPOSE_ATTEMPTS_MAX;
use crate::road::Answer;

/// Who holds, and which of its operations.
#[derive(Debug, Clone)]
pub struct Held {
    pub by: OperationId,
    pub principal: Name,
    pub on_behalf_of: Option<Name>,
    pub target: Name,
    pub digest: Digest,
}

/// Opens a request, or joins the identical one that is open.
pub(crate) fn open(authority: Arc<dyn Authority>, held: Held, ask: Ask, reason: String) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        reach(Point::RequestBeforeOpened);
        let id = proposal_id("open", &held);
        let command = Command::OpenRequest {
            principal: held.principal.clone(),
            on_behalf_of: held.on_behalf_of.clone(),
            target: held.target.clone(),
            ask,
            reason,
        };
        match propose(authority.as_ref(), id, Actor::Node(authority.node()), command).await {
            Ok(Reply::Request { request, joined }) => Answer::Requested { request, joined },
            Ok(Reply::Rejected(Rejection::TooMany { limit, .. })) => Answer::Refused(Refusal::TooManyRequests { limit }),
            Ok(reply) => {
                tracing::warn!(?reply, "the request was not opened");
                Answer::Refused(Refusal::NotGranted { missing: Vec::new() })
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    })
}

/// Waits for people, at most `patience`.
pub(crate) fn decision(authority: Arc<dyn Authority>, request: RequestId, patience: Duration) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let mut applied = authority.applied();
        let decided = async {
            loop {
                if let Some(answer) = look(&authority.state(), request) {
                    return answer;
                }
                if applied.changed().await.is_err() {
                    return Answer::Refused(Refusal::NoLease);
                }
            }
        };
        tokio::time::timeout(patience, decided).await.unwrap_or(Answer::Refused(Refusal::Pending { request }))
    })
}

fn look(state: &State, request: RequestId) -> Option<Answer> {
    let refused = |reason: &str| Some(Answer::Refused(Refusal::Denied { request, reason: reason.to_owned() }));
    match state.requests.get(&request).map(|r| &r.status) {
        Some(RequestStatus::Pending | RequestStatus::Reopened) => None,
        Some(RequestStatus::Approved { .. }) => Some(Answer::Approved { request }),
        Some(RequestStatus::Denied(decision)) => refused(&decision.reason),
        Some(RequestStatus::Withdrawn { .. }) => refused("it was withdrawn"),
        Some(RequestStatus::Spent { .. }) => refused("its approval was used by another identical operation"),
        Some(RequestStatus::Expired) => Some(Answer::Refused(Refusal::RequestExpired { request })),
        // Opened by an entry this node has not applied yet, or long gone and forgotten: the wait's end tells.
        None => None,
    }
}

/// Uses the approval up: a committed compare-and-set, so that it happens once cluster-wide (R4).
pub(crate) fn spend(authority: Arc<dyn Authority>, held: Held, request: RequestId) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        reach(Point::ApprovalBeforeSpent);
        let id = proposal_id("spend", &held);
        let command = Command::SpendApproval { request, digest: held.digest, by: held.by };
        match propose(authority.as_ref(), id, Actor::Node(authority.node()), command).await {
            Ok(Reply::Spent) => {
                reach(Point::ApprovalSpent);
                Answer::Spent { request }
            }
            Ok(reply) => {
                tracing::info!(?reply, %request, "the approval could not be used");
                let reason = "its approval was used by another identical operation, or no longer fits".to_owned();
                Answer::Refused(Refusal::Denied { request, reason })
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    })
}

/// Gives back what was spent and provably never forwarded. Nobody waits for it; if it fails the approval is used up,
/// which is the safe side.
pub(crate) async fn give_back(authority: Arc<dyn Authority>, held: Held, request: RequestId) {
    let id = proposal_id("return", &held);
    let command = Command::ReturnApproval { request, by: held.by };
    if let Err(refusal) = propose(authority.as_ref(), id, Actor::Node(authority.node()), command).await {
        tracing::info!(?refusal, %request, "an unused approval could not be given back");
    }
}

/// For a strict grant: a read index confirmed by a quorum now.
pub(crate) fn confirm(authority: Arc<dyn Authority>) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        match tokio::time::timeout(crate::limits::LEASE_DEADLINE, authority.confirm()).await {
            Ok(Ok(_index)) => Answer::Confirmed,
            Ok(Err(_)) | Err(_) => Answer::Refused(Refusal::NoLease),
        }
    })
}

async fn propose(authority: &dyn Authority, id: ProposalId, actor: Actor, command: Command) -> Result<Reply, Refusal> {
    for _ in 0..PROPOSE_ATTEMPTS_MAX {
        match authority.propose(id.clone(), actor.clone(), command.clone()).await {
            Ok(reply) => return Ok(reply),
            Err(ProposeError::NotCommitted(reason)) => {
                tracing::warn!(reason, "a command of a session was not committed");
                return Err(Refusal::NotRecorded);
            }
            Err(ProposeError::Unknown(reason)) => tracing::debug!(reason, "outcome unknown; repeating with the same id"),
        }
    }
    Err(Refusal::OutcomeUnknown)
}

/// The same for every repeat of one operation's command, different for any other. In base 16, so that the largest
/// numbers still fit: 6 + 4 × (1 + 16) characters at most are 74, but a node id and a session number of 2^32 leave 58.
fn proposal_id(verb: &str, held: &Held) -> ProposalId {
    let session = held.by.session;
    let text = format!("{verb}-{:x}-{:x}-{:x}-{:x}", session.node.0, session.boot.0, session.number, held.by.sequence);
    text.parse().expect("node ids and session numbers count from 1 and stay far below 2^32")
}
