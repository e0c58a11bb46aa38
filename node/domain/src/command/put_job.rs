//! Creates or changes a job description.

use super::check::{active_person, expected, invalid, long, permissions, roles_exist, tags};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::job::Job;

pub(super) fn apply(step: &mut Step<'_>, put: Job, expect: Expect) -> Result<Reply, Rejection> {
    let old = step.state.jobs.get(&put.name).cloned();
    expected(expect, old.as_ref().map(|j| j.version), || format!("job {}", put.name))?;
    check(step, &put)?;
    let mut new = Job { version: step.index, narrowed: step.index, ..put };
    if let Some(old) = old {
        if !takes_away(&old, &new) {
            new.narrowed = old.narrowed;
        }
        if old == (Job { version: old.version, narrowed: old.narrowed, ..new.clone() }) {
            return Ok(Reply::Done { version: old.version });
        }
    }
    step.put_job(new);
    Ok(step.done())
}

fn check(step: &Step<'_>, put: &Job) -> Result<(), Rejection> {
    long("purpose", &put.purpose)?;
    active_person(step.state, "owner", &put.owner)?;
    put.backup_owner.iter().try_for_each(|backup| active_person(step.state, "backup_owner", backup))?;
    if put.backup_owner.as_ref() == Some(&put.owner) {
        return Err(invalid("backup_owner", "must be somebody else than the owner"));
    }
    permissions(&put.permissions, None)?;
    roles_exist(step.state, &put.roles)?;
    tags("data_classes", &put.data_classes)?;
    tags("environments", &put.environments)?;
    if put.expires.is_some_and(|end| end <= step.now) {
        return Err(invalid("expires", "lies in the past"));
    }
    Ok(())
}

/// Compared part by part: a role that is swapped for the same permissions inline counts as taken away, to be safe.
fn takes_away(old: &Job, new: &Job) -> bool {
    let sooner = match (old.expires, new.expires) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    };
    sooner || !new.permissions.covers(&old.permissions) || !new.roles.is_superset(&old.roles)
}
