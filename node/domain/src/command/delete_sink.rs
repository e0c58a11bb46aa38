//! A sink goes with its cursor: what was not delivered yet is not delivered any more.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.sinks.get(name).map(|sink| sink.version).ok_or_else(|| not_found(format!("sink {name}")))?;
    expected(expect, Some(version), || format!("sink {name}"))?;
    step.remove_sink(name);
    Ok(step.done())
}
