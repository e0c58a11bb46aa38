//! Grant: principal × target selector × permissions. The only source of access.

use std::collections::{BTreeMap, BTreeSet};

use planted::{Bug, planted};

use crate::id::{BreakGlassId, GrantId, Index, Name, RequestId, ReviewId, RevocationId};
use crate::permission::PermissionSet;
use crate::target::Target;
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    /// Set when `assize apply` made it, so that applying again finds it.
    pub name: Option<Name>,
    pub principal: Name,
    pub target: TargetSelector,
    pub permissions: PermissionSet,
    pub roles: BTreeSet<Name>,
    pub valid_from: Option<LogTime>,
    pub expires: Option<LogTime>,
    pub review_due: Option<LogTime>,
    /// The review that set `review_due`: applying a file does not move it.
    pub under_review: Option<ReviewId>,
    /// Ask the leader for a read index before every operation under this grant.
    pub strict: bool,
    pub source: GrantSource,
    pub status: GrantStatus,
    pub granted_by: Name,
    pub granted: LogTime,
    pub version: Index,
    pub narrowed: Index,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetSelector {
    Name(Name),
    /// All of these labels must be there, with these values; at least one.
    Labels(BTreeMap<String, String>),
    /// The gateway's own administration.
    Assize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantSource {
    Baseline,
    /// Made by `assize apply`.
    Declared,
    Request(RequestId),
    /// Narrowed by people in a review: `assize apply` owns it no more.
    Review(ReviewId),
    /// Opened at once by a person who answers for it afterwards.
    BreakGlass(BreakGlassId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantStatus {
    Active,
    /// By `cluster recover`, until a person confirms it.
    Suspended {
        reason: String,
    },
    /// Kept as a tombstone: applying it again is a conflict until a person issues a new one.
    Revoked {
        by: Name,
        at: LogTime,
        reason: String,
        revocation: RevocationId,
    },
}

impl TargetSelector {
    pub fn selects(&self, target: &Target) -> bool {
        match self {
            TargetSelector::Name(name) => *name == target.name,
            TargetSelector::Labels(labels) => !labels.is_empty() && labels.iter().all(|(k, v)| target.labels.get(k) == Some(v)),
            TargetSelector::Assize => false,
        }
    }
}

impl Grant {
    /// Live: active, begun, not expired, its review not overdue. `now` is log time.
    pub fn is_live(&self, now: LogTime) -> bool {
        (matches!(self.status, GrantStatus::Active) || planted(Bug::RevokedStaysLive))
            && self.valid_from.is_none_or(|from| from <= now)
            && self.expires.is_none_or(|end| now < end)
            && self.review_due.is_none_or(|due| now < due)
    }

    /// The next moment at which [`Grant::is_live`] changes by itself, after `now`.
    pub fn next_change(&self, now: LogTime) -> Option<LogTime> {
        [self.valid_from, self.expires, self.review_due].into_iter().flatten().filter(|t| *t > now).min()
    }
}
