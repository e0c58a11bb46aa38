//! Takes a grant away for good. It stays as a tombstone.

use super::check::{long, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::grant::GrantStatus;
use crate::id::{GrantId, RevocationId};

pub(super) fn apply(step: &mut Step<'_>, id: GrantId, reason: String) -> Result<Reply, Rejection> {
    let mut grant = step.state.grants.get(&id).cloned().ok_or_else(|| not_found(id))?;
    long("reason", &reason)?;
    if let GrantStatus::Revoked { .. } = grant.status {
        // It holds already: the first revocation is the one on record.
        return Ok(Reply::Done { version: grant.version });
    }
    grant.status = GrantStatus::Revoked { by: step.actor_name(), at: step.now, reason, revocation: RevocationId(step.index.0) };
    grant.version = step.index;
    grant.narrowed = step.index;
    step.put_grant(grant);
    Ok(step.done())
}
