//! Open Cybersecurity Schema Framework 1.8.0: the classes *Authorize Session* (3003), *Entity Management* (3004) and
//! *Datastore Activity* (6005), with the profile `security_control` where Assize decided something.

use proto::admin as pb;
use serde_json::{Map, Value, json};

use super::{Known, endpoint, field, millis, number, rfc_3339, severity, uid};

/// The version of the schema that events are written for.
const VERSION: &str = "1.8.0";

/// A class with what it requires beyond the base event.
struct Class {
    uid: u32,
    name: &'static str,
    activity: (u32, String),
    more: Map<String, Value>,
}

/// Decided by Assize: `action_id` and `disposition_id` with their captions.
type Decided = Option<(u32, &'static str, u32, &'static str)>;

pub(super) fn event(record: &pb::AuditRecord, known: &Known) -> Value {
    let class = class(record, known);
    let decided = decided(record);
    let (status_id, status) = status(record);
    let severity_id = severity(record);
    let severity = ["Unknown", "Informational", "Low", "Medium", "High"][usize::from(severity_id)];
    let (activity_id, activity_name) = class.activity;
    let category_uid = class.uid / 1000;
    let mut metadata = json!({
        "version": VERSION,
        "product": { "name": "Assize", "vendor_name": "Assize", "version": env!("CARGO_PKG_VERSION") },
        "uid": uid(record),
        "log_name": record.log,
        "sequence": record.number,
        "event_code": record.kind,
        "original_time": rfc_3339(record),
    });
    if let Some(operation) = number(record, "operation") {
        metadata["correlation_uid"] = format!("{}/{operation}", record.session).into();
    }
    if decided.is_some() {
        metadata["profiles"] = json!(["security_control"]);
    }
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": category_uid,
        "category_name": match category_uid { 3 => "Identity & Access Management", 6 => "Application Activity", _ => "Uncategorized" },
        "class_uid": class.uid,
        "class_name": class.name,
        "type_uid": class.uid * 100 + activity_id,
        "type_name": format!("{}: {activity_name}", class.name),
        "time": millis(record),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": record.summary,
        "metadata": metadata,
        "unmapped": record.fields,
    });
    for (name, value) in class.more {
        event[name] = value;
    }
    if let Some((action_id, action, disposition_id, disposition)) = decided {
        event["action_id"] = action_id.into();
        event["action"] = action.into();
        event["disposition_id"] = disposition_id.into();
        event["disposition"] = disposition.into();
    }
    let code = [field(record, "error"), field(record, "refusal")].into_iter().find(|code| !code.is_empty());
    if let Some(code) = code {
        event["status_code"] = code.into();
    }
    if !field(record, "reason").is_empty() {
        event["status_detail"] = field(record, "reason").into();
    }
    event
}

fn class(record: &pb::AuditRecord, known: &Known) -> Class {
    match record.kind.as_str() {
        // What was admitted got its grants; who was not got none, and only tried to connect.
        "admission" if field(record, "outcome") != "revoked" => authorize_session(record, known),
        "admission" => datastore(record, known, (3, "Connect".into())),
        "intent" | "outcome" => datastore(record, known, activity(&known.tag, &known.effect)),
        "late-send" => datastore(record, known, (99, "Late send".into())),
        "connection" => datastore(record, known, (3, "Connect".into())),
        "session-end" => datastore(record, known, (99, "Disconnect".into())),
        "termination" => entity(known, (99, "Terminate".into()), &known.target, "target", record),
        "statement-text" => datastore(record, known, (99, "Statement text".into())),
        "pruned" => entity(known, (4, "Delete".into()), field(record, "pruned_kind"), "audit record", record),
        "target-check" => entity(known, (2, "Read".into()), &known.target, "target", record),
        "enforcement" => entity(known, (99, "Enforce".into()), field(record, "revocation"), "revocation", record),
        "command" => {
            // A command's words begin with its verb and what it is done to; its terms stand after a colon.
            let what = field(record, "command").split(": ").next().unwrap_or_default();
            let (verb, object) = what.split_once(' ').unwrap_or((what, what));
            entity(known, changed(verb), object, "control state", record)
        }
        _ => Class { uid: 0, name: "Base Event", activity: (0, "Unknown".into()), more: Map::new() },
    }
}

fn authorize_session(record: &pb::AuditRecord, known: &Known) -> Class {
    let privileges: Vec<&str> = field(record, "grants").split("; ").collect();
    let mut more = Map::new();
    more.insert("user".into(), user(known));
    more.insert("privileges".into(), json!(privileges));
    more.insert("session".into(), json!({ "uid": record.session, "is_remote": true }));
    more.insert("src_endpoint".into(), source(record, known));
    more.insert("dst_endpoint".into(), json!({ "svc_name": known.target }));
    Class { uid: 3003, name: "Authorize Session", activity: (1, "Assign Privileges".into()), more }
}

