//! Records in the formats that log collectors take: one line a record, the fields of `assize audit query`. The same for
//! `assize audit export --format` and for streams.
//!
//! What this crate must **not** know: where a record comes from, or a line goes.
//!
//! An outcome does not repeat what its intent said, so [`Formatter`] remembers each until its outcome or its session's
//! end: a line then stands on its own. What was recorded before the export begins is not known to it, and left out.

mod cef;
mod json;
mod ocsf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use domain::sink::RecordFormat;
use proto::admin as pb;
use serde_json::Value;

/// What earlier records said about the session or operation of a later one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    principal: String,
    owner: String,
    target: String,
    run: String,
    client_address: String,
    tag: String,
    effect: String,
}

/// Writes the records of one log, in their order.
#[derive(Debug, Clone)]
pub struct Formatter {
    format: RecordFormat,
    sessions: BTreeMap<String, Known>,
    /// By session and number of the operation.
    operations: BTreeMap<(String, String), Known>,
}

impl Formatter {
    pub fn new(format: RecordFormat) -> Formatter {
        Formatter { format, sessions: BTreeMap::new(), operations: BTreeMap::new() }
    }

    /// The record as one line, without its end.
    pub fn line(&mut self, record: &pb::AuditRecord) -> String {
        let known = self.known(record);
        match self.format {
            RecordFormat::Ocsf => ocsf::event(record, &known).to_string(),
            RecordFormat::Cef => cef::line(record, &known),
            RecordFormat::Json => json::object(record).to_string(),
        }
    }

    /// What is known of a record's parties, its own words first; and remembers what later records will need.
    fn known(&mut self, record: &pb::AuditRecord) -> Known {
        let operation = (record.session.clone(), field(record, "operation").to_owned());
        let before = self.operations.get(&operation).or_else(|| self.sessions.get(&record.session)).cloned().unwrap_or_default();
        let or = |own: &str, before: String| if own.is_empty() { before } else { own.to_owned() };
        let known = Known {
            principal: or(&record.principal, before.principal),
            owner: or(field(record, "owner"), before.owner),
            target: or(&record.target, before.target),
            run: or(field(record, "run"), before.run),
            client_address: or(field(record, "client_address"), before.client_address),
            tag: or(field(record, "tag"), before.tag),
            effect: or(field(record, "effect"), before.effect),
        };
        match record.kind.as_str() {
            "admission" if field(record, "outcome") != "revoked" => {
                self.sessions.insert(record.session.clone(), known.clone());
            }
            "intent" if matches!(field(record, "verdict"), "allow" | "approval") => {
                self.operations.insert(operation, known.clone());
            }
            "outcome" => {
                self.operations.remove(&operation);
            }
            "session-end" => {
                self.sessions.remove(&record.session);
                self.operations.retain(|(session, _), _| *session != record.session);
            }
            _ => {}
        }
        known
    }
}

/// The record in the schema `assize.audit.v1`, as [`RecordFormat::Json`] writes it.
pub fn json(record: &pb::AuditRecord) -> Value {
    json::object(record)
}

/// A field of the record; empty when it has none of this name.
fn field<'r>(record: &'r pb::AuditRecord, name: &str) -> &'r str {
    record.fields.get(name).map_or("", String::as_str)
}

fn number(record: &pb::AuditRecord, name: &str) -> Option<u64> {
    field(record, name).parse().ok()
}

/// Milliseconds since 1970.
pub fn millis(record: &pb::AuditRecord) -> i64 {
    record.at.as_ref().map_or(0, |at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000)
}

/// To the millisecond, UTC.
pub fn rfc_3339(record: &pb::AuditRecord) -> String {
    let at = record.at.as_ref().and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Where a record is found again: `audit/0/17`.
pub fn uid(record: &pb::AuditRecord) -> String {
    format!("{}/{}", record.log, record.number)
}

/// Address and port of `10.0.0.1:5432` and `[::1]:5432`.
fn endpoint(address: &str) -> Option<std::net::SocketAddr> {
    address.parse().ok()
}

/// How grave a record is to somebody who watches, in OCSF's terms: 1 informational, 2 low, 3 medium, 4 high.
pub fn severity(record: &pb::AuditRecord) -> u8 {
    match (record.kind.as_str(), field(record, "verdict"), field(record, "outcome"), field(record, "status")) {
        ("late-send", ..) | (_, "session-ended", ..) => 4,
        ("target-check", ..) if field(record, "findings").contains("high ") => 4,
        (_, "refused", ..) | (_, _, "revoked", _) | ("enforcement" | "termination", ..) | (.., "unknown") => 3,
        (_, "held" | "approval", ..) | (_, _, "modified", _) | (.., "error") => 2,
        _ => 1,
    }
}
