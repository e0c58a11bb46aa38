//! A role goes when no grant and no job has it. Built-in roles stay.

use super::check::{expected, not_found};
use super::step::Step;
use super::{BUILT_IN_ROLES, CLIENT_ROLE, Expect, Rejection, Reply};
use crate::id::Name;
use crate::state::Used;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.roles.get(name).map(|r| r.version).ok_or_else(|| not_found(format!("role {name}")))?;
    expected(expect, Some(version), || format!("role {name}"))?;
    if BUILT_IN_ROLES.contains(&name.as_str()) || name.as_str() == CLIENT_ROLE {
        return Err(Rejection::Forbidden { message: format!("role {name} is built in") });
    }
    step.refuse_while_used(&Used::Role(name.clone()), || format!("role {name}"))?;
    step.remove_role(name);
    Ok(step.done())
}
