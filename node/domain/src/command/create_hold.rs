//! Places a legal hold. It takes effect on every plan that the log decides after it.

use super::check::{invalid, long};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::HoldId;
use crate::limits::HOLDS_MAX;
use crate::retention::{Held, LegalHold};

pub(super) fn apply(step: &mut Step<'_>, on: Held, reason: String, two_people: bool) -> Result<Reply, Rejection> {
    long("reason", &reason)?;
    if reason.trim().is_empty() {
        return Err(invalid("reason", "must say what the hold is for"));
    }
    if let (Some(from), Some(until)) = (on.from, on.until)
        && from >= until
    {
        return Err(invalid("until", "must be after from"));
    }
    if step.state.holds.len() >= HOLDS_MAX {
        return Err(Rejection::TooMany { limit: HOLDS_MAX as u32, scope: "legal holds".into() });
    }
    let id = HoldId(step.index.0);
    step.put_hold(LegalHold { id, on, reason, by: step.actor_name(), at: step.now, two_people });
    step.retention_changed(false);
    Ok(step.done())
}
