//! Takes a grant away for good. It stays as a tombstone.

use super::check::{long, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::grant::GrantStatus;
use crate::id::GrantId;

pub(super) fn apply(step: &mut Step<'_>, id: GrantId, reason: String) -> Result<Reply, Rejection> {
    let grant = step.state.grants.get(&id).cloned().ok_or_else(|| not_found(id))?;
    long("reason", &reason)?;
    if let GrantStatus::Revoked { .. } = grant.status {
        // It holds already: the first revocation is the one on record.
        return Ok(Reply::Done { version: grant.version });
    }
    step.revoke_grant(grant, step.actor_name(), reason);
    Ok(step.done())
}
