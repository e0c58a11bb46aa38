//! Creates or changes a target.

use std::time::Duration;

use super::check::{active_person, expected, invalid, labels, not_empty, short};
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::limits::{APPROVALS_NEEDED_MAX, BLOB_MAX, HOLD_MAX, REQUEST_EXPIRY_MAX};
use crate::operation::Protocol;
use crate::target::{Target, UpstreamTls};

pub(super) fn apply(step: &mut Step<'_>, put: Target, expect: Expect) -> Result<Reply, Rejection> {
    let old = step.state.targets.get(&put.name).cloned();
    expected(expect, old.as_ref().map(|t| t.version), || format!("target {}", put.name))?;
    check(step, &put)?;
    let mut new = Target { version: step.index, narrowed: step.index, ..put };
    if let Some(old) = old {
        if old.protocol != new.protocol {
            return Err(invalid("protocol", "of a target does not change"));
        }
        if !takes_away(&old, &new) {
            new.narrowed = old.narrowed;
        }
        if old == (Target { version: old.version, narrowed: old.narrowed, ..new.clone() }) {
            return Ok(Reply::Done { version: old.version });
        }
    }
    step.put_target(new);
    Ok(step.done())
}

fn check(step: &Step<'_>, put: &Target) -> Result<(), Rejection> {
    if put.protocol == Protocol::Assize || put.name.as_str() == "assize" {
        return Err(invalid("name", "assize is the gateway itself"));
    }
    address(&put.address)?;
    not_empty("default_database", &put.default_database)?;
    labels(&put.labels)?;
    match &put.tls {
        UpstreamTls::VerifyFull { roots_pem, server_name } => {
            if roots_pem.len() > BLOB_MAX {
                return Err(invalid("tls", format!("roots are longer than {BLOB_MAX} bytes")));
            }
            short("tls", server_name.as_deref().unwrap_or_default())?;
        }
        UpstreamTls::RequireUnverified | UpstreamTls::Off => {}
    }
    if !step.state.credentials.contains_key(&put.credential) {
        return Err(invalid("credential", format!("there is no credential {}", put.credential)));
    }
    put.owner.iter().try_for_each(|owner| active_person(step.state, "owner", owner))?;
    if put.hold > HOLD_MAX {
        return Err(invalid("hold", format!("is longer than {HOLD_MAX:?}")));
    }
    if put.request_expiry < Duration::from_secs(1) || put.request_expiry > REQUEST_EXPIRY_MAX {
        return Err(invalid("request_expiry", format!("is not between 1 s and {REQUEST_EXPIRY_MAX:?}")));
    }
    if !(1..=APPROVALS_NEEDED_MAX).contains(&put.approvals_needed) {
        return Err(invalid("approvals_needed", format!("is not between 1 and {APPROVALS_NEEDED_MAX}")));
    }
    Ok(())
}

fn address(address: &str) -> Result<(), Rejection> {
    not_empty("address", address)?;
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() => Ok(()),
        Ok(_) | Err(_) => Err(invalid("address", "must be host:port")),
    }
}

/// Sessions go to another place, or grants by label may select the target no more.
fn takes_away(old: &Target, new: &Target) -> bool {
    (&old.address, &old.tls, &old.credential) != (&new.address, &new.tls, &new.credential)
        || old.labels.iter().any(|(key, value)| new.labels.get(key) != Some(value))
}
