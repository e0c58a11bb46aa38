use domain::command::{Command, Reply};
use domain::id::{Name, TokenId};
use domain::state::State;
use identity::{scram, token};
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::convert::fields::collect;
use crate::convert::principal::{token_to_wire, token_use};

#[tonic::async_trait]
impl pb::tokens_server::Tokens for Api {
    async fn issue_token(&self, request: Request<pb::IssueTokenRequest>) -> Result<Response<pb::IssueTokenResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may_or_self(&message.principal, &message.principal)?;
        let (principal, usage, expires) = collect(|f| {
            let principal = f.parse::<Name>("principal", &message.principal);
            let usage = token_use(f, "use", message.r#use);
            let expires = f.time("expires", message.expires.as_ref());
            Some((principal?, usage?, expires?))
        })?;
        let secret = token::generate(usage.into());
        let lookup = token::lookup(&secret);
        let scram = scram::verifier::create_default(&secret, salt_of(&state, &principal));
        let command = Command::IssueToken { principal: principal.clone(), usage, lookup, scram, label: message.label, expires };
        let done = call.submit(&message.request_id, "", command).await?;
        let Reply::Token(id) = done.reply else { return Err(gone(&principal)) };
        let issued = find(&done.state, &principal, id).ok_or_else(|| gone(id))?;
        // A repeated call finds the token of the first: its secret went with that answer.
        let first = issued.lookup == lookup;
        let shown = if first { secret.expose_str().unwrap_or_default().to_owned() } else { String::new() };
        let answer = pb::IssueTokenResponse { token: Some(token_to_wire(&principal, issued)), secret: shown };
        call.answer(&done.state, answer)
    }

    async fn list_tokens(&self, request: Request<pb::ListTokensRequest>) -> Result<Response<pb::ListTokensResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let wanted = collect(|f| f.parse_optional::<Name>("principal", &message.principal))?;
        let owners = state.principals.values().filter(|p| wanted.as_ref().is_none_or(|name| *name == p.name));
        let all = owners.flat_map(|p| p.tokens.values().map(move |token| (p, token)));
        let all = all.collect();
        let seen = if wanted.as_ref() == Some(call.me()) { all } else { call.visible(all, |(owner, _)| owner.name.to_string())? };
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: message.principal };
        let (page, next_page_token) = self.page(&call, &ask, seen, |(owner, token)| format!("{}\0{}", owner.name, numbered(token.id.0)))?;
        let tokens = page.into_iter().map(|(owner, token)| token_to_wire(&owner.name, token)).collect();
        call.answer(&state, pb::ListTokensResponse { tokens, next_page_token })
    }

    async fn revoke_token(&self, request: Request<pb::RevokeTokenRequest>) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may_or_self(&message.principal, &message.principal)?;
        let command = collect(|f| {
            let principal = f.parse("principal", &message.principal);
            let token = f.parse("id", &message.id);
            Some(Command::RevokeToken { principal: principal?, token: token? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::RevokeTokenResponse { receipt: done.receipt })
    }
}

/// One salt per principal, so that several live tokens answer one SCRAM challenge.
fn salt_of(state: &State, principal: &Name) -> [u8; 16] {
    let known = state.principals.get(principal).and_then(|p| p.tokens.values().next());
    known.map_or_else(identity::random::bytes, |token| token.scram.salt)
}

fn find<'a>(state: &'a State, principal: &Name, id: TokenId) -> Option<&'a domain::principal::Token> {
    state.principals.get(principal)?.tokens.get(&id)
}
