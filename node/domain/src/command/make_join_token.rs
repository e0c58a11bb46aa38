//! A single-use permission for one node to join.

use std::time::Duration;

use super::check::invalid;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::Digest;
use crate::limits::JOIN_TOKEN_VALID_MAX;
use crate::member::JoinToken;

pub(super) fn apply(step: &mut Step<'_>, lookup: Digest, valid: Duration) -> Result<Reply, Rejection> {
    if valid.is_zero() || valid > JOIN_TOKEN_VALID_MAX {
        return Err(invalid("valid", format!("must be more than nothing and at most {JOIN_TOKEN_VALID_MAX:?}")));
    }
    if step.state.join_tokens.contains_key(&lookup) {
        return Err(Rejection::Exists { what: "the join token".to_owned() });
    }
    step.put_join_token(JoinToken { lookup, expires: step.now.after(valid), made_by: step.actor_name(), spent_by: None });
    Ok(step.done())
}
