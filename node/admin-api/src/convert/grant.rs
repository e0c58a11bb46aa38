use domain::command::Command;
use domain::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use domain::time::LogTime;
use proto::admin as pb;

use super::fields::Fields;
use super::{etag, permissions, text, timestamp};

pub(crate) fn to_wire(grant: &Grant, now: LogTime) -> pb::Grant {
    pb::Grant {
        id: grant.id.to_string(),
        name: text(grant.name.as_ref()),
        principal: grant.principal.to_string(),
        target: Some(selector_to_wire(&grant.target)),
        permissions: permissions(&grant.permissions),
        roles: grant.roles.iter().map(ToString::to_string).collect(),
        valid_from: grant.valid_from.map(timestamp),
        expires: grant.expires.map(timestamp),
        review_due: grant.review_due.map(timestamp),
        strict: grant.strict,
        source: Some(source_to_wire(&grant.source)),
        status: Some(status_to_wire(&grant.status)),
        granted_by: grant.granted_by.to_string(),
        granted: Some(timestamp(grant.granted)),
        etag: etag(grant.version),
        live: grant.is_live(now),
        under_review: text(grant.under_review.as_ref()),
        usage: None,
    }
}

fn selector_to_wire(selector: &TargetSelector) -> pb::TargetSelector {
    use pb::target_selector::{Assize, Labels, Selector};
    let selector = match selector {
        TargetSelector::Name(name) => Selector::Name(name.to_string()),
        TargetSelector::Labels(labels) => Selector::Labels(Labels { labels: labels.clone() }),
        TargetSelector::Assize => Selector::Assize(Assize {}),
    };
    pb::TargetSelector { selector: Some(selector) }
}

fn source_to_wire(source: &GrantSource) -> pb::GrantSource {
    use pb::grant_source::{Baseline, Declared, Source};
    let source = match source {
        GrantSource::Baseline => Source::Baseline(Baseline {}),
        GrantSource::Declared => Source::Declared(Declared {}),
        GrantSource::Request(request) => Source::Request(request.to_string()),
        GrantSource::Review(review) => Source::Review(review.to_string()),
        GrantSource::BreakGlass(broken) => Source::BreakGlass(broken.to_string()),
    };
    pb::GrantSource { source: Some(source) }
}

fn status_to_wire(status: &GrantStatus) -> pb::GrantStatus {
    use pb::grant_status::{Active, Revoked, Status, Suspended};
    let status = match status {
        GrantStatus::Active => Status::Active(Active {}),
        GrantStatus::Suspended { reason } => Status::Suspended(Suspended { reason: reason.clone() }),
        GrantStatus::Revoked { by, at, reason, revocation } => Status::Revoked(Revoked {
            by: by.to_string(),
            at: Some(timestamp(*at)),
            reason: reason.clone(),
            revocation: revocation.to_string(),
        }),
    };
    pb::GrantStatus { status: Some(status) }
}

pub(crate) fn issue(f: &mut Fields, grant: pb::Grant) -> Option<Command> {
    let name = f.parse_optional("grant.name", &grant.name);
    let principal = f.parse("grant.principal", &grant.principal);
    let target = f.present("grant.target", grant.target.and_then(|t| t.selector)).and_then(|s| selector(f, s));
    let permissions = f.permissions("grant.permissions", &grant.permissions);
    let roles = f.names("grant.roles", &grant.roles);
    if grant.permissions.is_empty() && grant.roles.is_empty() {
        f.fault::<()>("grant.permissions", "a grant has permissions or roles");
    }
    let valid_from = f.time("grant.valid_from", grant.valid_from.as_ref());
    let expires = f.time("grant.expires", grant.expires.as_ref());
    let review_due = f.time("grant.review_due", grant.review_due.as_ref());
    let source = source(f, grant.source);
    Some(Command::IssueGrant {
        name: name?,
        principal: principal?,
        target: target?,
        permissions: permissions?,
        roles: roles?,
        valid_from: valid_from?,
        expires: expires?,
        review_due: review_due?,
        strict: grant.strict,
        source: source?,
    })
}

fn selector(f: &mut Fields, selector: pb::target_selector::Selector) -> Option<TargetSelector> {
    use pb::target_selector::Selector;
    match selector {
        Selector::Name(name) => f.parse("grant.target.name", &name).map(TargetSelector::Name),
        Selector::Labels(labels) if labels.labels.is_empty() => f.fault("grant.target.labels", "at least one label is needed"),
        Selector::Labels(labels) => Some(TargetSelector::Labels(labels.labels)),
        Selector::Assize(_) => Some(TargetSelector::Assize),
    }
}

/// Callers make baseline and declared grants; the others come from requests and reviews only.
fn source(f: &mut Fields, source: Option<pb::GrantSource>) -> Option<GrantSource> {
    use pb::grant_source::Source;
    match source.and_then(|s| s.source) {
        None | Some(Source::Baseline(_)) => Some(GrantSource::Baseline),
        Some(Source::Declared(_)) => Some(GrantSource::Declared),
        Some(Source::Request(_) | Source::Review(_) | Source::BreakGlass(_)) => {
            f.fault("grant.source", "comes from deciding a request or a review, or from breaking glass, not from a call")
        }
    }
}

/// The name rights over this grant are checked by (see [`crate::policy`]).
pub(crate) fn guarded_by(target: &TargetSelector) -> String {
    match target {
        TargetSelector::Name(name) => name.to_string(),
        TargetSelector::Labels(_) => "*".into(),
        TargetSelector::Assize => "assize".into(),
    }
}
