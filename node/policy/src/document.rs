//! The documents a policy reads: `assize.policy.input/v1`. A field is never given another meaning; new ones may come.

use domain::grant::{Grant, GrantSource};
use domain::id::Name;
use domain::job::Job;
use domain::operation::{Access, Effect, Operation, Protocol};
use domain::permission::PermissionSet;
use domain::policy::{AtAdmission, OnOperation, Parties};
use domain::principal::{Principal, PrincipalKind};
use domain::state::State;
use domain::target::Target;
use domain::time::LogTime;
use regorus::Value;

use crate::value::{list, object, optional, shown, text, texts};

pub const VERSION: &str = "assize.policy.input/v1";

pub(crate) fn admission(question: &AtAdmission<'_>) -> Value {
    let mut fields = parties("admission", &question.parties);
    fields.push(("grants", list(question.grants.iter().map(|g| grant(g)))));
    fields.push(("dropped", list(question.dropped.iter().map(text))));
    object(fields)
}

pub(crate) fn operation(question: &OnOperation<'_>) -> Value {
    let mut fields = parties("operation", &question.parties);
    fields.push(("grants", list(question.grants.iter().map(|g| grant(g)))));
    fields.push(("operation", tried(question.operation, &question.digest.to_string())));
    fields.push(("missing", list(question.missing.iter().map(access))));
    fields.push(("time_ns", ns(question.now)));
    object(fields)
}

fn parties(kind: &str, parties: &Parties<'_>) -> Vec<(&'static str, Value)> {
    let Parties { state, principal, on_behalf_of, target, job } = *parties;
    let environment = [("cluster", text(&state.cluster.id)), ("incarnation", Value::from(state.cluster.incarnation))];
    vec![
        ("version", text(VERSION)),
        ("kind", text(kind)),
        ("subject", subject(principal)),
        ("on_behalf_of", optional(on_behalf_of.map(|name| delegator(state, name)))),
        ("target", protected(target)),
        ("job", optional(job.map(description))),
        ("environment", object(environment)),
    ]
}

fn subject(principal: &Principal) -> Value {
    let (kind, owner, backup_owner) = match &principal.kind {
        PrincipalKind::Agent { owner, backup_owner, .. } => ("agent", Some(owner), backup_owner.as_ref()),
        PrincipalKind::Person { .. } => ("person", None, None),
    };
    object([
        ("name", text(principal.name.as_str())),
        ("type", text(kind)),
        ("owner", optional(owner.map(|name| text(name.as_str())))),
        ("backup_owner", optional(backup_owner.map(|name| text(name.as_str())))),
        ("labels", texts(&principal.labels)),
    ])
}

/// Whom the principal says it acts for. A name that no principal has is shown with nothing else.
fn delegator(state: &State, name: &Name) -> Value {
    match state.principals.get(name) {
        Some(principal) => subject(principal),
        None => object([("name", text(name.as_str())), ("type", Value::Null)]),
    }
}

fn protected(target: &Target) -> Value {
    object([
        ("name", text(target.name.as_str())),
        ("protocol", text(protocol(target.protocol))),
        ("labels", texts(&target.labels)),
        ("owner", optional(target.owner.as_ref().map(|name| text(name.as_str())))),
        ("default_database", text(&target.default_database)),
    ])
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Assize => "assize",
        Protocol::Postgres => "postgres",
    }
}

fn description(job: &Job) -> Value {
    object([
        ("name", text(job.name.as_str())),
        ("purpose", text(&job.purpose)),
        ("owner", text(job.owner.as_str())),
        ("permissions", permissions(&job.permissions)),
        ("roles", list(job.roles.iter().map(|role| text(role.as_str())))),
        ("data_classes", list(job.data_classes.iter().map(text))),
        ("environments", list(job.environments.iter().map(text))),
        ("expires_ns", optional(job.expires.map(ns))),
        ("version", Value::from(job.version.0)),
    ])
}

