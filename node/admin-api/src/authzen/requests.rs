//! The access request endpoint: a request of the caller's is the task, its id the handle. It is in the replicated
//! state, so it outlives this node, and every node answers for it.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::command::{Command, Reply};
use domain::id::{Index, ProposalId, RequestId};
use domain::request::{Ask, Request, RequestStatus};
use domain::state::State;
use domain::time::LogTime;

use super::evaluation::told;
use super::wire::{self, Approval, Completion, Submission, Task, TaskAnswer};
use super::{Caller, Problem, REQUESTS, Room};
use crate::asked::NotAsked;
use crate::call::{self, Applied, fresh_id, request_id};
use crate::limits::{MIN_INDEX_WAIT, POLL_AFTER, WINDOW_DEFAULT};

pub(super) async fn submit(room: &Room, caller: &Caller) -> Result<Response, Problem> {
    let submission: Submission = wire::read(&caller.body)?;
    let (control, evaluation) = (room.parts.control.as_ref(), &submission.evaluation);
    let asked = evaluation.asked(caller)?;
    let now = control.now();
    let scope = [caller.name.as_str(), &evaluation.fingerprint()];
    let bound = room.denials.open(&scope, &submission.denial.binding_token).map_err(|_| Problem::invalid_denial_binding())?;
    if bound.parse().map_or(true, |expires: u64| expires <= now.0) {
        return Err(Problem::expired_denial());
    }
    let length = length(submission.requested_access.requested_until.as_deref(), now)?;
    let ask = asked.judge(&room.parts, &control.state()).ask(&asked.what, length).map_err(|why| match why {
        NotAsked::Granted => Problem::not_requestable("it is granted already: evaluate again"),
        NotAsked::Refused(refusal) => Problem::not_requestable(format!("nobody can approve this: {}", told(&refusal))),
    })?;
    let command = Command::OpenRequest {
        principal: caller.name.clone(),
        on_behalf_of: None,
        target: asked.target,
        ask,
        reason: evaluation.context.reason.clone(),
    };
    let Applied { reply, state, .. } = propose(room, caller, REQUESTS, command).await?;
    let Reply::Request { request, .. } = reply else { return Err(Problem::late()) };
    let opened = state.requests.get(&request).ok_or_else(Problem::unknown_task)?;
    let answer = task(caller, &state, opened);
    let mut response = wire::json(StatusCode::CREATED, &answer);
    if let Ok(place) = HeaderValue::from_str(&answer.task.status_endpoint) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(paced(response, &answer))
}

pub(super) async fn poll(room: &Room, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let (state, request) = find(room, caller, id).await?;
    let answer = task(caller, &state, &request);
    Ok(paced(wire::json(StatusCode::OK, &answer), &answer))
}

pub(super) async fn withdraw(room: &Room, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let (_, request) = find(room, caller, id).await?;
    let Applied { state, .. } = propose(room, caller, id, Command::WithdrawRequest { request: request.id }).await?;
    let withdrawn = state.requests.get(&request.id).ok_or_else(Problem::unknown_task)?;
    Ok(wire::json(StatusCode::OK, &task(caller, &state, withdrawn)))
}

/// One of the caller's own. An id is the index it was opened at, so a node that is behind waits for it.
async fn find(room: &Room, caller: &Caller, id: &str) -> Result<(std::sync::Arc<State>, Request), Problem> {
    let id: RequestId = id.parse().map_err(|_| Problem::unknown_task())?;
    let control = room.parts.control.as_ref();
    let mut state = control.state();
    if state.applied.0 < id.0 {
        match tokio::time::timeout(MIN_INDEX_WAIT, control.wait_for(Index(id.0))).await {
            Ok(Ok(newer)) => state = newer,
            Ok(Err(_)) | Err(_) => return Err(Problem::unknown_task()),
        }
    }
    let found = state.requests.get(&id).filter(|request| request.principal == caller.name).cloned();
    found.map(|request| (state, request)).ok_or_else(Problem::unknown_task)
}

/// In the caller's own name: what it may not do is refused by the log.
async fn propose(room: &Room, caller: &Caller, path: &str, command: Command) -> Result<Applied, Problem> {
    let id: ProposalId = match &caller.idempotency_key {
        Some(key) => request_id(&caller.name, path, key).map_err(|why| Problem::invalid(format!("Idempotency-Key: {why}")))?,
        None => fresh_id(),
    };
    Ok(call::submit(room.parts.control.as_ref(), id, &caller.name, command).await?)
}

fn length(until: Option<&str>, now: LogTime) -> Result<Duration, Problem> {
    let Some(text) = until else { return Ok(WINDOW_DEFAULT) };
    let invalid = || Problem::invalid("requested_access.requested_until: expected a time to come, as RFC 3339");
    let until: jiff::Timestamp = text.parse().map_err(|_| invalid())?;
    let until = u64::try_from(until.as_millisecond()).map_err(|_| invalid())?;
    until.checked_sub(now.0).filter(|millis| *millis > 0).map(Duration::from_millis).ok_or_else(invalid)
}

/// A pending task says when to ask again.
fn paced(mut response: Response, answer: &TaskAnswer) -> Response {
    if answer.task.status == "pending" {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(POLL_AFTER.as_secs()));
    }
    response
}

fn task(caller: &Caller, state: &State, request: &Request) -> TaskAnswer {
    let (status, reason) = match &request.status {
        // What was approved under versions that have moved is to be decided anew: it is pending again.
        RequestStatus::Pending | RequestStatus::Reopened => ("pending", String::new()),
        RequestStatus::Approved { .. } | RequestStatus::Spent { .. } => ("approved", String::new()),
        RequestStatus::Denied(decision) => ("denied", decision.reason.clone()),
        RequestStatus::Withdrawn { .. } => ("cancelled", String::new()),
        RequestStatus::Expired => ("expired", String::new()),
    };
    let id = request.id.to_string();
    TaskAnswer {
        task: Task {
            status,
            status_endpoint: format!("{}{REQUESTS}/{id}", caller.base),
            id,
            expires_at: request.expires.rfc_3339(),
            reason: domain::escape::show(&reason).text,
            approvals: request.approvals.len(),
            approvals_needed: request.needed,
        },
        result: (status == "approved").then(|| Completion { mode: "reevaluate", approval: approval(state, request) }),
    }
}

fn approval(state: &State, request: &Request) -> Approval {
    let (until, id) = match (&request.ask, &request.status) {
        // A window has become a grant, which ends by itself or is revoked.
        (Ask::Window { .. }, RequestStatus::Approved { grant: Some(grant) }) => {
            let ends = state.grants.get(grant).and_then(|grant| grant.expires).unwrap_or(request.expires);
            (ends, grant.to_string())
        }
        (Ask::Window { .. } | Ask::Exact { .. }, _) => (request.expires, request.id.to_string()),
    };
    let approved_at = request.approvals.values().map(|decision| decision.at).max().unwrap_or_default();
    let state = if matches!(request.status, RequestStatus::Spent { .. }) { "spent" } else { "open" };
    Approval { id, approved_at: approved_at.rfc_3339(), approved_until: until.rfc_3339(), state }
}
