//! From what was shown to who it is: pure functions over the replicated state and log time.
//!
//! Being identified admits to nothing; that is for admission to say. Here only identity, its expiry and whether the
//! principal is active are decided.

use domain::id::{Index, Name, TokenId};
use domain::principal::{Principal, Token, TokenUse};
use domain::refusal::Refusal;
use domain::state::State;
use domain::time::LogTime;

use crate::scram::{MockKey, Verifiers};
use crate::secret::Secret;
use crate::token;

/// A proven principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub principal: Name,
    pub token: TokenId,
    /// The token ends then, and so must every session opened with it.
    pub expires: Option<LogTime>,
    pub proof: Proof,
    /// The state the identity was read from.
    pub state: Index,
}

/// How it was proven; goes on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The secret itself was shown.
    Bearer,
    Scram,
    /// SCRAM bound to our TLS certificate.
    ScramPlus,
}

/// Why nobody was identified. The record keeps it; the peer sees what [`Refusal`] tells, where unknown and wrong look
/// the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("no such principal")]
    UnknownPrincipal,
    #[error("the secret is not a live token's")]
    WrongSecret,
    #[error("the token was issued for something else")]
    WrongUse,
    #[error("the principal is not active")]
    Inactive,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Refusal {
        match rejection {
            Rejection::UnknownPrincipal => Refusal::UnknownPrincipal,
            Rejection::WrongSecret | Rejection::WrongUse => Refusal::WrongSecret,
            Rejection::Inactive => Refusal::PrincipalInactive,
        }
    }
}

/// Whether the token counts at `now`: log time, never a node's own clock.
fn live(token: &Token, usage: TokenUse, now: LogTime) -> Result<(), Rejection> {
    match (token.usage == usage, token.is_live(now)) {
        (false, _) => Err(Rejection::WrongUse),
        (true, false) => Err(Rejection::WrongSecret),
        (true, true) => Ok(()),
    }
}

fn identity(state: &State, principal: &Principal, token: &Token, proof: Proof) -> Result<Identity, Rejection> {
    if !principal.active {
        return Err(Rejection::Inactive);
    }
    Ok(Identity { principal: principal.name.clone(), token: token.id, expires: token.expires, proof, state: state.applied })
}

/// Who shows this whole token.
///
/// # Errors
/// [`Rejection`]. A text that is no whole token is [`Rejection::WrongSecret`] without a look-up.
pub fn bearer(state: &State, now: LogTime, secret: &Secret, usage: TokenUse) -> Result<Identity, Rejection> {
    if token::parse(secret).map_err(|_| Rejection::WrongSecret)? != token::Purpose::from(usage) {
        return Err(Rejection::WrongUse);
    }
    let (principal, token) = state.token(&token::lookup(secret), now).ok_or(Rejection::WrongSecret)?;
    live(token, usage, now)?;
    identity(state, principal, token, Proof::Bearer)
}

/// As [`bearer`], for protocols where the client also names itself: the token must be that principal's own.
///
/// # Errors
/// [`Rejection::WrongSecret`] for somebody else's token, exactly as for none.
pub fn password(state: &State, now: LogTime, user: &str, secret: &Secret) -> Result<Identity, Rejection> {
    let identity = bearer(state, now, secret, TokenUse::Gateway)?;
    if identity.principal.as_str() == user { Ok(identity) } else { Err(Rejection::WrongSecret) }
}

/// The verifiers to check a proof of `user` against. For a principal that is unknown or has no live token these are
/// stand-ins, always the same for one name, that no proof fits.
pub fn scram_verifiers(state: &State, now: LogTime, user: &str, mock: &MockKey) -> Verifiers {
    let tokens = user.parse::<Name>().ok().and_then(|name| state.principals.get(&name)).map(|found| &found.tokens);
    let gateway = tokens.into_iter().flat_map(|tokens| tokens.values());
    let live = gateway.filter(|token| live(token, TokenUse::Gateway, now).is_ok());
    Verifiers::new(user, live.map(|token| (token.id, token.scram.clone())), mock)
}

/// Who proved to hold `token`, read again from the state of *now*: it may have been revoked since the challenge.
///
/// # Errors
/// [`Rejection`].
pub fn scram_proven(state: &State, now: LogTime, user: &str, proven: TokenId, proof: Proof) -> Result<Identity, Rejection> {
    let name = user.parse::<Name>().map_err(|_| Rejection::UnknownPrincipal)?;
    let principal = state.principals.get(&name).ok_or(Rejection::UnknownPrincipal)?;
    let token = principal.tokens.get(&proven).ok_or(Rejection::WrongSecret)?;
    live(token, TokenUse::Gateway, now)?;
    identity(state, principal, token, proof)
}

/// Why a failed SCRAM exchange failed, for the record.
pub fn scram_failed(state: &State, user: &str) -> Rejection {
    match user.parse::<Name>() {
        Ok(name) if state.principals.contains_key(&name) => Rejection::WrongSecret,
        Ok(_) | Err(_) => Rejection::UnknownPrincipal,
    }
}

#[cfg(test)]
mod tests;
