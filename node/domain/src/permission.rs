//! Permissions: patterns over accesses, and their algebra.
//!
//! Text form, one permission a line, used by the CLI, the API and `assize apply`:
//!
//! ```text
//! postgres:select,insert on app.public.orders(id,status)
//! postgres:select on app.public.*
//! postgres:select on app.*.* except app.secret.*
//! postgres:call on app.public.refund
//! postgres:* on *.*.*
//! assize:decide on request/*
//! ```

mod algebra;
mod canonical;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::operation::{Access, Protocol, Verb};
pub use algebra::narrowest_cover;
pub use text::{EXCEPTIONS_MAX, InvalidPermission, PERMISSION_TEXT_MAX};

/// A pattern for one path segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    Any,
    /// Exactly this.
    Exact(Arc<str>),
    /// Starts with this (written `prefix*`).
    Prefix(Arc<str>),
}

/// A pattern for a resource: as many segments as the protocol's paths have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    pub segments: Vec<Segment>,
    /// Only these columns; `None` allows all.
    pub columns: Option<BTreeSet<Arc<str>>>,
}

/// Verbs on resources that match `on` and none of `except`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    pub protocol: Protocol,
    pub verbs: BTreeSet<Verb>,
    pub on: Pattern,
    pub except: Vec<Pattern>,
}

/// What a grant, role or job description allows: the union of its permissions, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PermissionSet(Arc<[Permission]>);

impl PermissionSet {
    /// The canonical form of their union.
    pub fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        PermissionSet(canonical::canonical(permissions).into())
    }

    /// As it was stored, whatever today's canonical form is.
    pub(crate) fn as_stored(permissions: Vec<Permission>) -> Self {
        PermissionSet(permissions.into())
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Permission> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::ops::Index<usize> for PermissionSet {
    type Output = Permission;

    /// By place in [`PermissionSet::iter`].
    fn index(&self, place: usize) -> &Permission {
        &self.0[place]
    }
}

impl Permission {
    /// Does this permission alone allow `access`?
    pub fn allows(&self, access: &Access) -> bool {
        self.protocol == access.protocol
            && self.verbs.contains(&access.verb)
            && self.on.matches(access)
            && !self.except.iter().any(|exception| exception.overlaps_access(access))
    }
}

impl Pattern {
    /// Every resource that `access` may mean lies inside this pattern. A segment `*` in the access means "any", so
    /// only [`Segment::Any`] holds it; unknown columns need a pattern without a column list.
    fn matches(&self, access: &Access) -> bool {
        let resource = &access.resource;
        self.segments.len() == resource.path.len()
            && self.segments.iter().zip(&resource.path).all(|(s, r)| s.holds(r))
            && match (&self.columns, &resource.columns) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(allowed), Some(touched)) => touched.is_subset(allowed),
            }
    }

    /// Some resource that `access` may mean lies inside this pattern.
    fn overlaps_access(&self, access: &Access) -> bool {
        let resource = &access.resource;
        self.segments.len() == resource.path.len()
            && self.segments.iter().zip(&resource.path).all(|(s, r)| r.as_ref() == "*" || s.holds(r))
            && match (&self.columns, &resource.columns) {
                (None, _) => true,
                (Some(excepted), None) => !excepted.is_empty(),
                (Some(excepted), Some(touched)) => !touched.is_disjoint(excepted),
            }
    }
}

impl Segment {
    fn holds(&self, value: &str) -> bool {
        match self {
            Segment::Any => true,
            Segment::Exact(text) => value != "*" && text.as_ref() == value,
            Segment::Prefix(text) => value != "*" && value.starts_with(text.as_ref()),
        }
    }
}
