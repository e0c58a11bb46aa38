//! What the live grants come to: cut to the job description, less what is locked.

use std::collections::BTreeSet;

use super::table::Table;
use crate::grant::{Grant, GrantSource};
use crate::id::{LockId, Name};
use crate::job::Job;
use crate::lock::LockOn;
use crate::permission::PermissionSet;
use crate::state::State;
use crate::target::Target;
use crate::time::LogTime;

/// Lines of what was dropped that a record carries.
const DROPPED_MAX: usize = 64;

pub(super) struct Effective {
    pub(super) table: Table,
    pub(super) permissions: PermissionSet,
    /// Granted, but beyond the job description.
    pub(super) dropped: Vec<String>,
    /// A lock on a role took something away.
    pub(super) locked: Option<LockId>,
    /// When a lock on a role ends by itself.
    pub(super) lock_ends: Option<LogTime>,
    /// Roles that were read.
    pub(super) roles: BTreeSet<Name>,
}

pub(super) fn of(state: &State, now: LogTime, target: &Target, job: Option<&Job>, grants: &[&Grant]) -> Effective {
    let mut reading = Reading { state, now, locked: None, lock_ends: None, roles: BTreeSet::new() };
    let needed = job.map(|job| reading.with_roles(&job.permissions, &job.roles));
    let mut table = Table::default();
    let mut permissions = PermissionSet::default();
    let mut dropped = BTreeSet::new();
    for grant in grants {
        let granted = reading.with_roles(&grant.permissions, &grant.roles);
        let admitted = match (&needed, grant.source) {
            // An approved window is what people allowed beyond the job.
            (Some(_), GrantSource::Request(_)) | (None, _) => granted,
            (Some(needed), GrantSource::Baseline | GrantSource::Declared | GrantSource::Review(_)) if needed.covers(&granted) => granted,
            (Some(needed), GrantSource::Baseline | GrantSource::Declared | GrantSource::Review(_)) => {
                let of_target = granted.minus(needed);
                dropped.extend(of_target.iter().filter(|p| p.protocol == target.protocol).map(ToString::to_string));
                granted.intersect(needed)
            }
        };
        for permission in admitted.iter().filter(|p| p.protocol == target.protocol) {
            table.add(grant.id, permission);
        }
        permissions = if permissions.is_empty() { admitted } else { permissions.union(&admitted) };
    }
    let Reading { locked, lock_ends, roles, .. } = reading;
    Effective { table, permissions, dropped: dropped.into_iter().take(DROPPED_MAX).collect(), locked, lock_ends, roles }
}

struct Reading<'a> {
    state: &'a State,
    now: LogTime,
    locked: Option<LockId>,
    lock_ends: Option<LogTime>,
    roles: BTreeSet<Name>,
}

impl Reading<'_> {
    fn with_roles(&mut self, inline: &PermissionSet, roles: &BTreeSet<Name>) -> PermissionSet {
        let mut all = inline.clone();
        for name in roles {
            self.roles.insert(name.clone());
            if let Some(lock) = self.state.live_lock(&LockOn::Role(name.clone()), self.now) {
                self.locked = Some(lock.id);
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
