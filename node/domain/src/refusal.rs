//! Refusal: why not, for the peer and for the record. Worded per protocol by the protocol's own `refusal.rs`.

use crate::id::{LockId, Name, PolicyId, RequestId, RevocationId};

/// Every reason an attempt or an operation can be turned away. The peer is told little (unknown and forbidden look
/// the same), the record all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    // at login
    UnknownPrincipal,
    WrongSecret,
    PrincipalInactive,
    OwnerInactive {
        owner: Name,
    },
    NoJob,
    JobExpired,
    UnknownTarget,
    /// The client names a run in a way that cannot be put on record.
    InvalidRun {
        message: String,
    },
    NoGrant,
    ReviewOverdue,
    GrantExpired,
    Locked {
        lock: LockId,
        reason: String,
    },
    // at login and per operation
    Policy {
        policy: PolicyId,
        reason: String,
    },
    // per operation
    NotGranted {
        missing: Vec<String>,
    },
    Unparseable {
        message: String,
    },
    Pinned {
        setting: String,
    },
    Denied {
        request: RequestId,
        reason: String,
    },
    RequestExpired {
        request: RequestId,
    },
    /// Held long enough; the request stays open.
    Pending {
        request: RequestId,
    },
    /// Beyond the permit inside an explicit transaction, where nothing is held.
    PendingInTransaction {
        request: RequestId,
    },
    TooManyRequests {
        limit: u32,
    },
    StatementTooLong {
        limit: usize,
    },
    Protocol {
        message: String,
    },
    // the session ends
    Revoked {
        revocation: RevocationId,
        reason: String,
    },
    // the cluster cannot decide or record
    NoLease,
    NotRecorded,
    OutcomeUnknown,
    Draining,
    TooManySessions {
        limit: u32,
    },
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
            Refusal::InvalidRun { .. } => "invalid-run",
            Refusal::NoGrant => "no-grant",
            Refusal::ReviewOverdue => "review-overdue",
            Refusal::GrantExpired => "grant-expired",
            Refusal::Locked { .. } => "locked",
            Refusal::Policy { .. } => "policy",
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
            Refusal::Locked { lock, reason } => format!("{lock}: {reason}"),
            Refusal::Policy { policy, reason } => format!("{policy}: {reason}"),
            Refusal::NotGranted { missing } => missing.join("; "),
            Refusal::Unparseable { message } | Refusal::Protocol { message } | Refusal::InvalidRun { message } => message.clone(),
            Refusal::Pinned { setting } => setting.clone(),
            Refusal::Denied { request, reason } => format!("{request}: {reason}"),
            Refusal::RequestExpired { request } | Refusal::Pending { request } | Refusal::PendingInTransaction { request } => {
                request.to_string()
            }
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

/// For the record and the operator. What the peer reads is worded by its protocol, which tells less.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::UnknownPrincipal => f.write_str("the principal is not known"),
            Refusal::WrongSecret => f.write_str("the secret is wrong"),
            Refusal::PrincipalInactive => f.write_str("the principal, or whom it acts for, is not active"),
            Refusal::OwnerInactive { owner } => write!(f, "its owner {owner} is not active"),
            Refusal::NoJob => f.write_str("the agent has no job description"),
            Refusal::JobExpired => f.write_str("its job description has expired"),
            Refusal::UnknownTarget => f.write_str("the target is not known"),
            Refusal::InvalidRun { message } => write!(f, "the run is not valid: {message}"),
            Refusal::NoGrant => f.write_str("no grant covers this target"),
            Refusal::ReviewOverdue => f.write_str("the review of its grant is overdue"),
            Refusal::GrantExpired => f.write_str("its grant has expired"),
            Refusal::Locked { lock, reason } => write!(f, "locked: {reason} ({lock})"),
            Refusal::Policy { policy, reason } => write!(f, "refused by {policy}: {reason}"),
            Refusal::NotGranted { missing } => write!(f, "not granted: {}", missing.join("; ")),
            Refusal::Unparseable { message } => write!(f, "cannot be parsed: {message}"),
            Refusal::Pinned { setting } => write!(f, "the setting {setting} is pinned"),
            Refusal::Denied { request, reason } => write!(f, "{request} was denied: {reason}"),
            Refusal::RequestExpired { request } => write!(f, "{request} has expired"),
            Refusal::Pending { request } => write!(f, "{request} waits for a decision"),
            Refusal::PendingInTransaction { request } => write!(f, "{request} waits for a decision; nothing is held inside a transaction"),
            Refusal::TooManyRequests { limit } => write!(f, "{limit} requests are pending already"),
            Refusal::StatementTooLong { limit } => write!(f, "the statement is longer than {limit} bytes"),
            Refusal::Protocol { message } => write!(f, "protocol violation: {message}"),
            Refusal::Revoked { revocation, reason } => write!(f, "{revocation}: {reason}"),
            Refusal::NoLease => f.write_str("this node holds no lease"),
            Refusal::NotRecorded => f.write_str("its record could not be committed"),
            Refusal::OutcomeUnknown => f.write_str("the outcome is unknown"),
            Refusal::Draining => f.write_str("this node is draining"),
            Refusal::TooManySessions { limit } => write!(f, "{limit} sessions are open already"),
        }
    }
}
