//! Creates or changes a role. Those of the administration stay as they were founded; `client` is put by nodes.

use super::check::{expected, long, permissions};
use super::step::Step;
use super::{Actor, BUILT_IN_ROLES, CLIENT_ROLE, Expect, Rejection, Reply};
use crate::role::Role;

pub(super) fn apply(step: &mut Step<'_>, put: Role, expect: Expect) -> Result<Reply, Rejection> {
    let old = step.state.roles.get(&put.name).cloned();
    expected(expect, old.as_ref().map(|r| r.version), || format!("role {}", put.name))?;
    long("description", &put.description)?;
    permissions(&put.permissions, None)?;
    let by_principal = matches!(step.actor, Actor::Principal(_));
    if BUILT_IN_ROLES.contains(&put.name.as_str()) || (by_principal && put.name.as_str() == CLIENT_ROLE) {
        return Err(Rejection::Forbidden { message: format!("role {} is built in", put.name) });
    }
    let mut new = Role { version: step.index, narrowed: step.index, ..put };
    if let Some(old) = old {
        if new.permissions.covers(&old.permissions) {
            new.narrowed = old.narrowed;
        }
        if (&old.description, &old.permissions) == (&new.description, &new.permissions) {
            return Ok(Reply::Done { version: old.version });
        }
    }
    step.put_role(new);
    Ok(step.done())
}
