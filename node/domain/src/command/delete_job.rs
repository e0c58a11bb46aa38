//! A job description goes when no agent has it.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;
use crate::state::Used;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.jobs.get(name).map(|j| j.version).ok_or_else(|| not_found(format!("job {name}")))?;
    expected(expect, Some(version), || format!("job {name}"))?;
    step.refuse_while_used(&Used::Job(name.clone()), || format!("job {name}"))?;
    step.remove_job(name);
    Ok(step.done())
}
