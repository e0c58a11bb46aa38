//! Reviews that it opened go on.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let trigger = step.state.triggers.get(name).ok_or_else(|| not_found(format!("trigger {name}")))?;
    expected(expect, Some(trigger.version), || format!("trigger {name}"))?;
    step.remove_trigger(name);
    Ok(step.done())
}
