//! A witness goes with what it signed; the exports made before keep it.

use super::check::{expected, not_found};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::Name;

pub(super) fn apply(step: &mut Step<'_>, name: &Name, expect: Expect) -> Result<Reply, Rejection> {
    let version = step.state.witnesses.get(name).map(|w| w.version).ok_or_else(|| not_found(format!("witness {name}")))?;
    expected(expect, Some(version), || format!("witness {name}"))?;
    step.remove_witness(name);
    Ok(step.done())
}
