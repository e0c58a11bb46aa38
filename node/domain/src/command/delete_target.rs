//! A target goes when no grant names it and no request for it is open.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;
use crate::state::Used;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.targets.get(name).map(|t| t.version).ok_or_else(|| not_found(format!("target {name}")))?;
    expected(expect, Some(version), || format!("target {name}"))?;
    step.refuse_while_used(&Used::Target(name.clone()), || format!("target {name}"))?;
    step.remove_target(name);
    Ok(step.done())
}
