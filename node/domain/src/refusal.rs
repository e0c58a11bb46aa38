//! Refusal: why not, for the peer and for the record. Worded per protocol by the protocol's own `refusal.rs`.

use crate::id::{LockId, Name, RequestId, RevocationId};

/// Every reason an attempt or an operation can be turned away. The peer is told little (unknown and forbidden look
/// the same), the record all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    // at login
    UnknownPrincipal,
    WrongSecret,
    PrincipalInactive,
    OwnerInactive { owner: Name },
    NoJob,
    JobExpired,
    UnknownTarget,
    NoGrant,
    ReviewOverdue,
    GrantExpired,
    Locked { lock: LockId },
    // per operation
    NotGranted { missing: Vec<String> },
    Unparseable { message: String },
    Pinned { setting: String },
    Denied { request: RequestId, reason: String },
    RequestExpired { request: RequestId },
    /// Held long enough; the request stays open.
    Pending { request: RequestId },
    /// Beyond the permit inside an explicit transaction, where nothing is held.
    PendingInTransaction { request: RequestId },
    TooManyRequests { limit: u32 },
    StatementTooLong { limit: usize },
    Protocol { message: String },
    // the session ends
    Revoked { revocation: RevocationId, reason: String },
    // the cluster cannot decide or record
    NoLease,
    NotRecorded,
    OutcomeUnknown,
    Draining,
    TooManySessions { limit: u32 },
}

impl Refusal {
    /// Stable word for programs: in records, exports and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownPrincipal => "unknown-principal",
            Refusal::WrongSecret => "wrong-secret",
            Refusal::PrincipalInactive => "principal-inactive",
            Refusal::OwnerInactive { .. } => "owner-inactive",
            Refusal::NoJob => "no-job",
            Refusal::JobExpired => "job-expired",
            Refusal::UnknownTarget => "unknown-target",
            Refusal::NoGrant => "no-grant",
            Refusal::ReviewOverdue => "review-overdue",
            Refusal::GrantExpired => "grant-expired",
            Refusal::Locked { .. } => "locked",
            Refusal::NotGranted { .. } => "not-granted",
            Refusal::Unparseable { .. } => "unparseable",
            Refusal::Pinned { .. } => "pinned",
            Refusal::Denied { .. } => "denied",
            Refusal::RequestExpired { .. } => "request-expired",
            Refusal::Pending { .. } => "pending",
            Refusal::PendingInTransaction { .. } => "pending-in-transaction",
            Refusal::TooManyRequests { .. } => "too-many-requests",
            Refusal::StatementTooLong { .. } => "statement-too-long",
            Refusal::Protocol { .. } => "protocol",
            Refusal::Revoked { .. } => "revoked",
            Refusal::NoLease => "no-lease",
            Refusal::NotRecorded => "not-recorded",
            Refusal::OutcomeUnknown => "outcome-unknown",
            Refusal::Draining => "draining",
            Refusal::TooManySessions { .. } => "too-many-sessions",
        }
    }

    /// What the code leaves open, for the record; empty where it leaves nothing open. Never for the peer.
    pub fn detail(&self) -> String {
        match self {
            Refusal::OwnerInactive { owner } => owner.to_string(),
            Refusal::Locked { lock } => lock.to_string(),
            Refusal::NotGranted { missing } => missing.join("; "),
            Refusal::Unparseable { message } | Refusal::Protocol { message } => message.clone(),
            Refusal::Pinned { setting } => setting.clone(),
            Refusal::Denied { request, reason } => format!("{request}: {reason}"),
            Refusal::RequestExpired { request } | Refusal::Pending { request } | Refusal::PendingInTransaction { request } => request.to_string(),
            Refusal::TooManyRequests { limit } | Refusal::TooManySessions { limit } => format!("at most {limit}"),
            Refusal::StatementTooLong { limit } => format!("at most {limit} bytes"),
            Refusal::Revoked { revocation, reason } => format!("{revocation}: {reason}"),
            Refusal::UnknownPrincipal
            | Refusal::WrongSecret
            | Refusal::PrincipalInactive
            | Refusal::NoJob
            | Refusal::JobExpired
            | Refusal::UnknownTarget
            | Refusal::NoGrant
            | Refusal::ReviewOverdue
            | Refusal::GrantExpired
            | Refusal::NoLease
            | Refusal::NotRecorded
            | Refusal::OutcomeUnknown
            | Refusal::Draining => String::new(),
        }
    }
}
