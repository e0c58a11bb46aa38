//! Evidence from use: what was done under each grant, as the nodes report it every now and then.
//!
//! It is evidence of use. Of non-use it is as good as the reports: what a node did after its last one is not in it, and
//! is lost with the node. A time of use is the log time of the report that brought it.

use std::time::Duration;

use crate::grant::{Grant, TargetSelector};
use crate::id::{GrantId, Name};
use crate::limits::{SEEN_COLUMNS_MAX, SEEN_MAX};
use crate::operation::Access;
use crate::permission::{PermissionSet, narrowest_cover};
use crate::state::State;
use crate::time::LogTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    pub first: LogTime,
    pub last: LogTime,
    pub operations: u64,
    /// Returned or changed by those operations, whole: one that touched two tables counts its rows for both.
    pub rows: u64,
}

impl Count {
    pub(crate) fn add(&mut self, now: LogTime, operations: u64, rows: u64) {
        if self.operations == 0 {
            self.first = now;
        }
        self.last = now;
        self.operations = self.operations.saturating_add(operations);
        self.rows = self.rows.saturating_add(rows);
    }

    fn merge(&mut self, other: &Count) {
        if other.operations == 0 {
            return;
        }
        self.first = if self.operations == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.operations = self.operations.saturating_add(other.operations);
        self.rows = self.rows.saturating_add(other.rows);
    }
}

/// Accesses of one verb to one object, with all columns they touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub access: Access,
    pub count: Count,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantUsage {
    pub grant: GrantId,
    pub total: Count,
    /// Covered by its own permissions, in order, at most [`SEEN_MAX`].
    pub seen: Vec<Seen>,
    /// Covered by its roles alone.
    pub by_roles: Count,
    /// Covered by its own permissions, on objects that found no place in `seen`.
    pub more: Count,
}

/// What one principal was refused, or held for, at one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denials {
    pub principal: Name,
    pub target: Name,
    /// Its rows are zero.
    pub count: Count,
}

/// One line of a report: operations under a grant since the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedGrant {
    pub grant: GrantId,
    pub operations: u64,
    pub rows: u64,
    pub accesses: Vec<UsedAccess>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedAccess {
    pub access: Access,
    pub operations: u64,
    pub rows: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub principal: Name,
    pub target: Name,
    pub operations: u64,
}

impl GrantUsage {
    pub(crate) fn new(grant: GrantId) -> Self {
        GrantUsage { grant, total: Count::default(), seen: Vec::new(), by_roles: Count::default(), more: Count::default() }
    }

    /// `room`: further objects may be told apart.
    pub(crate) fn add(&mut self, grant: &Grant, used: &UsedGrant, now: LogTime, mut room: usize) {
        self.total.add(now, used.operations, used.rows);
        for UsedAccess { access, operations, rows } in &used.accesses {
            if !grant.permissions.allows(access) {
                self.by_roles.add(now, *operations, *rows);
                continue;
            }
            let key = |access: &Access| (access.protocol, access.verb, access.resource.path.clone());
            match self.seen.binary_search_by_key(&key(access), |seen| key(&seen.access)) {
                Ok(at) => {
                    let seen = &mut self.seen[at];
                    seen.access.resource.columns = match (seen.access.resource.columns.take(), &access.resource.columns) {
                        (Some(mut all), Some(touched)) => {
                            all.extend(touched.iter().cloned());
                            (all.len() <= SEEN_COLUMNS_MAX).then_some(all)
                        }
                        (None, _) | (_, None) => None,
                    };
                    seen.count.add(now, *operations, *rows);
                }
                Err(at) if self.seen.len() < SEEN_MAX && room > 0 => {
                    room -= 1;
                    let mut count = Count::default();
                    count.add(now, *operations, *rows);
                    self.seen.insert(at, Seen { access: access.clone(), count });
                }
                Err(_) => self.more.add(now, *operations, *rows),
            }
        }
    }

    /// What was done under each of the grant's own permissions, in their order.
    pub fn by_permission(&self, permissions: &PermissionSet) -> Vec<Count> {
        let of = |permission: &crate::permission::Permission| {
            let mut count = Count::default();
            self.seen.iter().filter(|seen| permission.allows(&seen.access)).for_each(|seen| count.merge(&seen.count));
            count
        };
        permissions.iter().map(of).collect()
    }
}

/// What the evidence suggests. Never that access is kept: that is for people alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recommendation {
    /// Not used for the whole window.
    Revoke,
    /// Used, and less than it gives: its roles, and the least that covers what was used.
    Modify { permissions: PermissionSet },
}

impl State {
    /// Since when the use of a grant is counted; `None` where it is not: for administration, and before the first report.
    pub fn counted_since(&self, grant: &Grant) -> Option<LogTime> {
        match grant.target {
            TargetSelector::Assize => None,
            TargetSelector::Name(_) | TargetSelector::Labels(_) => Some(self.cluster.usage_since?.max(grant.granted)),
        }
    }

    /// Since when no use of a grant is known; `None` where use is not counted.
    pub fn unused_since(&self, grant: &Grant) -> Option<LogTime> {
        let counted = self.counted_since(grant)?;
        Some(self.usage.get(&grant.id).map_or(counted, |usage| usage.total.last.max(counted)))
    }

    /// The stated rule over a window that ends now. A grant younger than the window, or one that was not counted for all of
    /// it, gets none; nor one whose own permissions were used on more objects than are told apart.
    pub fn recommendation(&self, grant: &Grant, window: Duration) -> Option<Recommendation> {
        let from = |at: LogTime| at.after(window) <= self.now;
        if !from(self.counted_since(grant)?) {
            return None;
        }
        if from(self.unused_since(grant)?) {
            return Some(Recommendation::Revoke);
        }
        let usage = self.usage.get(&grant.id)?;
        if usage.more.operations > 0 && !from(usage.more.last) {
            return None;
        }
        let used: Vec<Access> = usage.seen.iter().filter(|seen| !from(seen.count.last)).map(|seen| seen.access.clone()).collect();
        // An object that was used through several of its permissions lies in one of them, or in their columns together.
        let permissions = narrowest_cover(&used).intersect(&grant.permissions);
        let keeps_something = !permissions.is_empty() || !grant.roles.is_empty();
        (keeps_something && !permissions.covers(&grant.permissions)).then_some(Recommendation::Modify { permissions })
    }
}

#[cfg(test)]
mod tests;
