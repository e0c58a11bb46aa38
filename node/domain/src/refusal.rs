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
