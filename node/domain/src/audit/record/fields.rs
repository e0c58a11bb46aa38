//! A record as named fields, for `assize audit query` and for exports: text for people, the same names everywhere.

use super::stored::{
    Admission, Cited, Connection, EndedSession, Enforcement, Intent, Kind, LateSend, Outcome, Pruned, Record, Refused, SessionEnd,
    StatementText, TargetCheck, Termination,
};
use crate::id::{BootId, GrantId, PolicyId, RequestId, RevocationId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    Text(String),
    Number(u64),
    List(Vec<String>),
}

impl std::fmt::Display for FieldValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FieldValue::Text(text) => f.write_str(text),
            FieldValue::Number(number) => number.fmt(f),
            FieldValue::List(items) => f.write_str(&items.join("; ")),
        }
    }
}

/// Collects fields; what is empty is left out.
#[derive(Default)]
struct Fields(Vec<(&'static str, FieldValue)>);

impl Fields {
    fn text(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() {
            self.0.push((name, FieldValue::Text(value.to_owned())));
        }
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.0.push((name, FieldValue::Number(value)));
    }

    /// A count that is only worth a word when it is not zero.
    fn count(&mut self, name: &'static str, value: u64) {
        if value != 0 {
            self.number(name, value);
        }
    }

    fn optional(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    fn list(&mut self, name: &'static str, items: Vec<String>) {
        if !items.is_empty() {
            self.0.push((name, FieldValue::List(items)));
        }
    }

    fn hex(&mut self, name: &'static str, bytes: &[u8]) {
        self.text(name, &data_encoding::HEXLOWER.encode(bytes));
    }

    /// Statement text; what is not UTF-8 is shown with replacement characters.
    fn statement(&mut self, name: &'static str, bytes: &[u8]) {
        self.text(name, &String::from_utf8_lossy(bytes));
    }

    fn policy(&mut self, policy: Option<u64>) {
        if let Some(policy) = policy {
            self.text("policy", &PolicyId(policy).to_string());
        }
    }

    fn refusal(&mut self, refusal: Option<&Refused>) {
        if let Some(refusal) = refusal {
            self.text("refusal", &refusal.code);
            self.text("reason", &refusal.detail);
        }
    }
}

/// All that [`Record::kind_name`] says of records whose kind is known.
pub const KIND_NAMES: [&str; 11] = [
    "admission",
    "intent",
    "outcome",
    "enforcement",
    "late-send",
    "session-end",
    "statement-text",
    "target-check",
    "connection",
    "termination",
    "pruned",
];

impl Record {
    /// `admission`, `intent`, `outcome`, …; empty for a kind that is not known.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Some(Kind::Admission(_)) => "admission",
            Some(Kind::Intent(_)) => "intent",
            Some(Kind::Outcome(_)) => "outcome",
            Some(Kind::Enforcement(_)) => "enforcement",
            Some(Kind::LateSend(_)) => "late-send",
            Some(Kind::SessionEnd(_)) => "session-end",
            Some(Kind::StatementText(_)) => "statement-text",
            Some(Kind::TargetCheck(_)) => "target-check",
            Some(Kind::Connection(_)) => "connection",
            Some(Kind::Termination(_)) => "termination",
            Some(Kind::Pruned(_)) => "pruned",
            None => "",
        }
    }

    /// The record's fields in the order of its encoding, the header's first.
    pub fn to_fields(&self) -> Vec<(&'static str, FieldValue)> {
        let mut fields = Fields::default();
        fields.text("kind", self.kind_name());
        fields.number("node", self.node);
        fields.text("boot", &format!("{:016x}", BootId(self.boot).0));
        fields.number("sequence", self.sequence);
        fields.number("control_index", self.control_index);
        fields.number("time_ms", self.time);
        if let Some(session) = &self.session {
            fields.text("session", &session.id().to_string());
        }
        fields.text("run", &self.run);
        match &self.kind {
            Some(Kind::Admission(admission)) => admission_fields(&mut fields, admission),
            Some(Kind::Intent(intent)) => intent_fields(&mut fields, intent),
            Some(Kind::Outcome(outcome)) => outcome_fields(&mut fields, outcome),
            Some(Kind::Enforcement(enforcement)) => enforcement_fields(&mut fields, enforcement),
            Some(Kind::LateSend(late)) => late_send_fields(&mut fields, late),
            Some(Kind::SessionEnd(end)) => session_end_fields(&mut fields, end),
            Some(Kind::StatementText(text)) => statement_text_fields(&mut fields, text),
            Some(Kind::TargetCheck(check)) => target_check_fields(&mut fields, check),
            Some(Kind::Connection(connection)) => connection_fields(&mut fields, connection),
            Some(Kind::Termination(termination)) => termination_fields(&mut fields, termination),
            Some(Kind::Pruned(pruned)) => pruned_fields(&mut fields, pruned),
            None => {}
        }
        fields.0
    }
}

fn pruned_fields(fields: &mut Fields, pruned: &Pruned) {
    fields.text("pruned_kind", &pruned.kind);
    fields.text("retention_class", &pruned.class);
    fields.number("plan", pruned.plan);
    fields.number("body_bytes", pruned.bytes);
    fields.hex("hash", &pruned.hash);
}

fn admission_fields(fields: &mut Fields, admission: &Admission) {
    fields.text("principal", &admission.principal);
    fields.text("owner", &admission.owner);
    fields.text("on_behalf_of", &admission.on_behalf_of);
    fields.text("target", &admission.target);
    fields.text("outcome", word(admission.outcome, &["approved", "modified", "revoked"]));
    fields.list("dropped", admission.dropped.clone());
    fields.count("dropped_left_out", admission.dropped_left_out);
    fields.refusal(admission.refusal.as_ref());
    if let Some(cited) = &admission.cited {
        cited_fields(fields, cited);
    }
    fields.text("client_address", &admission.client_address);
    fields.text("application_name", &admission.application_name);
    fields.list("notes", admission.notes.clone());
}

fn cited_fields(fields: &mut Fields, cited: &Cited) {
    fields.number("state_version", cited.state);
    fields.number("principal_version", cited.principal);
    fields.optional("owner_version", cited.owner);
    fields.number("target_version", cited.target);
    fields.optional("job_version", cited.job);
    fields.list("grants", cited.grants.iter().map(|g| format!("{}@{}", GrantId(g.grant), g.version)).collect());
    fields.count("grants_left_out", cited.grants_left_out);
    fields.policy(cited.policy);
}

fn intent_fields(fields: &mut Fields, intent: &Intent) {
    fields.number("operation", intent.operation);
    fields.text("principal", &intent.principal);
    fields.text("on_behalf_of", &intent.on_behalf_of);
    fields.text("target", &intent.target);
    fields.text("tag", &intent.tag);
    fields.text("effect", word(intent.effect, &["read", "transactional", "commit", "lasting"]));
    fields.list("accesses", intent.accesses.clone());
    fields.count("accesses_left_out", intent.accesses_left_out.into());
    fields.text("verdict", word(intent.verdict, &["allow", "approval", "held", "refused", "session-ended"]));
    if let Some(request) = intent.request {
        fields.text("request", &RequestId(request).to_string());
    }
    fields.refusal(intent.refusal.as_ref());
    fields.list("grants", intent.grants.iter().map(|g| GrantId(*g).to_string()).collect());
    fields.count("grants_left_out", intent.grants_left_out);
    fields.optional("job_version", intent.job_version);
    fields.number("target_version", intent.target_version);
    fields.hex("digest", &intent.digest);
    fields.hex("parameters_hash", &intent.parameters_hash);
    fields.statement("statement", &intent.statement);
    fields.hex("statement_hash", &intent.statement_hash);
    fields.count("statement_length", intent.statement_length);
    fields.statement("statement_start", &intent.statement_start);
    fields.policy(intent.policy);
    fields.list("notes", intent.notes.clone());
}

fn outcome_fields(fields: &mut Fields, outcome: &Outcome) {
    fields.number("operation", outcome.operation);
    fields.text("status", word(outcome.status, &["ok", "error", "unknown", "not-forwarded"]));
    fields.text("error", &outcome.error);
    fields.number("rows", outcome.rows);
    fields.number("bytes", outcome.bytes);
    fields.number("duration_us", outcome.duration_us);
}

fn enforcement_fields(fields: &mut Fields, enforcement: &Enforcement) {
    fields.text("revocation", &RevocationId(enforcement.revocation).to_string());
    fields.number("enforced", enforcement.enforced);
    fields.list("ended", ended(&enforcement.ended));
    fields.number("ended_count", enforcement.ended_count);
}

fn ended(sessions: &[EndedSession]) -> Vec<String> {
    let words = ["idle", "cancelled", "pending", "unknown"];
    sessions.iter().map(|e| format!("{} {}", e.session.id(), word(e.upstream, &words))).collect()
}

fn late_send_fields(fields: &mut Fields, late: &LateSend) {
    fields.number("operation", late.operation);
    fields.number("late_us", late.late_us);
}

fn session_end_fields(fields: &mut Fields, end: &SessionEnd) {
    fields.text("by", word(end.by, &["client", "upstream", "policy", "gateway"]));
    fields.text("reason", &end.reason);
    fields.number("operations", end.operations);
}

fn statement_text_fields(fields: &mut Fields, text: &StatementText) {
    fields.number("operation", text.operation);
    fields.number("length", text.length);
    fields.number("offset", text.offset);
    fields.statement("part", &text.part);
}

fn target_check_fields(fields: &mut Fields, check: &TargetCheck) {
    fields.text("principal", &check.principal);
    fields.text("target", &check.target);
    fields.text("reachable", if check.reachable { "yes" } else { "no" });
    fields.list("findings", check.findings.clone());
    fields.number("findings_count", check.findings_count);
}

fn connection_fields(fields: &mut Fields, connection: &Connection) {
    fields.text("principal", &connection.principal);
    fields.text("on_behalf_of", &connection.on_behalf_of);
    fields.text("target", &connection.target);
    fields.text("role", &connection.role);
    fields.count("backend_pid", connection.process.into());
    fields.count("backend_start_us", connection.started_us);
}

fn termination_fields(fields: &mut Fields, termination: &Termination) {
    fields.number("member", termination.member);
    fields.number("left", termination.left);
    fields.text("target", &termination.target);
    fields.list("ended", ended(&termination.ended));
    fields.number("ended_count", termination.ended_count);
}

/// The word for a code that counts from one.
fn word(code: u32, words: &[&'static str]) -> &'static str {
    code.checked_sub(1).and_then(|i| words.get(i as usize)).copied().unwrap_or("not known to this build")
}
