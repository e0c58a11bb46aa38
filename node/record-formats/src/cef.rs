//! Common Event Format: a header of seven fields between bars, then `key=value` pairs.

use proto::admin as pb;

use super::{Known, endpoint, field, millis, number, rfc_3339, severity, uid};

/// Characters of a custom string, as the format limits them.
const CUSTOM_MAX: usize = 4000;
/// Characters of `msg` and `reason`.
const MESSAGE_MAX: usize = 1023;

/// Pairs in order; what is empty is left out.
#[derive(Default)]
struct Extension(Vec<String>);

impl Extension {
    fn put(&mut self, key: &str, value: &str) {
        self.cut(key, value, MESSAGE_MAX);
    }

    fn cut(&mut self, key: &str, value: &str, max: usize) {
        if !value.is_empty() {
            let cut: String = value.chars().take(max).collect();
            self.0.push(format!("{key}={}", in_extension(&cut)));
        }
    }

    fn custom(&mut self, key: &str, label: &str, value: &str) {
        if !value.is_empty() {
            self.cut(key, value, CUSTOM_MAX);
            self.put(&format!("{key}Label"), label);
        }
    }

    fn count(&mut self, key: &str, label: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.custom(key, label, &value.to_string());
        }
    }
}

pub(super) fn line(record: &pb::AuditRecord, known: &Known) -> String {
    let mut with = Extension::default();
    with.put("rt", &millis(record).to_string());
    with.put("externalId", &uid(record));
    if record.node != 0 {
        with.put("deviceExternalId", &record.node.to_string());
    }
    with.put("cat", &record.log);
    with.put("suser", &known.principal);
    match endpoint(&known.client_address) {
        Some(at) if at.is_ipv4() => {
            with.put("src", &at.ip().to_string());
            with.put("spt", &at.port().to_string());
        }
        Some(at) => {
            with.custom("c6a2", "Source IPv6 Address", &at.ip().to_string());
            with.put("spt", &at.port().to_string());
        }
        None => {}
    }
    with.put("destinationServiceName", &known.target);
    with.put("act", &known.tag);
    let verdict = ["verdict", "status", "outcome"].into_iter().map(|name| field(record, name)).find(|value| !value.is_empty());
    with.put("outcome", verdict.unwrap_or(field(record, "reply")));
    with.put("reason", [field(record, "reason"), field(record, "error")].into_iter().find(|text| !text.is_empty()).unwrap_or_default());
    with.custom("cs1", "session", &record.session);
    let text = ["statement", "statement_start", "part", "command"].into_iter().map(|name| field(record, name));
    with.custom("cs2", "statement", text.into_iter().find(|text| !text.is_empty()).unwrap_or_default());
    with.custom("cs3", "grants", field(record, "grants"));
    with.custom("cs4", "digest", &record.digest);
    let request = [field(record, "request"), field(record, "revocation")].into_iter().find(|text| !text.is_empty());
    with.custom("cs5", "request or revocation", request.unwrap_or_default());
    with.custom("cs6", "run", &known.run);
    with.count("cn1", "operation", number(record, "operation"));
    with.count("cn2", "rows", number(record, "rows"));
    with.count("cn3", "control index", Some(record.control_index));
    with.custom("deviceCustomDate1", "log time", &rfc_3339(record));
    with.put("msg", &record.summary);

    // The format counts to 10, OCSF to 6.
    let severity = match severity(record) {
        4.. => 9,
        3 => 6,
        2 => 3,
        _ => 1,
    };
    let name = if known.tag.is_empty() { record.kind.clone() } else { format!("{} {}", record.kind, known.tag) };
    format!(
        "CEF:0|Assize|Assize|{}|{}|{}|{severity}|{}",
        in_header(env!("CARGO_PKG_VERSION")),
        in_header(&record.kind),
        in_header(&name),
        with.0.join(" ")
    )
}

/// A header has no line breaks.
fn in_header(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '\\' | '|' => out.extend(['\\', c]),
            '\r' | '\n' => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

fn in_extension(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '\\' | '=' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
        out
    })
}
