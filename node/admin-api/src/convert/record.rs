//! A leaf of a log in words. Everything shown was stored by agents or people: it is escaped.

use domain::audit::checkpoint::CONTROL_LOG;
use domain::audit::leaf::ControlLeaf;
use domain::audit::record::{self, Record};
use domain::command::Actor;
use domain::escape::show;
use domain::time::LogTime;
use proto::admin as pb;

use super::command::{in_words, reply_in_words};
use super::timestamp;

/// What a leaf of the control log is called.
pub(crate) const COMMAND_KIND: &str = "command";
/// Characters of a command's text: its whole is in the leaf.
const COMMAND_SHOWN_MAX: usize = 2000;

/// `leaf` itself is left out; number and log are the caller's. A leaf this build cannot read is shown as such: the log
/// may hold what a later version wrote.
pub fn describe(log: &str, leaf: &[u8]) -> pb::AuditRecord {
    let described = if log == CONTROL_LOG {
        ControlLeaf::decode(leaf).map(|leaf| command(&leaf))
    } else {
        record::decode(leaf).map(|record| operation(&record))
    };
    described.unwrap_or_else(|why| pb::AuditRecord { kind: "unreadable".into(), summary: why.to_string(), ..Default::default() })
}

fn operation(record: &Record) -> pb::AuditRecord {
    let mut shown = pb::AuditRecord {
        at: Some(timestamp(LogTime(record.time))),
        kind: record.kind_name().into(),
        node: record.node,
        boot: format!("{:016x}", record.boot),
        sequence: record.sequence,
        control_index: record.control_index,
        session: record.session.as_ref().map(|s| s.id().to_string()).unwrap_or_default(),
        ..Default::default()
    };
    for (name, value) in record.to_fields() {
        let text = show(&value.to_string()).text;
        match name {
            "principal" => shown.principal.clone_from(&text),
            "target" => shown.target.clone_from(&text),
            "digest" => shown.digest.clone_from(&text),
            _ => {}
        }
        shown.fields.insert(name.to_owned(), text);
    }
    shown.summary = summary(&shown);
    shown
}

/// What tells most, in one line, of whatever the kind has.
fn summary(record: &pb::AuditRecord) -> String {
    let told = [
        "tag",
        "outcome",
        "verdict",
        "status",
        "refusal",
        "reason",
        "rows",
        "request",
        "revocation",
        "pruned_kind",
        "retention_class",
        "plan",
        "statement",
    ];
    let parts = told.iter().filter_map(|name| {
        record.fields.get(*name).map(|value| if *name == "statement" { value.clone() } else { format!("{name}={value}") })
    });
    parts.collect::<Vec<_>>().join(" ").chars().take(400).collect()
}

fn command(leaf: &ControlLeaf) -> pb::AuditRecord {
    let text = in_words(&leaf.proposal.command);
    let what = text.split(": ").next().unwrap_or_default();
    let principal = match &leaf.proposal.actor {
        Actor::Principal(name) => name.to_string(),
        Actor::Node(node) => format!("node {node}"),
        Actor::Operator => "operator".into(),
    };
    let reply = reply_in_words(&leaf.reply);
    let summary = show(&format!("{what}: {reply}")).text;
    let cut: String = text.chars().take(COMMAND_SHOWN_MAX).collect();
    let fields = [("command", cut), ("reply", reply), ("proposal", leaf.proposal.id.as_str().to_owned())];
    pb::AuditRecord {
        at: Some(timestamp(leaf.proposal.stamp)),
        kind: COMMAND_KIND.into(),
        principal,
        control_index: leaf.index.0,
        summary,
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), show(&value).text)).collect(),
        ..Default::default()
    }
}
