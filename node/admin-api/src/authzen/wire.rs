//! The JSON of AuthZEN. Unknown members are passed over, as it demands; names are compared exactly.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::id::Name;
use domain::operation::{Access, Resource};
use domain::permission::{Permission, PermissionSet, Segment};
use serde::{Deserialize, Serialize};

use super::{Caller, EVALUATION, Problem, REQUESTS};
use crate::asked::{Asked, What};

#[derive(Debug, Deserialize)]
pub(super) struct Evaluation {
    pub(super) subject: Entity,
    pub(super) resource: Entity,
    pub(super) action: Action,
    #[serde(default)]
    pub(super) context: Context,
}

#[derive(Debug, Deserialize)]
pub(super) struct Submission {
    #[serde(flatten)]
    pub(super) evaluation: Evaluation,
    #[serde(default)]
    pub(super) requested_access: RequestedAccess,
    pub(super) denial: Denial,
}

#[derive(Debug, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) properties: Properties,
}

/// Of a resource, which target it is at, or which of its databases.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Properties {
    #[serde(default)]
    target: String,
    #[serde(default)]
    database: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Action {
    name: String,
    #[serde(default)]
    properties: ActionProperties,
}

#[derive(Debug, Default, Deserialize)]
struct ActionProperties {
    statement: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Context {
    /// Why the access is needed, for the approver.
    #[serde(default)]
    pub(super) reason: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RequestedAccess {
    /// RFC 3339.
    pub(super) requested_until: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Denial {
    #[serde(default)]
    pub(super) binding_token: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Decision {
    pub(super) decision: bool,
    pub(super) context: DecisionContext,
}

#[derive(Debug, Serialize)]
pub(super) struct DecisionContext {
    pub(super) evaluated_at: String,
    /// The control index it was decided at.
    pub(super) index: u64,
    /// Of the admission review: `approved`, `modified`, `revoked`.
    pub(super) outcome: &'static str,
    /// `allow`, `hold`, `refuse`.
    pub(super) verdict: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) reason: String,
    /// What is not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_request: Option<Offer>,
}

/// A denial that can be asked about.
#[derive(Debug, Serialize)]
pub(super) struct Offer {
    pub(super) endpoint: String,
    pub(super) expires_at: String,
    pub(super) binding_token: String,
}

#[derive(Debug, Serialize)]
pub(super) struct TaskAnswer {
    pub(super) task: Task,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Completion>,
}

#[derive(Debug, Serialize)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) status: &'static str,
    pub(super) status_endpoint: String,
    pub(super) expires_at: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) reason: String,
    pub(super) approvals: usize,
    pub(super) approvals_needed: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Completion {
    pub(super) mode: &'static str,
    pub(super) approval: Approval,
}

#[derive(Debug, Serialize)]
pub(super) struct Approval {
    pub(super) id: String,
    pub(super) approved_at: String,
    pub(super) approved_until: String,
    /// `open`, or `spent` where it was for one exact statement, which has been run.
    pub(super) state: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_request_endpoint: String,
    capabilities: [&'static str; 1],
}

pub(super) fn metadata(base: &str) -> Metadata {
    Metadata {
        policy_decision_point: base.to_owned(),
        access_evaluation_endpoint: format!("{base}{EVALUATION}"),
        access_request_endpoint: format!("{base}{REQUESTS}"),
        capabilities: ["urn:openid:authzen:capability:access-request"],
    }
}

pub(super) fn json(status: StatusCode, message: &impl Serialize) -> Response {
    let body = serde_json::to_vec(message).expect("plain data has a JSON form");
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the body: {error}")))
}

impl Evaluation {
    /// What is asked, by the caller and for the caller alone.
    ///
    /// ```text
    /// resource { type: "target", id: TARGET, properties.database }   action { name: "execute", properties.statement }
    /// resource { type: "postgres", id: PATH, properties.target }     action { name: VERB }
    /// ```
    pub(super) fn asked(&self, caller: &Caller) -> Result<Asked, Problem> {
        if !matches!(self.subject.kind.as_str(), "agent" | "person" | "principal") {
            return Err(Problem::invalid("subject.type: expected \"agent\", \"person\" or \"principal\""));
        }
        if self.subject.id != caller.name.as_str() {
            return Err(Problem::forbidden("subject.id: nobody asks for another; the token is of another principal"));
        }
        let target = |field: &str, name: &str| name.parse::<Name>().map_err(|error| Problem::invalid(format!("{field}: {error}")));
        let (target, what) = match (self.resource.kind.as_str(), self.action.name.as_str(), &self.action.properties.statement) {
            ("target", "execute", Some(statement)) => {
                let database = self.resource.properties.database.clone();
                (target("resource.id", &self.resource.id)?, What::Statement { database, statement: statement.clone() })
            }
            ("target", "execute", None) => return Err(Problem::invalid("action.properties.statement: is needed")),
            ("target", ..) => return Err(Problem::invalid("action.name: a target takes \"execute\"")),
            ("postgres", verb, _) => {
                let text = format!("postgres:{verb} on {}", self.resource.id);
                let permission: Permission =
                    text.parse().map_err(|error| Problem::invalid(format!("action.name on resource.id: {error}")))?;
                let accesses = accesses(&permission)?;
                let permissions = PermissionSet::new([permission]);
                (target("resource.properties.target", &self.resource.properties.target)?, What::Accesses { accesses, permissions })
            }
            _ => return Err(Problem::invalid("resource.type: expected \"target\" or \"postgres\"")),
        };
        Ok(Asked { principal: caller.name.clone(), target, what })
    }

    /// Stands for what was asked: a denial is bound to it.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let statement = self.action.properties.statement.as_deref().unwrap_or_default();
        let properties = &self.resource.properties;
        let parts =
            [&self.resource.kind, &self.resource.id, &properties.target, &properties.database, &self.action.name].map(String::as_str);
        for part in parts.into_iter().chain([statement]) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        data_encoding::HEXLOWER.encode(hash.finish().as_ref())
    }
}

fn accesses(permission: &Permission) -> Result<Vec<Access>, Problem> {
    let segment = |segment: &Segment| match segment {
        Segment::Any => Ok("*".to_owned()),
        Segment::Exact(text) => Ok(text.to_string()),
        Segment::Prefix(_) => Err(Problem::invalid("resource.id: one resource, or * for any; no prefix*")),
    };
    if !permission.except.is_empty() {
        return Err(Problem::invalid("resource.id: has no exceptions"));
    }
    let path: Vec<String> = permission.on.segments.iter().map(segment).collect::<Result<_, _>>()?;
    let mut resource = Resource::new(path);
    resource.columns.clone_from(&permission.on.columns);
    let one = |verb: &domain::operation::Verb| Access { protocol: permission.protocol, verb: *verb, resource: resource.clone() };
    Ok(permission.verbs.iter().map(one).collect())
}
