//! A credential goes when no target uses it.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;
use crate::state::Used;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.credentials.get(name).map(|c| c.version).ok_or_else(|| not_found(format!("credential {name}")))?;
    expected(expect, Some(version), || format!("credential {name}"))?;
    step.refuse_while_used(&Used::Credential(name.clone()), || format!("credential {name}"))?;
    step.remove_credential(name);
    Ok(step.done())
}
