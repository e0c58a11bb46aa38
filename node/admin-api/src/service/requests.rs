use domain::command::{Command, Reply};
use domain::id::{Name, RequestId};
use domain::principal::PrincipalKind;
use domain::request::{Ask as Asked, Request as AccessRequest};
use proto::admin as pb;
use proto::error::reason;
use tonic::{Code, Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::asked::{self, NotAsked, What};
use crate::call::Call;
use crate::convert::fields::collect;
use crate::convert::refusal::in_words;
use crate::convert::request::to_wire;
use crate::failure;

#[tonic::async_trait]
impl pb::requests_server::Requests for Api {
    async fn open_request(&self, request: Request<pb::OpenRequestRequest>) -> Result<Response<pb::AccessRequest>, Status> {
        let (call, message) = self.enter(request)?;
        let principal = if message.principal.is_empty() { call.me().to_string() } else { message.principal };
        let (principal, on_behalf_of, target, ask) = collect(|f| {
            let principal = f.parse::<Name>("principal", &principal);
            let on_behalf_of = f.parse_optional::<Name>("on_behalf_of", &message.on_behalf_of);
            let target = f.parse::<Name>("target", &message.target);
            let what = match (&message.window, &message.exact) {
                (Some(_), Some(_)) => return f.fault("exact", "is asked for, or a window: not both"),
                (None, Some(exact)) => f.filled("exact.statement", &exact.statement).map(|_| Wanted::Exact(exact.clone())),
                (window, None) => {
                    let window = f.present("window", window.as_ref());
                    let permissions = window.and_then(|w| f.permissions("window.permissions", &w.permissions));
                    let length =
                        window.and_then(|w| f.span("window.length", w.length.as_ref())).and_then(|l| f.present("window.length", l));
                    permissions.zip(length).map(|(permissions, length)| Wanted::Window(Asked::Window { permissions, length }))
                }
            };
            Some((principal?, on_behalf_of?, target?, what?))
        })?;
        may_act_for(&call, &target, &principal)?;
        let ask = match ask {
            Wanted::Window(window) => window,
            Wanted::Exact(_) if on_behalf_of.is_some() => {
                return Err(failure::invalid_field("on_behalf_of", "is not for one exact statement: it is run by whom it is for"));
            }
            Wanted::Exact(exact) => self.exact(&principal, &target, exact)?,
        };
        let command = Command::OpenRequest { principal, on_behalf_of, target, ask, reason: message.reason };
        let done = call.submit(&message.request_id, "", command).await?;
        let Reply::Request { request: id, .. } = done.reply else { return Err(gone("the request")) };
        let opened = done.state.requests.get(&id).ok_or_else(|| gone(id))?;
        call.answer(&done.state, to_wire(opened))
    }

    async fn get_request(&self, request: Request<pb::GetRequestRequest>) -> Result<Response<pb::AccessRequest>, Status> {
        let (call, message) = self.enter(request)?;
        let found = find(&call, &message.id)?;
        if !sees(&call, &found) {
            return Err(call.may(found.target.as_str()).err().unwrap_or_else(|| gone(found.id)));
        }
        call.answer(&call.unfiltered(), to_wire(&found))
    }

    async fn list_requests(&self, request: Request<pb::ListRequestsRequest>) -> Result<Response<pb::ListRequestsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let (principal, target) = collect(|f| {
            let principal = f.parse_optional::<Name>("principal", &message.principal);
            let target = f.parse_optional::<Name>("target", &message.target);
            Some((principal?, target?))
        })?;
        // Own requests, those one may decide on, and those one may read: for a caller without any right that is a
        // short list, not a refusal.
        let wanted = state.requests.values().filter(|r| {
            (message.all || r.status.is_open())
                && principal.as_ref().is_none_or(|name| r.principal == *name)
                && target.as_ref().is_none_or(|name| r.target == *name)
                && sees(&call, r)
        });
        let filter = format!("{}\0{}\0{}", message.principal, message.target, message.all);
        let ask = Ask { size: message.page_size, token: &message.page_token, filter };
        let (page, next_page_token) = self.page(&call, &ask, wanted.collect(), |r| numbered(r.id.0))?;
        call.answer(&state, pb::ListRequestsResponse { requests: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn approve_request(&self, request: Request<pb::DecideRequestRequest>) -> Result<Response<pb::AccessRequest>, Status> {
        self.decide(request, true).await
    }

    async fn deny_request(&self, request: Request<pb::DecideRequestRequest>) -> Result<Response<pb::AccessRequest>, Status> {
        self.decide(request, false).await
    }

    async fn withdraw_request(
        &self,
        request: Request<pb::WithdrawRequestRequest>,
    ) -> Result<Response<pb::WithdrawRequestResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let found = find(&call, &message.id)?;
        may_act_for(&call, &found.target, &found.principal)?;
        let done = call.submit(&message.request_id, "", Command::WithdrawRequest { request: found.id }).await?;
        let request = done.state.requests.get(&found.id).map(to_wire);
        call.answer(&done.state, pb::WithdrawRequestResponse { request, receipt: done.receipt })
    }
}

/// What a request is for.
enum Wanted {
    Window(Asked),
    Exact(pb::ExactAsk),
}

impl Api {
    fn exact(&self, principal: &Name, target: &Name, exact: pb::ExactAsk) -> Result<Asked, Status> {
        let what = What::Statement { database: exact.database, statement: exact.statement };
        let asked = asked::Asked { principal: principal.clone(), target: target.clone(), what };
        let judged = asked.judge(&self.0, &self.0.control.state());
        judged.ask(&asked.what, std::time::Duration::ZERO).map_err(|why| {
            let text = match why {
                NotAsked::Granted => "it is granted already, or approved and not used yet: run it".to_owned(),
                NotAsked::Refused(refusal) => format!("nobody can approve this: {}", in_words(&refusal)),
            };
            proto::error::status(Code::FailedPrecondition, reason::INVALID, &text, &[])
        })
    }

    async fn decide(&self, request: Request<pb::DecideRequestRequest>, approve: bool) -> Result<Response<pb::AccessRequest>, Status> {
        let (call, message) = self.enter(request)?;
        let found = find(&call, &message.id)?;
        call.may(found.target.as_str())?;
        if let Asked::Exact { digest, .. } = &found.ask {
            let seen = collect(|f| f.digest("digest", &message.digest))?;
            if seen.is_some_and(|seen| seen != *digest) {
                let text = format!("{} is bound to another digest than the one you saw", found.id);
                return Err(proto::error::status(Code::Aborted, reason::CONFLICT, &text, &[]));
            }
        }
        let command = Command::DecideRequest { request: found.id, approve, reason: message.reason };
        let done = call.submit(&message.request_id, "", command).await?;
        let decided = done.state.requests.get(&found.id).ok_or_else(|| gone(found.id))?;
        call.answer(&done.state, to_wire(decided))
    }
}

/// For itself, for an agent it answers for, or by right.
fn may_act_for(call: &Call, target: &Name, principal: &Name) -> Result<(), Status> {
    let state = call.unfiltered();
    let owns = match state.principals.get(principal).map(|p| &p.kind) {
        Some(PrincipalKind::Agent { owner, backup_owner, .. }) => owner == call.me() || backup_owner.as_ref() == Some(call.me()),
        Some(PrincipalKind::Person { .. }) | None => false,
    };
    if owns { Ok(()) } else { call.may_or_self(target.as_str(), principal.as_str()).map(|_| ()) }
}

/// Its own, or one it may decide on, or one it may read.
fn sees(call: &Call, request: &AccessRequest) -> bool {
    let state = call.unfiltered();
    request.principal == *call.me()
        || state.conflicted(request).contains(call.me())
        || state.may_decide(call.me(), &request.target)
        || call.has_right(&state, request.target.as_str())
}

fn find(call: &Call, id: &str) -> Result<AccessRequest, Status> {
    let id = match collect(|f| f.parse::<RequestId>("id", id)) {
        Ok(id) => id,
        Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
    };
    match call.unfiltered().requests.get(&id) {
        Some(request) => Ok(request.clone()),
        None => Err(call.may("*").err().unwrap_or_else(|| gone(id))),
    }
}
