//! What went wrong, as RFC 9457 problem details; the types are the profile's where it has one.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::command::Rejection;
use serde::Serialize;

use crate::call::NotApplied;
use crate::control::ControlError;

const OF_REQUESTS: &str = "urn:openid:authzen:access-request:error:";

#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Of the profile's own errors, or empty.
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into(), retry_after: None }
    }

    fn after(mut self, wait: Duration) -> Problem {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "", detail)
    }

    /// One wording for every way of not being known.
    pub(crate) fn unauthenticated() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "", "a live token is needed: Authorization: Bearer …")
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "", detail)
    }

    pub(crate) fn too_large() -> Problem {
        let detail = format!("at most {} bytes are taken", crate::limits::AUTHZEN_BODY_MAX);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "", detail)
    }

    pub(crate) fn too_many(wait: Duration) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "", "this principal asks too often").after(wait)
    }

    pub(crate) fn no_lease() -> Problem {
        let detail = "this node holds no serving lease now, so it decides nothing; ask another node";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "", detail).after(Duration::from_secs(1))
    }

    pub(crate) fn late() -> Problem {
        let detail = "not done in time; what was submitted may have been taken: repeat it with the same Idempotency-Key";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "", detail).after(Duration::from_secs(1))
    }

    pub(crate) fn unknown_task() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "unknown_task", "no access request of yours has this id")
    }

    pub(crate) fn not_requestable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "not_requestable", detail)
    }

    pub(crate) fn invalid_denial_binding() -> Problem {
        let detail = "denial.binding_token is not of a denial of this subject, resource and action";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_denial_binding", detail)
    }

    pub(crate) fn expired_denial() -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "expired_denial", "the denial is too old: evaluate again")
    }

    pub(crate) fn invalid_task_state(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "invalid_task_state", detail)
    }
}

/// What the log refused.
impl From<&Rejection> for Problem {
    fn from(rejection: &Rejection) -> Problem {
        match rejection {
            Rejection::TooMany { .. } => Problem::new(StatusCode::TOO_MANY_REQUESTS, "", rejection.to_string()),
            Rejection::Forbidden { .. } | Rejection::SeparationOfDuties { .. } => Problem::forbidden(rejection.to_string()),
            Rejection::NotOpen { .. } | Rejection::AlreadySpent { .. } => Problem::invalid_task_state(rejection.to_string()),
            Rejection::Invalid { .. } => Problem::invalid(rejection.to_string()),
            Rejection::NotFound { .. }
            | Rejection::Exists { .. }
            | Rejection::Conflict { .. }
            | Rejection::InUse { .. }
            | Rejection::FeatureLevel { .. }
            | Rejection::ReviewClosed { .. } => Problem::not_requestable("this cannot be asked for now: evaluate again"),
        }
    }
}

impl From<NotApplied> for Problem {
    fn from(why: NotApplied) -> Problem {
        match why {
            NotApplied::Rejected(rejection) => Problem::from(&rejection),
            NotApplied::Failed(error) => Problem::from(error),
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Problem {
        match error {
            ControlError::Unknown(_) => Problem::late(),
            ControlError::NotCommitted(_) | ControlError::Unavailable(_) | ControlError::NotFound(_) | ControlError::Refused(_) => {
                let detail = "not done: the cluster could not commit it; ask again, or another node";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "", detail).after(Duration::from_secs(1))
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = if self.code.is_empty() { "about:blank".to_owned() } else { format!("{OF_REQUESTS}{}", self.code) };
        let title = self.status.canonical_reason().unwrap_or_default();
        let details = Details { kind, title, status: self.status.as_u16(), detail: &self.detail };
        let mut response = super::wire::json(self.status, &details);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}
