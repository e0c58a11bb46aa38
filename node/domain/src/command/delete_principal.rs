//! A principal goes when nothing refers to it: no agents, jobs or targets it answers for, no grants, no open requests.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;
use crate::state::Used;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.principals.get(name).map(|p| p.version).ok_or_else(|| not_found(format!("principal {name}")))?;
    expected(expect, Some(version), || format!("principal {name}"))?;
    step.refuse_while_used(&Used::Principal(name.clone()), || format!("principal {name}"))?;
    step.remove_principal(name);
    Ok(step.done())
}
