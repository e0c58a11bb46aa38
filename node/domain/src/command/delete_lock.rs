//! Lifts a lock.

use super::check::not_found;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::LockId;
use crate::lock::LockOn;

pub(super) fn apply(step: &mut Step<'_>, id: LockId) -> Result<Reply, Rejection> {
    let lock = step.state.locks.get(&id).ok_or_else(|| not_found(id))?;
    if let LockOn::Session(_) = lock.on {
        // Nothing but the lock remembers that the session was ended: a node that has not enforced it yet must find it.
        return Err(Rejection::Invalid { field: "lock".to_owned(), message: "ended a session, which does not come back".to_owned() });
    }
    step.remove_lock(id);
    Ok(step.done())
}
