//! Creates or changes an agent or a person.

use super::check::{active_person, expected, invalid, labels, short};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::principal::{Principal, PrincipalKind};

/// `put` comes without tokens, version and narrowing: those are kept from what there is.
pub(super) fn apply(step: &mut Step<'_>, put: Principal, expect: Expect) -> Result<Reply, Rejection> {
    let old = step.state.principals.get(&put.name).cloned();
    expected(expect, old.as_ref().map(|p| p.version), || format!("principal {}", put.name))?;
    check(step, &put, old.as_ref())?;
    let mut new = Principal { version: step.index, narrowed: step.index, ..put };
    if let Some(old) = old {
        new.tokens = old.tokens.clone();
        if !takes_away(&old, &new) {
            new.narrowed = old.narrowed;
        }
        if (&old.kind, old.active, &old.labels) == (&new.kind, new.active, &new.labels) {
            return Ok(Reply::Done { version: old.version });
        }
        if old.active && !new.active {
            step.narrow_agents_of(&new.name);
        }
    }
    step.put_principal(new);
    Ok(step.done())
}

fn check(step: &Step<'_>, put: &Principal, old: Option<&Principal>) -> Result<(), Rejection> {
    labels(&put.labels)?;
    if put.name.as_str().starts_with("assize.") {
        return Err(invalid("name", "names that start with assize. are the gateway's own"));
    }
    if old.is_some_and(|old| old.is_person() != put.is_person()) {
        return Err(invalid("kind", "an agent does not become a person, nor a person an agent"));
    }
    match &put.kind {
        PrincipalKind::Agent { owner, backup_owner, job } => {
            if backup_owner.as_ref() == Some(owner) {
                return Err(invalid("backup_owner", "must be somebody else than the owner"));
            }
            // An agent nobody answers for any more can still be switched off.
            if put.active {
                active_person(step.state, "owner", owner)?;
                backup_owner.iter().try_for_each(|backup| active_person(step.state, "backup_owner", backup))?;
            }
            for person in std::iter::once(owner).chain(backup_owner) {
                if !step.state.principals.get(person).is_some_and(Principal::is_person) {
                    return Err(invalid("owner", format!("there is no person {person}")));
                }
            }
            match job {
                Some(job) if !step.state.jobs.contains_key(job) => Err(invalid("job", format!("there is no job {job}"))),
                Some(_) | None => Ok(()),
            }
        }
        PrincipalKind::Person { email, certificate } => {
            short("email", email.as_deref().unwrap_or_default())?;
            let holder = certificate.as_ref().and_then(|digest| step.state.person_by_certificate(digest));
            match holder {
                Some(holder) if holder.name != put.name => Err(invalid("certificate", format!("belongs to {}", holder.name))),
                Some(_) | None => Ok(()),
            }
        }
    }
}

/// Sessions admitted before must not go on as they are.
fn takes_away(old: &Principal, new: &Principal) -> bool {
    let kind = match (&old.kind, &new.kind) {
        (PrincipalKind::Agent { job: old, .. }, PrincipalKind::Agent { job: new, .. }) => old.is_some() && old != new,
        (PrincipalKind::Person { certificate: old, .. }, PrincipalKind::Person { certificate: new, .. }) => old.is_some() && old != new,
        (PrincipalKind::Agent { .. }, PrincipalKind::Person { .. }) | (PrincipalKind::Person { .. }, PrincipalKind::Agent { .. }) => true,
    };
    kind || (old.active && !new.active)
}
