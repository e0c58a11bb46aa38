//! What went wrong, worded for callers: a code, a reason for programs, and the field at fault. Never an internal string.

use domain::command::Rejection;
use proto::error::{FieldError, reason, status};
use tonic::{Code, Status};

use crate::control::ControlError;

/// A command that the log refused. `noun` is the message field the entity stands in, so that `address` becomes
/// `target.address`; empty where the command's fields stand in the request itself.
pub(crate) fn rejected(noun: &str, rejection: &Rejection) -> Status {
    let message = rejection.to_string();
    let (code, why) = match rejection {
        Rejection::NotFound { .. } => (Code::NotFound, reason::NOT_FOUND),
        Rejection::Exists { .. } => (Code::AlreadyExists, reason::EXISTS),
        Rejection::Conflict { .. } => (Code::Aborted, reason::CONFLICT),
        Rejection::Invalid { field, message: what } => {
            let field = if noun.is_empty() { field.clone() } else { format!("{noun}.{field}") };
            return invalid(&[FieldError { field, message: what.clone() }]);
        }
        Rejection::InUse { .. } => (Code::FailedPrecondition, reason::IN_USE),
        Rejection::SeparationOfDuties { .. } => (Code::PermissionDenied, reason::SEPARATION_OF_DUTIES),
        Rejection::NotOpen { .. } | Rejection::AlreadySpent { .. } | Rejection::ReviewClosed { .. } => {
            (Code::FailedPrecondition, reason::NOT_OPEN)
        }
        Rejection::TooMany { .. } => (Code::ResourceExhausted, reason::TOO_MANY),
        Rejection::FeatureLevel { .. } => (Code::FailedPrecondition, reason::FEATURE_LEVEL),
        Rejection::Forbidden { .. } => (Code::PermissionDenied, reason::FORBIDDEN),
    };
    status(code, why, &message, &[])
}

pub(crate) fn control(error: &ControlError) -> Status {
    let (code, why) = match error {
        ControlError::NotCommitted(_) => (Code::Unavailable, reason::NOT_COMMITTED),
        // Not UNAVAILABLE: that is what clients repeat by themselves, and only the same request id makes it safe.
        ControlError::Unknown(_) => (Code::Aborted, reason::OUTCOME_UNKNOWN),
        ControlError::Unavailable(_) => (Code::Unavailable, reason::UNAVAILABLE),
        ControlError::NotFound(_) => (Code::NotFound, reason::NOT_FOUND),
        ControlError::Refused(_) => (Code::FailedPrecondition, reason::INVALID),
    };
    status(code, why, &error.to_string(), &[])
}

/// One status that names every field at fault.
pub(crate) fn invalid(fields: &[FieldError]) -> Status {
    let message = fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect::<Vec<_>>().join("; ");
    status(Code::InvalidArgument, reason::INVALID, &message, fields)
}

pub(crate) fn invalid_field(field: &str, message: impl Into<String>) -> Status {
    invalid(&[FieldError { field: field.into(), message: message.into() }])
}

pub(crate) fn not_found(what: &str) -> Status {
    status(Code::NotFound, reason::NOT_FOUND, &format!("{what} does not exist"), &[])
}

pub(crate) fn forbidden(needs: &str) -> Status {
    status(Code::PermissionDenied, reason::FORBIDDEN, &format!("this needs a grant on assize with {needs}"), &[])
}

/// One wording for every way of not being known.
pub(crate) fn unauthenticated() -> Status {
    let message = "a live admin token (authorization: Bearer …) or a client certificate of this cluster is needed";
    status(Code::Unauthenticated, reason::UNAUTHENTICATED, message, &[])
}

pub(crate) fn no_lease() -> Status {
    let message = "this node holds no serving lease now, so it decides nothing; ask another node";
    status(Code::Unavailable, reason::NO_LEASE, message, &[])
}
