//! Admission: the review of one attempt to start a loop, and the permit it yields.

pub mod permit;

use crate::grant::Grant;
use crate::id::{GrantId, Index, Name, SessionId};
use crate::refusal::Refusal;
pub use permit::Permit;

/// An identified principal wants a session with a target.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub session: SessionId,
    pub principal: Name,
    pub on_behalf_of: Option<Name>,
    pub target: Name,
}

/// The outcome on record. `Modified` is admitted with less than was granted: the grants reached wider than the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Approved,
    Modified { dropped: Vec<String> },
    Revoked(Refusal),
}

/// The versions of all an admission read: the record cites them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cited {
    pub state: Index,
    pub principal: Index,
    pub owner: Option<Index>,
    pub target: Index,
    pub job: Option<Index>,
    pub grants: Vec<(GrantId, Index)>,
}

#[derive(Debug, Clone)]
pub struct Admission {
    pub outcome: Outcome,
    pub cited: Cited,
    /// There unless the outcome is `Revoked`.
    pub permit: Option<Permit>,
}

/// Kept private to admission: which of a principal's grants count for a target now.
#[derive(Debug, Clone)]
pub(crate) struct Counted<'a> {
    pub(crate) grant: &'a Grant,
}
