//! A person says that a grant suspended by a recovery is to count again. Not for themselves, nor for their own agent;
//! whoever runs the recovery may, so that a cluster with one administrator can be brought back.

use super::check::not_found;
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::grant::GrantStatus;
use crate::id::GrantId;

pub(super) fn apply(step: &mut Step<'_>, id: GrantId) -> Result<Reply, Rejection> {
    let mut grant = step.state.grants.get(&id).cloned().ok_or_else(|| not_found(id))?;
    match &grant.status {
        GrantStatus::Suspended { .. } => {}
        GrantStatus::Active => return Ok(Reply::Done { version: grant.version }),
        GrantStatus::Revoked { reason, .. } => {
            return Err(Rejection::Invalid { field: "grant".to_owned(), message: format!("was revoked: {reason}") });
        }
    }
    match step.actor {
        Actor::Operator => {}
        Actor::Node(_) => return Err(Rejection::Forbidden { message: "only a person confirms a grant".to_owned() }),
        Actor::Principal(who) => {
            let mut conflicted = Default::default();
            step.state.add_conflicted(&grant.principal, &mut conflicted);
            if step.state.active_person(who).is_none() {
                return Err(Rejection::Forbidden { message: "only a person confirms a grant".to_owned() });
            }
            if conflicted.contains(who) {
                return Err(Rejection::SeparationOfDuties { who: who.clone(), why: format!("answers for {}", grant.principal) });
            }
        }
    }
    grant.status = GrantStatus::Active;
    grant.version = step.index;
    step.put_grant(grant);
    Ok(step.done())
}
