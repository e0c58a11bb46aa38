//! How a command ends: its exit status and its words.

use std::fmt;
use std::path::Path;

use proto::error::{self, FieldError, reason};
use tonic::{Code, Status};

pub const EXIT_FAILED: u8 = 1;
pub const EXIT_USAGE: u8 = 2;
pub const EXIT_UNKNOWN: u8 = 3;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, or it failed; nothing was done that the words do not tell.
    Failed(String),
    /// The command itself is wrong.
    Usage(String),
    /// It may or may not have been done. Safe to repeat with this request id.
    Unknown { request_id: String, message: String },
    /// Whoever reads our output has left.
    ReaderLeft,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(message) | Failure::Usage(message) => f.write_str(message),
            Failure::Unknown { request_id, message } => {
                write!(f, "outcome unknown: {message}\n  repeating it is safe with --request-id {request_id}")
            }
            Failure::ReaderLeft => f.write_str("the output's reader left"),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::Failed(message.into())
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// A file that was named cannot be used.
    pub fn of_file(path: &Path, why: impl fmt::Display) -> Failure {
        Failure::usage(format!("{}: {why}", path.display()))
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) | Failure::ReaderLeft => EXIT_FAILED,
            Failure::Usage(_) => EXIT_USAGE,
            Failure::Unknown { .. } => EXIT_UNKNOWN,
        }
    }

    pub fn is_silent(&self) -> bool {
        matches!(self, Failure::ReaderLeft)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// What a status means for a caller that may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An answer: no node would answer otherwise.
    Answered,
    /// Certainly nothing was done; another node may do better.
    TryElsewhere,
    /// A change may or may not have been made.
    Unknown,
}

/// `change`: the call changes something, so a lost answer leaves its outcome unknown.
pub(crate) fn meaning(status: &Status, change: bool) -> Meaning {
    let (why, _) = error::details(status);
    match why.as_str() {
        reason::OUTCOME_UNKNOWN => Meaning::Unknown,
        reason::NO_LEASE | reason::NOT_COMMITTED | reason::UNAVAILABLE => Meaning::TryElsewhere,
        "" => match status.code() {
            // The transport's own: the connection broke, or the deadline passed.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal if change => Meaning::Unknown,
            Code::Unavailable | Code::Unknown | Code::Cancelled => Meaning::TryElsewhere,
            _ => Meaning::Answered,
        },
        _ => Meaning::Answered,
    }
}

/// The words of a refusal: fields by name, one a line.
pub(crate) fn refused(status: &Status) -> Failure {
    let (_, fields) = error::details(status);
    let message = match fields.as_slice() {
        [] => status.message().to_owned(),
        [FieldError { field, message }] => format!("{field}: {message}"),
        many => many.iter().fold("several fields are wrong:".to_owned(), |text, f| format!("{text}\n  {}: {}", f.field, f.message)),
    };
    Failure::Failed(if message.is_empty() { format!("{:?}", status.code()) } else { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_to_a_change_is_unknown_and_to_a_question_is_not() {
        let lost = Status::unavailable("connection reset");
        assert_eq!(meaning(&lost, true), Meaning::Unknown);
        assert_eq!(meaning(&lost, false), Meaning::TryElsewhere);
    }

    #[test]
    fn a_node_without_a_lease_did_nothing() {
        let status = error::status(Code::Unavailable, reason::NO_LEASE, "", &[]);
        assert_eq!(meaning(&status, true), Meaning::TryElsewhere);
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let fields = ["a", "b"].map(|f| FieldError { field: f.into(), message: "is needed".into() });
        let status = error::status(Code::InvalidArgument, reason::INVALID, "x", &fields);
        assert_eq!(refused(&status).to_string(), "several fields are wrong:\n  a: is needed\n  b: is needed");
    }
}
