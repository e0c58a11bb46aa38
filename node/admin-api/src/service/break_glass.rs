use domain::break_glass::BreakGlass;
use domain::command::{Command, Reply};
use domain::id::{BreakGlassId, Name};
use domain::limits::BREAK_GLASS_REVIEW_MAX;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::call::Call;
use crate::convert::break_glass::to_wire;
use crate::convert::fields::collect;
use crate::limits::BREAK_GLASS_LENGTH_DEFAULT;

#[tonic::async_trait]
impl pb::break_glass_server::BreakGlass for Api {
    async fn break_glass(&self, request: Request<pb::BreakGlassRequest>) -> Result<Response<pb::BrokenGlass>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(if message.target.is_empty() { "*" } else { &message.target })?;
        let principal = if message.principal.is_empty() { call.me().to_string() } else { message.principal };
        let (principal, target, permissions, length, review_within) = collect(|f| {
            let principal = f.parse::<Name>("principal", &principal);
            let target = f.parse::<Name>("target", &message.target);
            let permissions = f.permissions("permissions", &message.permissions);
            let length = f.span("length", message.length.as_ref());
            let within = f.span("review_within", message.review_within.as_ref());
            Some((principal?, target?, permissions?, length?, within?))
        })?;
        let command = Command::BreakGlass {
            principal,
            target,
            permissions,
            length: length.unwrap_or(BREAK_GLASS_LENGTH_DEFAULT),
            review_within: review_within.unwrap_or(BREAK_GLASS_REVIEW_MAX),
            reason: message.reason,
            ticket: message.ticket,
        };
        let done = call.submit(&message.request_id, "", command).await?;
        let Reply::Grant(grant) = done.reply else { return Err(gone("the grant")) };
        let broken = done.state.break_glass.values().find(|broken| broken.grant == grant).ok_or_else(|| gone(grant))?;
        call.answer(&done.state, to_wire(&done.state, broken, call.now()))
    }

    async fn get_break_glass(&self, request: Request<pb::GetBreakGlassRequest>) -> Result<Response<pb::BrokenGlass>, Status> {
        let (call, message) = self.enter(request)?;
        let broken = find(&call, &message.id)?;
        call.answer(&call.unfiltered(), to_wire(&call.unfiltered(), &broken, call.now()))
    }

    async fn list_break_glass(&self, request: Request<pb::ListBreakGlassRequest>) -> Result<Response<pb::ListBreakGlassResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let (state, now) = (call.unfiltered(), call.now());
        let of_note = |broken: &&BreakGlass| message.all || broken.review.is_none() || broken.expires > now;
        let wanted: Vec<&BreakGlass> = state.break_glass.values().filter(of_note).filter(|broken| sees(&call, broken)).collect();
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: message.all.to_string() };
        let (page, next_page_token) = self.page(&call, &ask, wanted, |broken| numbered(broken.id.0))?;
        let broken = page.into_iter().map(|broken| to_wire(&state, broken, now)).collect();
        call.answer(&state, pb::ListBreakGlassResponse { broken, next_page_token })
    }

    async fn review_break_glass(
        &self,
        request: Request<pb::ReviewBreakGlassRequest>,
    ) -> Result<Response<pb::ReviewBreakGlassResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let found = find(&call, &message.id)?;
        let command = Command::ReviewBreakGlass { id: found.id, justified: message.justified, note: message.note };
        let done = call.submit(&message.request_id, "", command).await?;
        let broken = done.state.break_glass.get(&found.id).map(|broken| to_wire(&done.state, broken, call.now()));
        call.answer(&done.state, pb::ReviewBreakGlassResponse { broken, receipt: done.receipt })
    }
}

/// Whom it concerns, who may decide at the target, and who may read it.
fn sees(call: &Call, broken: &BreakGlass) -> bool {
    let state = call.unfiltered();
    broken.conflicted.contains(call.me()) || state.may_decide(call.me(), &broken.target) || call.has_right(&state, broken.target.as_str())
}

/// What is not there looks as what the caller may not see.
fn find(call: &Call, id: &str) -> Result<BreakGlass, Status> {
    let id = match collect(|f| f.parse::<BreakGlassId>("id", id)) {
        Ok(id) => id,
        Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
    };
    let seen = call.unfiltered().break_glass.get(&id).filter(|broken| sees(call, broken)).cloned();
    seen.ok_or_else(|| call.may("*").err().unwrap_or_else(|| gone(id)))
}
