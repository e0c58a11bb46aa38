//! Verdict: what is decided on one operation.

use crate::id::{GrantId, RequestId};
use crate::operation::Access;
use crate::refusal::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every access is covered; the grants that cover them, for the record.
    Allow {
        grants: Vec<GrantId>,
    },
    /// Covered by an approval that must be spent first.
    AllowByApproval {
        request: RequestId,
    },
    /// Not covered, but may be asked for: opens a request.
    Hold {
        missing: Vec<Access>,
    },
    Refuse(Refusal),
    /// The session itself may not go on.
    EndSession(Refusal),
}
