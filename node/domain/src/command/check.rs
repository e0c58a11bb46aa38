//! Checks that several verbs share. Each names the field it is about.

use std::collections::{BTreeMap, BTreeSet};

use super::{Expect, Rejection};
use crate::id::{Index, Name};
use crate::limits::{LABELS_MAX, LONG_TEXT_MAX, PERMISSIONS_PER_SET_MAX, ROLES_PER_SET_MAX, SHORT_TEXT_MAX, URL_MAX};
use crate::operation::{Protocol, Verb};
use crate::permission::PermissionSet;
use crate::state::State;

pub(super) fn invalid(field: &str, message: impl Into<String>) -> Rejection {
    Rejection::Invalid { field: field.to_owned(), message: message.into() }
}

pub(super) fn not_found(what: impl std::fmt::Display) -> Rejection {
    Rejection::NotFound { what: what.to_string() }
}

/// The version the caller read must be the current one; `current` is `None` when the thing does not exist.
pub(super) fn expected(expect: Expect, current: Option<Index>, what: impl Fn() -> String) -> Result<(), Rejection> {
    match (expect, current) {
        (Expect::Any, _) | (Expect::Absent, None) => Ok(()),
        (Expect::Absent, Some(_)) => Err(Rejection::Exists { what: what() }),
        (Expect::Version(_), None) => Err(Rejection::NotFound { what: what() }),
        (Expect::Version(expected), Some(current)) if expected == current => Ok(()),
        (Expect::Version(expected), Some(current)) => Err(Rejection::Conflict { what: what(), expected, current }),
    }
}

pub(super) fn short(field: &str, text: &str) -> Result<(), Rejection> {
    text_of(field, text, SHORT_TEXT_MAX)
}

pub(super) fn long(field: &str, text: &str) -> Result<(), Rejection> {
    text_of(field, text, LONG_TEXT_MAX)
}

fn text_of(field: &str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    if text.len() > bytes_max { Err(invalid(field, format!("is longer than {bytes_max} bytes"))) } else { Ok(()) }
}

pub(super) fn not_empty(field: &str, text: &str) -> Result<(), Rejection> {
    if text.trim().is_empty() { Err(invalid(field, "must not be empty")) } else { short(field, text) }
}

/// `host:port`.
pub(super) fn address(field: &str, address: &str) -> Result<(), Rejection> {
    not_empty(field, address)?;
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() && address.chars().all(|c| c.is_ascii_graphic()) => Ok(()),
        Ok(_) | Err(_) => Err(invalid(field, "must be host:port")),
    }
}

/// `https://host[:port]/path`, or `http://…`: what goes into a request as it is. No user, no fragment.
pub(super) fn url(field: &str, url: &str) -> Result<(), Rejection> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map_or("", |rest| rest.split(['/', '?']).next().unwrap_or_default());
    let plain = url.chars().all(|c| c.is_ascii_graphic() && !"#\\\"<>{}|^`".contains(c));
    if authority.is_empty() || authority.contains('@') || !plain || url.len() > URL_MAX {
        return Err(invalid(field, format!("must be https://HOST[:PORT]/PATH of at most {URL_MAX} bytes")));
    }
    Ok(())
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if labels.len() > LABELS_MAX {
        return Err(invalid("labels", format!("are more than {LABELS_MAX}")));
    }
    labels.iter().try_for_each(|(key, value)| not_empty("labels", key).and_then(|()| short("labels", value)))
}

pub(super) fn tags(field: &str, tags: &BTreeSet<String>) -> Result<(), Rejection> {
    if tags.len() > LABELS_MAX {
        return Err(invalid(field, format!("are more than {LABELS_MAX}")));
    }
    tags.iter().try_for_each(|tag| not_empty(field, tag))
}

/// There, active, and a person: only people answer for something.
pub(super) fn active_person(state: &State, field: &str, name: &Name) -> Result<(), Rejection> {
    let found = state.principals.get(name).ok_or_else(|| invalid(field, format!("there is no person {name}")))?;
    if !found.is_person() {
        Err(invalid(field, format!("{name} is an agent; only a person can answer for others")))
    } else if !found.active {
        Err(invalid(field, format!("{name} is not active")))
    } else {
        Ok(())
    }
}

pub(super) fn roles_exist(state: &State, roles: &BTreeSet<Name>) -> Result<(), Rejection> {
    if roles.len() > ROLES_PER_SET_MAX {
        return Err(invalid("roles", format!("are more than {ROLES_PER_SET_MAX}")));
    }
    match roles.iter().find(|role| !state.roles.contains_key(*role)) {
        Some(missing) => Err(invalid("roles", format!("there is no role {missing}"))),
        None => Ok(()),
    }
}

/// Each permission has verbs of its protocol, on paths as long as the protocol's, with no `except` of another length
/// (it would never match and so except nothing). `only` restricts the protocol.
pub(super) fn permissions(set: &PermissionSet, only: Option<Protocol>) -> Result<(), Rejection> {
    if set.iter().count() > PERMISSIONS_PER_SET_MAX {
        return Err(invalid("permissions", format!("are more than {PERMISSIONS_PER_SET_MAX}")));
    }
    for permission in set.iter() {
        let protocol = permission.protocol;
        if only.is_some_and(|only| only != protocol) {
            return Err(invalid("permissions", format!("{protocol:?} permissions do not belong here")));
        }
        if permission.verbs.is_empty() || permission.verbs.iter().any(|verb| !Verb::of(protocol).contains(verb)) {
            return Err(invalid("permissions", format!("need verbs of {protocol:?}, at least one")));
        }
        let length = match protocol {
            Protocol::Assize => 2,
            Protocol::Postgres => 3,
        };
        if std::iter::once(&permission.on).chain(&permission.except).any(|pattern| pattern.segments.len() != length) {
            return Err(invalid("permissions", format!("of {protocol:?} are on paths of {length} segments")));
        }
    }
    Ok(())
}
