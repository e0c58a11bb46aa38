use domain::command::{Command, Reply};
use domain::grant::{Grant, TargetSelector};
use domain::id::{GrantId, Name};
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::call::Call;
use crate::convert::fields::collect;
use crate::convert::grant::{guarded_by, issue, to_wire};
use crate::convert::usage::usage_to_wire;
use crate::failure::invalid_field;

#[tonic::async_trait]
impl pb::grants_server::Grants for Api {
    async fn create_grant(&self, request: Request<pb::CreateGrantRequest>) -> Result<Response<pb::Grant>, Status> {
        let (call, message) = self.enter(request)?;
        // The right depends on the target, so the message is read first; whoever has none on any is told only that.
        let command = collect(|f| {
            let grant = f.present("grant", message.grant)?;
            issue(f, grant)
        });
        let command = match command {
            Ok(command) => command,
            Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
        };
        if let Command::IssueGrant { target, .. } = &command {
            call.may(&guarded_by(target))?;
        }
        let done = call.submit(&message.request_id, "grant", command).await?;
        let Reply::Grant(id) = done.reply else { return Err(gone("the grant")) };
        let made = done.state.grants.get(&id).ok_or_else(|| gone(id))?;
        call.answer(&done.state, to_wire(made, call.now()))
    }

    async fn get_grant(&self, request: Request<pb::GetGrantRequest>) -> Result<Response<pb::Grant>, Status> {
        let (call, message) = self.enter(request)?;
        let (_, grant) = find(&call, &message.id)?;
        let state = call.may(&guarded_by(&grant.target))?;
        let usage = usage_to_wire(&state, &grant);
        call.answer(&state, pb::Grant { usage, ..to_wire(&grant, call.now()) })
    }

    async fn list_grants(&self, request: Request<pb::ListGrantsRequest>) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let (principal, target) = collect(|f| {
            let principal = f.parse_optional::<Name>("principal", &message.principal);
            let target = f.parse_optional::<Name>("target", &message.target);
            Some((principal?, target?))
        })?;
        let now = call.now();
        let reaches = |grant: &Grant, name: &Name| match &grant.target {
            TargetSelector::Assize => name.as_str() == "assize",
            selector => state.targets.get(name).is_some_and(|target| selector.selects(target)),
        };
        let wanted = state.grants.values().filter(|grant| {
            (message.all || grant.is_live(now))
                && principal.as_ref().is_none_or(|name| grant.principal == *name)
                && target.as_ref().is_none_or(|name| reaches(grant, name))
        });
        let seen = call.visible(wanted.collect(), |grant| guarded_by(&grant.target))?;
        let filter = format!("{}\0{}\0{}", message.principal, message.target, message.all);
        let ask = Ask { size: message.page_size, token: &message.page_token, filter };
        let (page, next_page_token) = self.page(&call, &ask, seen, |grant| numbered(grant.id.0))?;
        let shown = |grant: &Grant| pb::Grant { usage: usage_to_wire(&state, grant), ..to_wire(grant, now) };
        let grants = page.into_iter().map(shown).collect();
        call.answer(&state, pb::ListGrantsResponse { grants, next_page_token })
    }

    async fn revoke_grant(&self, request: Request<pb::RevokeGrantRequest>) -> Result<Response<pb::RevokeGrantResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let (id, grant) = find(&call, &message.id)?;
        call.may(&guarded_by(&grant.target))?;
        let command = Command::RevokeGrant { grant: id, reason: message.reason };
        let done = call.submit(&message.request_id, "", command).await?;
        let grant = done.state.grants.get(&id).map(|grant| to_wire(grant, call.now()));
        let already_revoked = matches!(done.reply, Reply::Done { version } if version < done.index);
        call.answer(&done.state, pb::RevokeGrantResponse { grant, receipt: done.receipt, already_revoked })
    }

    async fn confirm_grant(&self, request: Request<pb::ConfirmGrantRequest>) -> Result<Response<pb::Grant>, Status> {
        let (call, message) = self.enter(request)?;
        let (id, grant) = find(&call, &message.id)?;
        call.may(&guarded_by(&grant.target))?;
        let done = call.submit(&message.request_id, "", Command::ConfirmGrant { grant: id }).await?;
        let confirmed = done.state.grants.get(&id).ok_or_else(|| gone(id))?;
        call.answer(&done.state, to_wire(confirmed, call.now()))
    }
}

/// The grant, to be shown or changed only after a check of the right on its target. An id that does not exist is told
/// to those only who may see all. What is no id is taken for a name: of those that had it, the latest, since a name is
/// given again only after its grant ended.
fn find(call: &Call, id: &str) -> Result<(GrantId, Grant), Status> {
    let state = call.unfiltered();
    let found = match (id.parse::<GrantId>(), id.parse::<Name>()) {
        (Ok(id), _) => state.grants.get(&id),
        (Err(_), Ok(name)) => state.grant_named(&name),
        (Err(fault), Err(_)) => return Err(call.may("*").err().unwrap_or_else(|| invalid_field("id", fault.to_string()))),
    };
    match found {
        Some(grant) => Ok((grant.id, grant.clone())),
        None => Err(call.may("*").err().unwrap_or_else(|| gone(format!("the grant {id}")))),
    }
}
