//! The algebra: intersect, union, minus, covers.
//!
//! Read a pattern as a set of points: a concrete path and one column of it. All operations are exact on points. What
//! makes that cheap is that names are without end: finitely many patterns cover another only if one of them does in
//! every segment (take, for each segment, a name that no pattern mentions), so emptiness shows pattern by pattern.
//!
//! An access that touches no column (`count(*)`) is allowed by any list of columns on its path. Taking columns away
//! leaves it allowed as long as one column is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::canonical::simplify;
use super::{Pattern, Permission, PermissionSet, Segment};
use crate::operation::Access;

impl Segment {
    /// What both hold.
    pub(super) fn meet(&self, other: &Segment) -> Option<Segment> {
        match (self, other) {
            (Segment::Any, s) | (s, Segment::Any) => Some(s.clone()),
            (Segment::Exact(a), Segment::Exact(b)) => (a == b).then(|| self.clone()),
            (Segment::Exact(a), Segment::Prefix(p)) => a.starts_with(p.as_ref()).then(|| self.clone()),
            (Segment::Prefix(p), Segment::Exact(a)) => a.starts_with(p.as_ref()).then(|| other.clone()),
            (Segment::Prefix(a), Segment::Prefix(b)) => {
                if a.starts_with(b.as_ref()) {
                    Some(self.clone())
                } else {
                    b.starts_with(a.as_ref()).then(|| other.clone())
                }
            }
        }
    }

    fn overlaps(&self, other: &Segment) -> bool {
        match (self, other) {
            (Segment::Any, _) | (_, Segment::Any) => true,
            (Segment::Exact(a), Segment::Exact(b)) => a == b,
            (Segment::Exact(name), Segment::Prefix(prefix)) | (Segment::Prefix(prefix), Segment::Exact(name)) => {
                name.starts_with(prefix.as_ref())
            }
            (Segment::Prefix(a), Segment::Prefix(b)) => a.starts_with(b.as_ref()) || b.starts_with(a.as_ref()),
        }
    }

    /// Holds all that `other` holds.
    pub(super) fn covers(&self, other: &Segment) -> bool {
        match (self, other) {
            (Segment::Any, _) => true,
            (Segment::Exact(a), Segment::Exact(b)) => a == b,
            (Segment::Prefix(p), Segment::Exact(s) | Segment::Prefix(s)) => s.starts_with(p.as_ref()),
            (Segment::Exact(_) | Segment::Prefix(_), Segment::Any) | (Segment::Exact(_), Segment::Prefix(_)) => false,
        }
    }
}

impl Pattern {
    pub(super) fn segments_cover(&self, other: &Pattern) -> bool {
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).rev().all(|(a, b)| a.covers(b))
    }

    pub(super) fn covers(&self, other: &Pattern) -> bool {
        self.segments_cover(other)
            && match (&self.columns, &other.columns) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(own), Some(theirs)) => theirs.is_subset(own),
            }
    }

    /// Most pairs of patterns have no path in common; their last segments differ most often.
    fn overlaps(&self, other: &Pattern) -> bool {
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).rev().all(|(a, b)| a.overlaps(b))
    }

    pub(super) fn meet(&self, other: &Pattern) -> Option<Pattern> {
        if !self.overlaps(other) {
            return None;
        }
        let segments = self.segments.iter().zip(&other.segments).map(|(a, b)| a.meet(b)).collect::<Option<Vec<_>>>()?;
        Some(Pattern { segments, columns: meet_columns(self.columns.as_ref(), other.columns.as_ref()) })
    }

    /// Touches no column: holds only accesses that touch none.
    fn is_columnless(&self) -> bool {
        self.columns.as_ref().is_some_and(BTreeSet::is_empty)
    }
}

fn meet_columns(a: Option<&BTreeSet<Arc<str>>>, b: Option<&BTreeSet<Arc<str>>>) -> Option<BTreeSet<Arc<str>>> {
    match (a, b) {
        (None, None) => None,
        (Some(columns), None) | (None, Some(columns)) => Some(columns.clone()),
        (Some(a), Some(b)) => Some(a.intersection(b).cloned().collect()),
    }
}

impl Permission {
    /// What just this access needs.
    pub(super) fn exactly(access: &Access) -> Permission {
        let segment = |name: &Arc<str>| if name.as_ref() == "*" { Segment::Any } else { Segment::Exact(name.clone()) };
        Permission {
            protocol: access.protocol,
            verbs: BTreeSet::from([access.verb]),
            on: Pattern { segments: access.resource.path.iter().map(segment).collect(), columns: access.resource.columns.clone() },
            except: Vec::new(),
        }
    }

    fn overlaps(&self, other: &Permission) -> bool {
        self.protocol == other.protocol && self.on.overlaps(&other.on) && !self.verbs.is_disjoint(&other.verbs)
    }

    /// Allows all that `other` allows, by what is written alone; there are sets that do so and are not told by this.
    fn holds(&self, other: &Permission) -> bool {
        self.protocol == other.protocol && self.except.is_empty() && self.verbs.is_superset(&other.verbs) && self.on.covers(&other.on)
    }

    /// Exact on every access, not only on points.
    fn intersect(&self, other: &Permission) -> Option<Permission> {
        if !self.overlaps(other) {
            return None;
        }
        let verbs: BTreeSet<_> = self.verbs.intersection(&other.verbs).copied().collect();
        let on = self.on.meet(&other.on)?;
        let except = self.except.iter().chain(&other.except).cloned().collect();
        simplify(Permission { protocol: self.protocol, verbs, on, except })
    }

