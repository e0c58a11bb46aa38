use domain::escape::{Shown, show};
use domain::request::{Ask, Decision, Request, RequestStatus};
use proto::admin as pb;

use super::{etag, permissions, span, text, timestamp};

pub(crate) fn to_wire(request: &Request) -> pb::AccessRequest {
    pb::AccessRequest {
        id: request.id.to_string(),
        principal: request.principal.to_string(),
        on_behalf_of: text(request.on_behalf_of.as_ref()),
        target: request.target.to_string(),
        ask: Some(ask(&request.ask)),
        reason: show(&request.reason).text,
        needed: request.needed,
        approvals: request.approvals.values().map(decision).collect(),
        status: Some(status(&request.status)),
        opened: Some(timestamp(request.opened)),
        expires: Some(timestamp(request.expires)),
        joined: request.joined,
        etag: etag(request.version),
    }
}

fn ask(ask: &Ask) -> pb::access_request::Ask {
    match ask {
        Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, under } => {
            let hold = under.as_ref().and_then(|under| under.hold.as_ref());
            let mut seen = Seen::default();
            pb::access_request::Ask::Exact(pb::ExactOperation {
                digest: digest.to_string(),
                statement: seen.show(statement),
                parameters: parameters.iter().map(|p| seen.show(p)).collect(),
                context: context.iter().map(|(name, value)| pb::NameAndValue { name: seen.show(name), value: seen.show(value) }).collect(),
                missing: missing.iter().map(|access| seen.show(&access.to_string())).collect(),
                job_version: job_version.map(|v| v.0).unwrap_or_default(),
                target_version: target_version.0,
                policy: text(under.as_ref().map(|under| &under.policy)),
                held_because: hold.map(|hold| seen.show(&hold.reason)).unwrap_or_default(),
                approvers: hold.map(|hold| hold.approvers.iter().map(ToString::to_string).collect()).unwrap_or_default(),
                non_ascii: seen.non_ascii,
                escaped: seen.escaped,
            })
        }
        Ask::Window { permissions: set, length } => {
            pb::access_request::Ask::Window(pb::Window { permissions: permissions(set), length: Some(span(*length)) })
        }
    }
}

/// What the reader should know about all texts of an operation together.
#[derive(Default)]
struct Seen {
    escaped: bool,
    non_ascii: bool,
}

impl Seen {
    fn show(&mut self, raw: &str) -> String {
        let Shown { text, escaped, non_ascii } = show(raw);
        self.escaped |= escaped;
        self.non_ascii |= non_ascii;
        text
    }
}

fn decision(decision: &Decision) -> pb::Decision {
    pb::Decision { by: decision.by.to_string(), at: Some(timestamp(decision.at)), reason: decision.reason.clone() }
}

fn status(status: &RequestStatus) -> pb::RequestStatus {
    use pb::request_status::{Approved, Expired, Pending, Reopened, Spent, Status, Withdrawn};
    let status = match status {
        RequestStatus::Pending => Status::Pending(Pending {}),
        RequestStatus::Approved { grant } => Status::Approved(Approved { grant: text(grant.as_ref()) }),
        RequestStatus::Denied(denied) => Status::Denied(decision(denied)),
        RequestStatus::Withdrawn { by } => Status::Withdrawn(Withdrawn { by: by.to_string() }),
        RequestStatus::Expired => Status::Expired(Expired {}),
        RequestStatus::Spent { by } => Status::Spent(Spent { session: by.session.to_string(), sequence: by.sequence }),
        RequestStatus::Reopened => Status::Reopened(Reopened {}),
    };
    pb::RequestStatus { status: Some(status) }
}
