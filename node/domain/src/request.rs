//! Access request: asks for more than is granted. Approvals answer it, n of m.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{Digest, GrantId, Index, Name, OperationId, RequestId};
use crate::operation::Access;
use crate::permission::PermissionSet;
use crate::policy::{AskedUnder, Hold};
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub id: RequestId,
    pub principal: Name,
    /// On whose behalf the principal acts, where it said so.
    pub on_behalf_of: Option<Name>,
    pub target: Name,
    pub ask: Ask,
    pub reason: String,
    /// Who must not decide, as it was when the request was opened: handing the agent to another owner meanwhile
    /// frees nobody. Those in conflict at the time of the decision come on top.
    pub conflicted: Conflicted,
    pub needed: u32,
    pub approvals: BTreeMap<Name, Decision>,
    pub status: RequestStatus,
    pub opened: LogTime,
    pub expires: LogTime,
    /// Identical requests that joined this one.
    pub joined: u64,
    pub version: Index,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// One operation, exactly as it would be executed.
    Exact {
        digest: Digest,
        /// Full text for the approver, at most [`STATEMENT_SHOWN_MAX`] bytes; longer statements are refused, not cut.
        statement: String,
        /// Bound parameters rendered for the approver.
        parameters: Vec<String>,
        /// Database, effective role, search path and pinned settings.
        context: Vec<(String, String)>,
        /// What was missing.
        missing: Vec<Access>,
        job_version: Option<Index>,
        target_version: Index,
        /// The policy that was active, and what it demands.
        under: Option<AskedUnder>,
    },
    /// Permissions for a while.
    Window { permissions: PermissionSet, length: Duration },
}

/// Bytes of statement text a request carries for the approver.
pub const STATEMENT_SHOWN_MAX: usize = 64 * 1024;

impl Ask {
    /// Does the policy it was opened under let this person decide? Without one that says, everybody who may.
    pub fn admits(&self, approver: &Name) -> bool {
        match self {
            Ask::Exact { under: Some(AskedUnder { hold: Some(hold), .. }), .. } => {
                hold.approvers.is_empty() || hold.approvers.contains(approver)
            }
            Ask::Exact { .. } | Ask::Window { .. } => true,
        }
    }

    /// How many approvals the policy demands at least.
    pub(crate) fn approvals(&self) -> u32 {
        match self {
            Ask::Exact { under: Some(AskedUnder { hold: Some(hold), .. }), .. } => hold.approvals,
            Ask::Exact { .. } | Ask::Window { .. } => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub by: Name,
    pub at: LogTime,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestStatus {
    Pending,
    /// May be spent until the request expires. A window has become a grant.
    Approved {
        grant: Option<GrantId>,
    },
    Denied(Decision),
    Withdrawn {
        by: Name,
    },
    Expired,
    Spent {
        by: OperationId,
    },
    /// A version it was judged under changed meanwhile: it must be decided anew.
    Reopened,
}

impl RequestStatus {
    /// Can still be decided on.
    pub fn is_open(&self) -> bool {
        match self {
            RequestStatus::Pending | RequestStatus::Reopened => true,
            RequestStatus::Approved { .. }
            | RequestStatus::Denied(_)
            | RequestStatus::Withdrawn { .. }
            | RequestStatus::Expired
            | RequestStatus::Spent { .. } => false,
        }
    }
}

impl Request {
    /// Its approvals meet these demands: it asked for as many, from nobody else than these.
    pub(crate) fn satisfies(&self, hold: &Hold) -> bool {
        let named = self.approvals.keys().all(|by| hold.approvers.is_empty() || hold.approvers.contains(by));
        named && self.needed >= hold.approvals
    }
}

/// Who must not decide: the principal, its owners, those it acts for, and who opened the request.
pub type Conflicted = BTreeSet<Name>;

impl RequestStatus {
    /// For people: what became of it.
    pub fn in_words(&self) -> &'static str {
        match self {
            RequestStatus::Pending => "pending",
            RequestStatus::Approved { .. } => "approved",
            RequestStatus::Denied(_) => "denied",
            RequestStatus::Withdrawn { .. } => "withdrawn",
            RequestStatus::Expired => "expired",
            RequestStatus::Spent { .. } => "spent",
            RequestStatus::Reopened => "reopened",
        }
    }
}
