use domain::command::{Command, Reply};
use domain::id::{Name, SessionId};
use domain::lock::LockOn;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::convert::fields::collect;

#[tonic::async_trait]
impl pb::sessions_server::Sessions for Api {
    async fn list_sessions(&self, request: Request<pb::ListSessionsRequest>) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        collect(|f| {
            let principal = f.parse_optional::<Name>("principal", &message.principal);
            let target = f.parse_optional::<Name>("target", &message.target);
            Some((principal?, target?))
        })?;
        // Whoever may see none at all does not make other nodes work.
        call.visible(vec![&message.principal], |name| if name.is_empty() { "*".into() } else { (*name).clone() })?;
        let (mut sessions, silent) = self.0.sessions.list(message.all_nodes).await;
        sessions.retain(|s| {
            (message.principal.is_empty() || s.principal == message.principal)
                && (message.target.is_empty() || s.target == message.target)
                && (message.run.is_empty() || s.run == message.run)
        });
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        let seen = if sessions.is_empty() { sessions } else { call.visible(sessions, |s| s.principal.clone())? };
        let filter = format!("{}\0{}\0{}\0{}", message.principal, message.target, message.all_nodes, message.run);
        let ask = Ask { size: message.page_size, token: &message.page_token, filter };
        let (sessions, next_page_token) = self.page(&call, &ask, seen, |s| s.id.clone())?;
        let silent_nodes = silent.into_iter().map(|node| node.0).collect();
        call.answer(&call.unfiltered(), pb::ListSessionsResponse { sessions, next_page_token, silent_nodes })
    }

    async fn end_session(&self, request: Request<pb::EndSessionRequest>) -> Result<Response<pb::EndSessionResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(if message.id.is_empty() { "*" } else { &message.id })?;
        let on = collect(|f| f.parse::<SessionId>("id", &message.id)).map(LockOn::Session)?;
        let reason = if message.reason.is_empty() { "ended by an operator".into() } else { message.reason };
        let command = Command::CreateLock { on, reason, expires: None };
        let done = call.submit(&message.request_id, "", command).await?;
        let Reply::Lock(lock) = done.reply else { return Err(gone("the lock")) };
        call.answer(&done.state, pb::EndSessionResponse { lock: lock.to_string(), receipt: done.receipt })
    }
}
