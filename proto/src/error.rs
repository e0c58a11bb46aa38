//! Error details: how a status carries the field at fault and a reason for programs.

use prost::Message;
use tonic::{Code, Status};

use crate::rpc;

/// The domain of every [`rpc::ErrorInfo`] of this API.
pub const DOMAIN: &str = "assize";

/// Machine-readable reasons in [`rpc::ErrorInfo`]. Programs act on these, never on messages.
pub mod reason {
    pub const INVALID: &str = "INVALID";
    pub const NOT_FOUND: &str = "NOT_FOUND";
    pub const EXISTS: &str = "EXISTS";
    pub const CONFLICT: &str = "CONFLICT";
    pub const IN_USE: &str = "IN_USE";
    pub const SEPARATION_OF_DUTIES: &str = "SEPARATION_OF_DUTIES";
    pub const NOT_OPEN: &str = "NOT_OPEN";
    pub const TOO_MANY: &str = "TOO_MANY";
    pub const FEATURE_LEVEL: &str = "FEATURE_LEVEL";
    pub const FORBIDDEN: &str = "FORBIDDEN";
    pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
    /// It certainly did not happen.
    pub const NOT_COMMITTED: &str = "NOT_COMMITTED";
    /// It may have happened; repeating it with the same request id is safe.
    pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
    /// The answering node may not decide now.
    pub const NO_LEASE: &str = "NO_LEASE";
    pub const UNAVAILABLE: &str = "UNAVAILABLE";
}

/// One field at fault, by its path in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// A status with an `ErrorInfo`, and a `BadRequest` when fields are named.
pub fn status(code: Code, reason: &str, message: &str, fields: &[FieldError]) -> Status {
    let info = rpc::ErrorInfo { reason: reason.into(), domain: DOMAIN.into(), metadata: Default::default() };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    if !fields.is_empty() {
        let field_violations =
            fields.iter().map(|f| rpc::bad_request::FieldViolation { field: f.field.clone(), description: f.message.clone() }).collect();
        details.push(any("google.rpc.BadRequest", &rpc::BadRequest { field_violations }));
    }
    let rich = rpc::Status { code: code as i32, message: message.into(), details };
    Status::with_details(code, message, rich.encode_to_vec().into())
}

/// The reason and the fields a status carries; both empty when it came from elsewhere.
pub fn details(status: &Status) -> (String, Vec<FieldError>) {
    let mut reason = String::new();
    let mut fields = Vec::new();
    let rich = rpc::Status::decode(status.details()).unwrap_or_default();
    for detail in rich.details {
        match detail.type_url.as_str() {
            "type.googleapis.com/google.rpc.ErrorInfo" => {
                let info = rpc::ErrorInfo::decode(detail.value.as_ref()).unwrap_or_default();
                if info.domain == DOMAIN {
                    reason = info.reason;
                }
            }
            "type.googleapis.com/google.rpc.BadRequest" => {
                let bad = rpc::BadRequest::decode(detail.value.as_ref()).unwrap_or_default();
                fields.extend(bad.field_violations.into_iter().map(|v| FieldError { field: v.field, message: v.description }));
            }
            _ => {}
        }
    }
    (reason, fields)
}

fn any(type_name: &str, message: &impl Message) -> pbjson_types::Any {
    debug_assert_eq!(type_name.split('.').next(), Some("google"));
    pbjson_types::Any { type_url: format!("type.googleapis.com/{type_name}"), value: message.encode_to_vec().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_reason_survive_the_wire() {
        let fields = vec![FieldError { field: "target.address".into(), message: "not host:port".into() }];
        let sent = status(Code::InvalidArgument, reason::INVALID, "bad", &fields);
        assert_eq!(details(&sent), (reason::INVALID.to_owned(), fields));
    }

    #[test]
    fn a_foreign_status_has_no_reason() {
        assert_eq!(details(&Status::internal("x")), (String::new(), vec![]));
    }
}