    /// What it allows of accesses that touch no column: lists of columns neither give nor take any.
    fn of_no_column(&self) -> Permission {
        let on = Pattern { columns: None, ..self.on.clone() };
        let except = self.except.iter().filter(|exception| exception.columns.is_none()).cloned().collect();
        Permission { on, except, ..self.clone() }
    }

    /// What `self` allows and `other` does not, as permissions that are pushed onto `left`.
    fn minus(self, other: &Permission, left: &mut Vec<Permission>) {
        let other = if self.on.is_columnless() { &other.of_no_column() } else { other };
        let meet = if self.overlaps(other) { self.on.meet(&other.on) } else { None };
        let Some(meet) = meet else {
            left.push(self);
            return;
        };
        let shared: BTreeSet<_> = self.verbs.intersection(&other.verbs).copied().collect();
        let verbs: BTreeSet<_> = self.verbs.difference(&other.verbs).copied().collect();
        if !verbs.is_empty() {
            left.push(Permission { verbs, ..self.clone() });
        }
        // Within `other.on`, but outside of what `other` allows there.
        for exception in &other.except {
            let Some(on) = meet.meet(exception) else { continue };
            // Columns that were taken away leave what touches none.
            if !(on.is_columnless() && exception.columns.is_some()) {
                left.extend(simplify(Permission { protocol: self.protocol, verbs: shared.clone(), on, except: self.except.clone() }));
            }
        }
        // Outside of `other.on`.
        let inside = other.on.segments_cover(&self.on);
        let mut except = self.except;
        except.push(other.on.clone());
        if let Some(outside) = simplify(Permission { protocol: self.protocol, verbs: shared, on: self.on, except })
            && !(inside && outside.on.is_columnless())
        {
            left.push(outside);
        }
    }
}

impl PermissionSet {
    /// Is `access` allowed, every point of it by one of these permissions?
    pub fn allows(&self, access: &Access) -> bool {
        self.iter().any(|permission| permission.allows(access))
            || (is_compound(access) && are_covered(&[Permission::exactly(access)], self))
    }

    /// Does this allow all that `other` allows?
    pub fn covers(&self, other: &PermissionSet) -> bool {
        // The usual case: each lies within one of ours as a whole.
        if other.iter().all(|theirs| self.iter().any(|own| own.holds(theirs))) {
            return true;
        }
        let holds = |own: &Permission, theirs: &Permission, verb| {
            own.protocol == theirs.protocol && own.verbs.contains(verb) && own.on.segments_cover(&theirs.on)
        };
        // Needed, by the argument above: for names that no pattern mentions. Saves taking many names off a wildcard.
        let may = other.iter().all(|theirs| theirs.verbs.iter().all(|verb| self.iter().any(|own| holds(own, theirs, verb))));
        may && are_covered(&other.0, self)
    }

    /// What both allow.
    pub fn intersect(&self, other: &PermissionSet) -> PermissionSet {
        PermissionSet::new(self.iter().flat_map(|a| other.iter().filter_map(|b| a.intersect(b))))
    }

    /// What either allows.
    pub fn union(&self, other: &PermissionSet) -> PermissionSet {
        PermissionSet::new(self.iter().chain(other.iter()).cloned())
    }

    /// What this allows and `other` does not.
    pub fn minus(&self, other: &PermissionSet) -> PermissionSet {
        PermissionSet::new(minus_all(self.iter().cloned().collect(), other, |_| true))
    }
}

/// Points of it may be allowed by different permissions.
fn is_compound(access: &Access) -> bool {
    access.resource.columns.as_ref().is_some_and(|columns| columns.len() > 1)
        || access.resource.path.iter().any(|name| name.as_ref() == "*")
}

/// Are all points of these within the set? Those that touch no column are looked at apart: what is left of a permission
/// when its columns are taken away one by one still allows them.
fn are_covered(permissions: &[Permission], set: &PermissionSet) -> bool {
    let with_columns = permissions.iter().filter(|permission| !permission.on.is_columnless()).cloned().collect();
    let without = |permission: &Permission| {
        let of = permission.of_no_column();
        Permission { on: Pattern { columns: Some(BTreeSet::new()), ..of.on }, ..of }
    };
    minus_all(with_columns, set, |left| !left.on.is_columnless()).is_empty()
        && minus_all(permissions.iter().map(without).collect(), set, |_| true).is_empty()
}

/// Of what is left after each step, what is `wanted`.
fn minus_all(mut left: Vec<Permission>, set: &PermissionSet, wanted: impl Fn(&Permission) -> bool) -> Vec<Permission> {
    left = left.into_iter().filter_map(simplify).filter(&wanted).collect();
    for taken in set.iter() {
        if !left.iter().any(|permission| permission.overlaps(taken)) {
            continue;
        }
        let mut next = Vec::with_capacity(left.len());
        for permission in left {
            permission.minus(taken, &mut next);
        }
        next.retain(&wanted);
        left = next;
    }
    left
}

/// The least that allows every one of these accesses: a proposal for a grant or a job description from what was seen.
/// Every set that allows them all covers it.
pub fn narrowest_cover(observed: &[Access]) -> PermissionSet {
    PermissionSet::new(observed.iter().map(Permission::exactly))
}
