//! A new token. The secret was drawn by the proposer and is not in the log.

use super::check::{invalid, not_found, short};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Digest, Name, TokenId};
use crate::limits::TOKENS_PER_PRINCIPAL_MAX;
use crate::principal::{ScramVerifier, Token, TokenUse};
use crate::time::LogTime;

/// RFC 7677 asks for at least this many; fewer would make a stolen verifier cheap to search.
const SCRAM_ITERATIONS_MIN: u32 = 4096;

pub(super) fn apply(
    step: &mut Step<'_>,
    name: &Name,
    usage: TokenUse,
    lookup: Digest,
    scram: ScramVerifier,
    label: String,
    expires: Option<LogTime>,
) -> Result<Reply, Rejection> {
    let mut principal = step.state.principals.get(name).cloned().ok_or_else(|| not_found(format!("principal {name}")))?;
    short("label", &label)?;
    if !principal.active {
        return Err(invalid("principal", format!("{name} is not active")));
    }
    if expires.is_some_and(|end| end <= step.now) {
        return Err(invalid("expires", "lies in the past"));
    }
    if step.state.indexes().token_owner.contains_key(&lookup) {
        return Err(Rejection::Exists { what: "a token with this secret".to_owned() });
    }
    principal.tokens.retain(|_, token| token.is_live(step.now));
    if principal.tokens.len() >= TOKENS_PER_PRINCIPAL_MAX {
        return Err(invalid("principal", format!("has {TOKENS_PER_PRINCIPAL_MAX} live tokens; revoke one first")));
    }
    if scram.iterations < SCRAM_ITERATIONS_MIN {
        return Err(invalid("scram", format!("needs at least {SCRAM_ITERATIONS_MIN} iterations")));
    }
    // The server's first SCRAM message names one salt and count, before it is known which token is meant.
    if principal.tokens.values().any(|token| (token.scram.salt, token.scram.iterations) != (scram.salt, scram.iterations)) {
        return Err(invalid("scram", format!("must have the salt and iterations of the other tokens of {name}")));
    }
    let id = TokenId(step.index.0);
    principal
        .tokens
        .insert(id, Token { id, usage, lookup, scram, label, expires, review_due: None, issued_by: step.actor_name(), issued: step.now });
    principal.version = step.index;
    step.put_principal(principal);
    Ok(Reply::Token(id))
}
