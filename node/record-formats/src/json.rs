//! The schema `assize.audit.v1`: names and meanings stay; later versions may add members and fields.

use proto::admin as pb;
use serde_json::{Value, json};

pub(super) fn object(record: &pb::AuditRecord) -> Value {
    let fields: serde_json::Map<String, Value> = record.fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "schema": "assize.audit.v1",
        "log": record.log,
        "number": record.number,
        "time": super::rfc_3339(record),
        "kind": record.kind,
        "node": record.node,
        "boot": record.boot,
        "sequence": record.sequence,
        "session": record.session,
        "principal": record.principal,
        "target": record.target,
        "control_index": record.control_index,
        "digest": record.digest,
        "summary": record.summary,
        "fields": fields,
    })
}
