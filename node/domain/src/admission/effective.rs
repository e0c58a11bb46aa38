//! What the live grants come to: cut to the job description, less what is locked.

use std::collections::BTreeSet;

use super::table::Table;
use crate::grant::{Grant, GrantSource};
use crate::id::Name;
use crate::job::Job;
use crate::lock::LockOn;
use crate::operation::Protocol;
use crate::permission::{Permission, PermissionSet};
use crate::refusal::Refusal;
use crate::state::State;
use crate::time::LogTime;

/// Lines of what was dropped that a record carries.
const DROPPED_MAX: usize = 64;
/// Permissions of a job description up to which the difference is worked out exactly. Taking a thousand names off a
/// wildcard takes seconds, and nobody reads the result.
const EXACT_DIFFERENCE_MAX: usize = 64;

pub(super) struct Effective {
    pub(super) table: Table,
    /// Granted, but beyond the job description.
    pub(super) dropped: Vec<String>,
    /// A lock on a role took something away.
    pub(super) locked: Option<Refusal>,
    /// When a lock on a role ends by itself.
    pub(super) lock_ends: Option<LogTime>,
    /// Roles that were read.
    pub(super) roles: BTreeSet<Name>,
}

pub(super) fn of(state: &State, now: LogTime, protocol: Protocol, job: Option<&Job>, grants: &[&Grant]) -> Effective {
    let mut reading = Reading { state, now, locked: None, lock_ends: None, roles: BTreeSet::new() };
    let needed = job.map(|job| reading.with_roles(&job.permissions, &job.roles));
    let mut table = Table::default();
    let mut dropped = BTreeSet::new();
    for grant in grants {
        let granted = reading.with_roles(&grant.permissions, &grant.roles);
        let admitted = match (&needed, grant.source) {
            // An approved window, and what glass was broken for, is what people allowed beyond the job.
            (Some(_), GrantSource::Request(_) | GrantSource::BreakGlass(_)) | (None, _) => granted,
            (Some(needed), GrantSource::Baseline | GrantSource::Declared | GrantSource::Review(_)) if needed.covers(&granted) => granted,
            (Some(needed), GrantSource::Baseline | GrantSource::Declared | GrantSource::Review(_)) => {
                dropped.extend(beyond(&granted, needed, protocol));
                granted.intersect(needed)
            }
        };
        table.add(grant.id, admitted, protocol);
    }
    let Reading { locked, lock_ends, roles, .. } = reading;
    Effective { table, dropped: dropped.into_iter().take(DROPPED_MAX).collect(), locked, lock_ends, roles }
}

/// What was granted and is not needed, in words.
fn beyond(granted: &PermissionSet, needed: &PermissionSet, protocol: Protocol) -> Vec<String> {
    let of_target =
        |set: &PermissionSet, words: &dyn Fn(&Permission) -> String| set.iter().filter(|p| p.protocol == protocol).map(words).collect();
    if needed.iter().count() <= EXACT_DIFFERENCE_MAX {
        return of_target(&granted.minus(needed), &ToString::to_string);
    }
    let outside: PermissionSet =
        PermissionSet::new(granted.iter().filter(|p| !needed.covers(&PermissionSet::new([(*p).clone()]))).cloned());
    of_target(&outside, &|p| format!("part of {p}"))
}

struct Reading<'a> {
    state: &'a State,
    now: LogTime,
    locked: Option<Refusal>,
    lock_ends: Option<LogTime>,
    roles: BTreeSet<Name>,
}

impl Reading<'_> {
    fn with_roles(&mut self, inline: &PermissionSet, roles: &BTreeSet<Name>) -> PermissionSet {
        let mut all = inline.clone();
        for name in roles {
            self.roles.insert(name.clone());
            if let Some(lock) = self.state.live_lock(&LockOn::Role(name.clone()), self.now) {
                self.locked = Some(lock.refusal());
                self.lock_ends = self.lock_ends.into_iter().chain(lock.expires).min();
                continue;
            }
            if let Some(role) = self.state.roles.get(name) {
                all = if all.is_empty() { role.permissions.clone() } else { all.union(&role.permissions) };
            }
        }
        all
    }
}
