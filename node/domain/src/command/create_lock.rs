//! An emergency stop. What is locked counts as narrowed, so that a lock that is gone again still ends what ran before.

use super::check::{invalid, long, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::LockId;
use crate::limits::SESSION_LOCK_KEPT;
use crate::lock::{Lock, LockOn};
use crate::time::LogTime;

pub(super) fn apply(step: &mut Step<'_>, on: LockOn, reason: String, expires: Option<LogTime>) -> Result<Reply, Rejection> {
    long("reason", &reason)?;
    if expires.is_some_and(|end| end <= step.now) {
        return Err(invalid("expires", "lies in the past"));
    }
    narrow(step, &on)?;
    let expires = match &on {
        LockOn::Session(_) => expires.or(Some(step.now.after(SESSION_LOCK_KEPT))),
        LockOn::Principal(_) | LockOn::Target(_) | LockOn::Role(_) | LockOn::Credential(_) => expires,
    };
    let id = LockId(step.index.0);
    step.put_lock(Lock { id, on, reason, by: step.actor_name(), created: step.now, expires, version: step.index });
    Ok(Reply::Lock(id))
}

/// The version stays: what is locked has not changed, and approvals given for it stay good for after the lock.
fn narrow(step: &mut Step<'_>, on: &LockOn) -> Result<(), Rejection> {
    let state = &step.state;
    match on {
        LockOn::Principal(name) => {
            let mut principal = state.principals.get(name).cloned().ok_or_else(|| not_found(format!("principal {name}")))?;
            principal.narrowed = step.index;
            step.put_principal(principal);
            step.narrow_agents_of(name);
        }
        LockOn::Target(name) => {
            let mut target = state.targets.get(name).cloned().ok_or_else(|| not_found(format!("target {name}")))?;
            target.narrowed = step.index;
            step.put_target(target);
        }
        LockOn::Role(name) => {
            let mut role = state.roles.get(name).cloned().ok_or_else(|| not_found(format!("role {name}")))?;
            role.narrowed = step.index;
            step.put_role(role);
        }
        LockOn::Credential(name) => {
            let mut credential = state.credentials.get(name).cloned().ok_or_else(|| not_found(format!("credential {name}")))?;
            credential.narrowed = step.index;
            step.put_credential(credential);
        }
        // Sessions are not entities: the lock itself, kept for a while, is what ends it.
        LockOn::Session(_) => {}
    }
    Ok(())
}
