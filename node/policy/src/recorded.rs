//! Questions and answers as the audit log remembers them: for dry runs, and as decision logs in OPA's format.
//!
//! A record holds who, where, what was tried and what came of it. It does not hold labels, job descriptions and terms
//! of grants as they were: a dry run takes them as they are now.

use domain::audit::record::stored::{Admission, Intent, Kind, Record};
use domain::id::{GrantId, PolicyId};
use domain::operation::{Access, Resource};
use domain::permission::{Permission, Segment};
use serde_json::{Value, json};

use crate::document::VERSION;

/// What a record names, as it is now, in the form of the input document.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub subject: Value,
    pub on_behalf_of: Value,
    pub target: Value,
    pub job: Value,
    /// The principal's live grants for the target.
    pub grants: Vec<Value>,
    pub cluster: String,
    pub incarnation: u64,
}

/// The question the gateway would ask about what is recorded; `None` for what asks none. An admission that grants
/// refused, and an operation that needs nothing, are not asked about.
pub fn question(record: &Record, known: &Known) -> Option<Value> {
    match record.kind.as_ref()? {
        Kind::Admission(admission) if admission.refusal.as_ref().is_none_or(|refusal| refusal.code == "policy") => {
            let mut asked = parties("admission", known);
            asked["grants"] = known.grants.clone().into();
            asked["dropped"] = admission.dropped.clone().into();
            Some(asked)
        }
        Kind::Intent(intent) if !intent.accesses.is_empty() => {
            let accesses: Vec<Value> = intent.accesses.iter().filter_map(|text| access(text)).collect();
            let covering: Vec<String> = intent.grants.iter().map(|id| GrantId(*id).to_string()).collect();
            let is_covering = |grant: &&Value| covering.iter().any(|id| grant["id"] == id.as_str());
            let mut asked = parties("operation", known);
            asked["grants"] = known.grants.iter().filter(is_covering).cloned().collect();
            // What exactly was missing is not on record; where something was, all of it stands here.
            asked["missing"] = if intent.verdict == ALLOWED { json!([]) } else { accesses.clone().into() };
            asked["operation"] = operation(intent, accesses);
            asked["time_ns"] = record.time.saturating_mul(1_000_000).into();
            Some(asked)
        }
        _ => None,
    }
}

const ALLOWED: u32 = 1;

fn parties(kind: &str, known: &Known) -> Value {
    json!({
        "version": VERSION,
        "kind": kind,
        "subject": known.subject,
        "on_behalf_of": known.on_behalf_of,
        "target": known.target,
        "job": known.job,
        "environment": { "cluster": known.cluster, "incarnation": known.incarnation },
    })
}

fn operation(intent: &Intent, accesses: Vec<Value>) -> Value {
    let mut verbs: Vec<String> = accesses.iter().filter_map(|access| access["verb"].as_str().map(str::to_owned)).collect();
    verbs.sort_unstable();
    verbs.dedup();
    json!({
        "tag": intent.tag,
        "effect": word(intent.effect, &["read", "transactional", "commit", "lasting"]),
        "verbs": verbs,
        "accesses": accesses,
        "digest": hex(&intent.digest),
    })
}

/// An access as records write it: a permission with one verb on one resource.
fn access(text: &str) -> Option<Value> {
    let permission: Permission = text.parse().ok()?;
    let verb = *permission.verbs.iter().next()?;
    let part = |segment: &Segment| match segment {
        Segment::Any => "*".into(),
        Segment::Exact(text) => text.clone(),
        Segment::Prefix(text) => text.clone(),
    };
    let resource = Resource { path: permission.on.segments.iter().map(part).collect(), columns: permission.on.columns };
    let access = Access { protocol: permission.protocol, verb, resource };
    let columns: Option<Vec<&str>> = access.resource.columns.as_ref().map(|columns| columns.iter().map(AsRef::as_ref).collect());
    Some(json!({
        "verb": access.verb.as_str(),
        "object": access.resource.path.join("."),
        "path": access.resource.path.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        "columns": columns,
    }))
}

/// One recorded decision as OPA logs its own: `None` for a record that no policy had a say in. `revision` says what a
/// bundle is called. The input is what the record has of it; the log's own place is under `labels`.
pub fn decision(record: &Record, log: &str, number: u64, revision: impl Fn(PolicyId) -> String) -> Option<Value> {
    let (path, policy, input, result) = match record.kind.as_ref()? {
        Kind::Admission(admission) => {
            let policy = admission.cited.as_ref()?.policy?;
            ("assize/admission", policy, admission_input(admission), admission_result(admission))
        }
        Kind::Intent(intent) => ("assize/operation", intent.policy?, intent_input(record, intent), intent_result(intent)),
        _ => return None,
    };
    let requested_by = record.session.map(|session| session.id().to_string()).unwrap_or_default();
    Some(json!({
        "labels": {
            "app": "assize",
            "node": record.node.to_string(),
            "log": log,
            "number": number.to_string(),
            "control_index": record.control_index.to_string(),
        },
        "decision_id": format!("{:016x}-{}", record.boot, record.sequence),
        "bundles": { PolicyId(policy).to_string(): { "revision": revision(PolicyId(policy)) } },
        "path": path,
        "input": input,
        "result": result,
        "requested_by": requested_by,
        "timestamp": timestamp(record.time),
    }))
}

/// RFC 3339, to the millisecond.
fn timestamp(milliseconds: u64) -> String {
    let at = i64::try_from(milliseconds).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn named(name: &str) -> Value {
    if name.is_empty() { Value::Null } else { json!({ "name": name }) }
}

fn admission_input(admission: &Admission) -> Value {
    json!({
        "version": VERSION,
        "kind": "admission",
        "subject": { "name": admission.principal, "owner": admission.owner },
        "on_behalf_of": named(&admission.on_behalf_of),
        "target": { "name": admission.target },
        "dropped": admission.dropped,
    })
}

fn admission_result(admission: &Admission) -> Value {
    json!({
        "allow": admission.refusal.is_none(),
        "outcome": word(admission.outcome, &["approved", "modified", "revoked"]),
        "reason": admission.refusal.as_ref().map(|refusal| &refusal.detail),
        "notes": admission.notes,
    })
}

fn intent_input(record: &Record, intent: &Intent) -> Value {
    let accesses = intent.accesses.iter().filter_map(|text| access(text)).collect();
    json!({
        "version": VERSION,
        "kind": "operation",
        "subject": { "name": intent.principal },
        "on_behalf_of": named(&intent.on_behalf_of),
        "target": { "name": intent.target },
        "operation": operation(intent, accesses),
        "time_ns": record.time.saturating_mul(1_000_000),
    })
}

fn intent_result(intent: &Intent) -> Value {
    json!({
        "allow": matches!(intent.verdict, 1 | 2),
        "outcome": word(intent.verdict, &["allow", "approval", "held", "refused", "session-ended"]),
        "reason": intent.refusal.as_ref().map(|refusal| &refusal.detail),
        "notes": intent.notes,
    })
}

fn word(code: u32, words: &[&'static str]) -> &'static str {
    code.checked_sub(1).and_then(|at| words.get(at as usize)).copied().unwrap_or("unknown")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
