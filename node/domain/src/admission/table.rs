//! The permissions of a permit, laid out for look-up: by verb, and by the name of the object where a permission names
//! one exactly. A permit with thousands of tables is asked as fast as one with three.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::GrantId;
use crate::operation::{Access, Protocol, Verb};
use crate::permission::{Permission, PermissionSet, Segment};

#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// What each grant adds, in the order they were added.
    grants: Vec<(GrantId, PermissionSet)>,
    /// Permissions, by grant and place in its set.
    lines: Vec<(usize, usize)>,
    by_verb: BTreeMap<Verb, Lines>,
}

#[derive(Debug, Clone, Default)]
struct Lines {
    /// By the last segment of the path.
    exact: BTreeMap<Arc<str>, Vec<usize>>,
    /// Those that end in a pattern.
    open: Vec<usize>,
}

impl Table {
    /// The permissions of one grant, of which those of `protocol` are looked up.
    pub(super) fn add(&mut self, grant: GrantId, set: PermissionSet, protocol: Protocol) {
        for (place, permission) in set.iter().enumerate().filter(|(_, permission)| permission.protocol == protocol) {
            let line = self.lines.len();
            for verb in &permission.verbs {
                let lines = self.by_verb.entry(*verb).or_default();
                match permission.on.segments.last() {
                    Some(Segment::Exact(name)) => lines.exact.entry(name.clone()).or_default().push(line),
                    Some(Segment::Any | Segment::Prefix(_)) | None => lines.open.push(line),
                }
            }
            self.lines.push((self.grants.len(), place));
        }
        self.grants.push((grant, set));
    }

    fn line(&self, line: usize) -> (GrantId, &Permission) {
        let (grant, place) = self.lines[line];
        let (grant, set) = &self.grants[grant];
        (*grant, &set[place])
    }

    /// What each grant adds, whatever its protocol.
    pub(super) fn sets(&self) -> impl Iterator<Item = &PermissionSet> {
        self.grants.iter().map(|(_, set)| set)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn verbs(&self) -> impl Iterator<Item = Verb> + '_ {
        self.by_verb.keys().copied()
    }

    /// The permissions that have `verb`.
    pub(super) fn with_verb(&self, verb: Verb) -> impl Iterator<Item = &Permission> {
        let lines = self.by_verb.get(&verb);
        lines.into_iter().flat_map(|l| l.exact.values().flatten().chain(&l.open)).map(|line| self.line(*line).1)
    }

    /// The first grant, in the order they were added, that covers `access` as a whole.
    pub(super) fn covering(&self, access: &Access) -> Option<GrantId> {
        let lines = self.by_verb.get(&access.verb)?;
        let named = access.resource.path.last().and_then(|name| lines.exact.get(name)).into_iter().flatten();
        let found = named.chain(&lines.open).map(|line| self.line(*line)).find(|(_, permission)| permission.allows(access));
        found.map(|(grant, _)| grant)
    }

    /// As [`Table::covering`], or column by column: two grants on different columns of a table cover a statement that
    /// touches both. Adds the grants to `to`; `false` if something is not covered.
    pub(super) fn cover(&self, access: &Access, to: &mut Vec<GrantId>) -> bool {
        let mut note = |grant: GrantId| {
            if !to.contains(&grant) {
                to.push(grant);
            }
        };
        if let Some(grant) = self.covering(access) {
            note(grant);
            return true;
        }
        let Some(columns) = access.resource.columns.as_ref().filter(|columns| columns.len() > 1) else { return false };
        let mut one = access.clone();
        for column in columns {
            one.resource.columns = Some([column.clone()].into());
            match self.covering(&one) {
                Some(grant) => note(grant),
                None => return false,
            }
        }
        true
    }
}
