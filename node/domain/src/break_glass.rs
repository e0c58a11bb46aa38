//! Break-glass: a person opens access now, without an approval, and answers for it afterwards.
//!
//! ```text
//! BreakGlass ──▶ a grant for hours, live at once ──expires, or is revoked──▶
//!     └────────▶ a review that is due ──ReviewBreakGlass, by somebody else──▶ justified, or not (the grant goes)
//!                     └──due date passes──▶ its breaker breaks no more glass until somebody has reviewed it
//! ```
//! Nothing of this waits for a job to run: whether a review is overdue is told by log time where it matters.

use crate::id::{BreakGlassId, GrantId, Index, Name};
use crate::request::Conflicted;
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    pub id: BreakGlassId,
    /// Who opened the access.
    pub by: Name,
    /// For whom: an agent, or the breaker.
    pub principal: Name,
    pub target: Name,
    pub grant: GrantId,
    pub reason: String,
    /// Of the incident, in whatever system keeps those.
    pub ticket: String,
    pub opened: LogTime,
    pub expires: LogTime,
    /// Until when somebody else must have looked at it.
    pub review_due: LogTime,
    /// Who must not review it, as it was when it was opened. Those in conflict at the time of the review come on top.
    pub conflicted: Conflicted,
    pub review: Option<Reviewed>,
    pub version: Index,
}

/// What somebody else found afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    pub by: Name,
    pub at: LogTime,
    pub justified: bool,
    pub note: String,
}

impl BreakGlass {
    pub fn is_overdue(&self, now: LogTime) -> bool {
        self.review.is_none() && self.review_due <= now
    }
}