fn grant(grant: &Grant) -> Value {
    let source = match grant.source {
        GrantSource::Baseline => "baseline",
        GrantSource::Declared => "declared",
        GrantSource::Request(_) => "request",
        GrantSource::Review(_) => "review",
        GrantSource::BreakGlass(_) => "break-glass",
    };
    object([
        ("id", shown(grant.id)),
        ("name", optional(grant.name.as_ref().map(|name| text(name.as_str())))),
        ("permissions", permissions(&grant.permissions)),
        ("roles", list(grant.roles.iter().map(|role| text(role.as_str())))),
        ("source", text(source)),
        ("granted_by", text(grant.granted_by.as_str())),
        ("strict", Value::from(grant.strict)),
        ("expires_ns", optional(grant.expires.map(ns))),
        ("review_due_ns", optional(grant.review_due.map(ns))),
        ("version", Value::from(grant.version.0)),
    ])
}

fn permissions(set: &PermissionSet) -> Value {
    list(set.iter().map(shown))
}

fn tried(operation: &Operation, digest: &str) -> Value {
    let mut verbs: Vec<&str> = operation.accesses.iter().map(|access| access.verb.as_str()).collect();
    verbs.sort_unstable();
    verbs.dedup();
    object([
        ("tag", text(&operation.tag)),
        ("effect", text(effect(operation.effect))),
        ("verbs", list(verbs.into_iter().map(text))),
        ("accesses", list(operation.accesses.iter().map(access))),
        ("digest", text(digest)),
    ])
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Transactional => "transactional",
        Effect::Commit => "commit",
        Effect::Lasting => "lasting",
    }
}

fn access(access: &Access) -> Value {
    let columns = access.resource.columns.as_ref().map(|columns| list(columns.iter().map(text)));
    object([
        ("verb", text(access.verb.as_str())),
        ("object", text(access.resource.path.join("."))),
        ("path", list(access.resource.path.iter().map(text))),
        ("columns", optional(columns)),
    ])
}

fn ns(time: LogTime) -> Value {
    Value::from(time.0.saturating_mul(1_000_000))
}

/// An ordinary question, every field there: what a bundle is tried on before it is published.
pub fn sample_admission() -> serde_json::Value {
    let mut question = sample("admission");
    question["dropped"] = serde_json::json!(["postgres:delete on app.public.orders"]);
    question
}

/// As [`sample_admission`], for one operation.
pub fn sample_operation() -> serde_json::Value {
    let mut question = sample("operation");
    let access =
        serde_json::json!({ "verb": "select", "object": "app.public.orders", "path": ["app", "public", "orders"], "columns": ["id"] });
    question["operation"] = serde_json::json!({
        "tag": "SELECT",
        "effect": "read",
        "verbs": ["select"],
        "accesses": [access],
        "digest": "0000000000000000000000000000000000000000000000000000000000000000",
    });
    question["missing"] = serde_json::json!([]);
    question["time_ns"] = serde_json::json!(1_790_000_000_000_000_000_u64);
    question
}

fn sample(kind: &str) -> serde_json::Value {
    let person = serde_json::json!({ "name": "ana", "type": "person", "owner": null, "backup_owner": null, "labels": {} });
    serde_json::json!({
        "version": VERSION,
        "kind": kind,
        "subject": { "name": "bot", "type": "agent", "owner": "ana", "backup_owner": null, "labels": { "team": "billing" } },
        "on_behalf_of": person,
        "target": {
            "name": "orders",
            "protocol": "postgres",
            "labels": { "env": "prod" },
            "owner": "ana",
            "default_database": "app",
        },
        "job": {
            "name": "reports",
            "purpose": "makes reports",
            "owner": "ana",
            "permissions": ["postgres:select on app.public.*"],
            "roles": ["client"],
            "data_classes": ["personal"],
            "environments": ["prod"],
            "expires_ns": null,
            "version": 20,
        },
        "grants": [{
            "id": "grant-24",
            "name": null,
            "permissions": ["postgres:select on app.public.*"],
            "roles": [],
            "source": "baseline",
            "granted_by": "ana",
            "strict": false,
            "expires_ns": null,
            "review_due_ns": null,
            "version": 24,
        }],
        "environment": { "cluster": "demo", "incarnation": 1 },
    })
}