fn datastore(record: &pb::AuditRecord, known: &Known, activity: (u32, String)) -> Class {
    let mut more = Map::new();
    more.insert("actor".into(), actor(record, known));
    more.insert("src_endpoint".into(), source(record, known));
    if !known.target.is_empty() {
        more.insert("dst_endpoint".into(), json!({ "svc_name": known.target }));
        more.insert("database".into(), json!({ "name": known.target, "type_id": 1, "type": "Relational" }));
    }
    more.insert("type_id".into(), 1.into());
    more.insert("type".into(), "Database".into());
    let text = ["statement", "statement_start", "part"].into_iter().map(|name| field(record, name)).find(|text| !text.is_empty());
    if let Some(text) = text {
        more.insert("query_info".into(), json!({ "query_string": text }));
    }
    Class { uid: 6005, name: "Datastore Activity", activity, more }
}

fn entity(known: &Known, activity: (u32, String), name: &str, kind: &str, record: &pb::AuditRecord) -> Class {
    let mut more = Map::new();
    let mut of = json!({ "name": if name.is_empty() { "unknown" } else { name }, "type": kind });
    if record.kind == "command" {
        of["version"] = record.control_index.to_string().into();
    }
    more.insert("entity".into(), of);
    if !known.principal.is_empty() {
        more.insert("actor".into(), json!({ "user": user(known) }));
    }
    Class { uid: 3004, name: "Entity Management", activity, more }
}

fn user(known: &Known) -> Value {
    let name = if known.principal.is_empty() { "unknown" } else { &known.principal };
    // Only an agent has an owner.
    if known.owner.is_empty() { json!({ "name": name }) } else { json!({ "name": name, "type_id": 4, "type": "Service" }) }
}

/// One of its members must be there: the session stands for a principal that is not known.
fn actor(record: &pb::AuditRecord, known: &Known) -> Value {
    let mut actor = Map::new();
    if !known.principal.is_empty() || record.session.is_empty() {
        actor.insert("user".into(), user(known));
    }
    if !record.session.is_empty() {
        actor.insert("session".into(), json!({ "uid": record.session, "is_remote": true }));
    }
    Value::Object(actor)
}

fn source(record: &pb::AuditRecord, known: &Known) -> Value {
    match endpoint(&known.client_address) {
        Some(at) => json!({ "ip": at.ip().to_string(), "port": at.port(), "uid": record.session }),
        None if record.session.is_empty() => json!({ "name": "unknown" }),
        None => json!({ "uid": record.session }),
    }
}

/// By the command tag, and for tags without a word of their own by the effect.
fn activity(tag: &str, effect: &str) -> (u32, String) {
    let named = |id, name: &str| (id, name.to_owned());
    match tag.split(' ').next().unwrap_or_default() {
        "SELECT" => named(4, "Query"),
        "INSERT" => named(5, "Write"),
        "UPDATE" | "MERGE" | "ALTER" => named(2, "Update"),
        "DELETE" | "TRUNCATE" | "DROP" => named(7, "Delete"),
        "CREATE" => named(6, "Create"),
        "" => named(0, "Unknown"),
        _ if effect == "read" => named(1, "Read"),
        _ => (99, tag.to_owned()),
    }
}

/// What a command does to an entity, by the verb its words begin with.
fn changed(verb: &str) -> (u32, String) {
    let named = |id, name: &str| (id, name.to_owned());
    match verb {
        "found" | "issue" | "open" => named(1, "Create"),
        "put" | "rotate" | "raise" | "hand" | "decide" | "approve" | "deny" | "make" | "confirm" => named(3, "Update"),
        "delete" | "revoke" | "remove" | "withdraw" => named(4, "Delete"),
        "register" => named(6, "Enroll"),
        "lock" => named(9, "Disable"),
        verb => (99, verb.to_owned()),
    }
}

fn decided(record: &pb::AuditRecord) -> Decided {
    match (record.kind.as_str(), field(record, "verdict"), field(record, "outcome")) {
        ("admission", _, "approved") => Some((1, "Allowed", 1, "Allowed")),
        ("admission", _, "modified") => Some((4, "Modified", 11, "Corrected")),
        ("admission", _, _) => Some((2, "Denied", 2, "Blocked")),
        ("intent", "allow", _) => Some((1, "Allowed", 1, "Allowed")),
        ("intent", "approval", _) => Some((1, "Allowed", 8, "Approved")),
        ("intent", "held", _) => Some((2, "Denied", 14, "Delayed")),
        ("intent", "refused", _) => Some((2, "Denied", 2, "Blocked")),
        ("intent", "session-ended", _) => Some((2, "Denied", 24, "Access Revoked")),
        _ => None,
    }
}

/// An intent comes before its effect: what became of it says the outcome.
fn status(record: &pb::AuditRecord) -> (u32, &'static str) {
    let (success, failure, unknown) = ((1, "Success"), (2, "Failure"), (0, "Unknown"));
    match record.kind.as_str() {
        "admission" if field(record, "outcome") == "revoked" => failure,
        "intent" if matches!(field(record, "verdict"), "refused" | "session-ended") => failure,
        "intent" => unknown,
        "outcome" => match field(record, "status") {
            "ok" => success,
            "error" | "not-forwarded" => failure,
            _ => unknown,
        },
        "late-send" => failure,
        "command" if field(record, "reply").starts_with("refused") => failure,
        "admission" | "enforcement" | "session-end" | "statement-text" | "target-check" | "connection" | "termination" | "pruned"
        | "command" => success,
        _ => unknown,
    }
}
