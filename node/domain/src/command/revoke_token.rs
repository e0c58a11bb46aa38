//! A token opens nothing any more. Which sessions it opened is not known here, so all of the principal's sessions end.

use super::check::not_found;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Name, TokenId};

pub(super) fn apply(step: &mut Step<'_>, name: &Name, token: TokenId) -> Result<Reply, Rejection> {
    let principal = step.state.principals.get(name).cloned().ok_or_else(|| not_found(format!("principal {name}")))?;
    if step.revoke_token(principal, token) { Ok(step.done()) } else { Err(not_found(token)) }
}
