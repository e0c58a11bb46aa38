use domain::command::{Command, Expect};
use domain::credential::Sealed;
use domain::sink::{Cursor, Destination, MailTls, RecordFormat, Selection, Sink, StreamedLog, Terms};
use domain::state::State;
use proto::admin as pb;
use proto::admin::sink::Destination as Wire;

use super::fields::Fields;
use super::{etag, span, timestamp};

/// What a sink takes its messages from, by log: how many leaves there are.
pub(crate) type Sizes<'a> = &'a dyn Fn(&str) -> u64;

pub(crate) fn to_wire(sink: &Sink, state: &State, sizes: Sizes<'_>) -> pb::Sink {
    let terms = &sink.terms;
    pb::Sink {
        name: sink.name.to_string(),
        destination: Some(destination_to_wire(&terms.destination)),
        events: terms.selection.events.iter().map(ToString::to_string).collect(),
        logs: terms.selection.logs.iter().map(|log| log.as_str().to_owned()).collect(),
        roots_pem: terms.roots_pem.clone(),
        give_up: terms.give_up.map(span),
        paused: !terms.active,
        progress: progress(sink, state, sizes),
        has_secret: sink.sealed.is_some(),
        etag: etag(sink.version),
    }
}

fn destination_to_wire(destination: &Destination) -> Wire {
    match destination.clone() {
        Destination::Webhook { url } => Wire::Webhook(pb::Webhook { url }),
        Destination::Syslog { address, server_name, format } => {
            let format = match format {
                RecordFormat::Ocsf => "ocsf",
                RecordFormat::Cef => "cef",
                RecordFormat::Json => "json",
            };
            Wire::Syslog(pb::Syslog { address, server_name: server_name.unwrap_or_default(), format: format.into() })
        }
        Destination::Otlp { url } => Wire::Otlp(pb::Otlp { url }),
        Destination::Slack => Wire::Slack(pb::Slack {}),
        Destination::Teams => Wire::Teams(pb::Teams {}),
        Destination::Mail { address, tls, from, to, username } => {
            Wire::Mail(pb::Mail { address, implicit_tls: tls == MailTls::Implicit, from, to, username })
        }
    }
}

fn progress(sink: &Sink, state: &State, sizes: Sizes<'_>) -> Option<pb::SinkProgress> {
    let found = state.sink_progress.get(&sink.name)?;
    let selection = &sink.terms.selection;
    let behind = |log: StreamedLog, at: u64| sizes(log.as_str()).saturating_sub(at);
    let control = !selection.events.is_empty() || selection.logs.contains(&StreamedLog::Control);
    let mut lag = if control { behind(StreamedLog::Control, found.cursor.control) } else { 0 };
    if selection.logs.contains(&StreamedLog::Audit) {
        lag += behind(StreamedLog::Audit, found.cursor.audit);
    }
    let failing = found.failing.as_ref();
    Some(pb::SinkProgress {
        control: found.cursor.control,
        audit: found.cursor.audit,
        lag,
        delivered: found.delivered,
        abandoned: found.abandoned,
        last_delivered: found.last_delivered.map(timestamp),
        // Receivers' words are among it.
        error: failing.map(|failing| domain::escape::show(&failing.error).text).unwrap_or_default(),
        attempts: failing.map_or(0, |failing| failing.attempts),
        failing_since: failing.map(|failing| timestamp(failing.since)),
    })
}

pub(crate) fn put(f: &mut Fields, sink: pb::Sink, sealed: Option<Sealed>, start: Cursor, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("sink.name", &sink.name);
    let events: Option<_> = if sink.events.iter().any(|event| event == "*") {
        Some(domain::sink::EventKind::ALL.iter().copied().collect())
    } else {
        sink.events.iter().map(|event| f.parse("sink.events", event)).collect()
    };
    let log = |f: &mut Fields, text: &String| {
        let found = StreamedLog::ALL.into_iter().find(|log| log.as_str() == text);
        found.or_else(|| f.fault("sink.logs", format!("there is no log {text:?}")))
    };
    let logs: Option<_> = sink.logs.iter().map(|text| log(f, text)).collect();
    let give_up = f.span("sink.give_up", sink.give_up.as_ref());
    let destination = destination(f, sink.destination);
    let selection = Selection { events: events?, logs: logs? };
    let terms = Terms { destination: destination?, selection, roots_pem: sink.roots_pem, give_up: give_up?, active: !sink.paused };
    Some(Command::PutSink { name: name?, terms, sealed, start, expect: expect? })
}

fn destination(f: &mut Fields, wire: Option<Wire>) -> Option<Destination> {
    Some(match f.present("sink.destination", wire)? {
        Wire::Webhook(pb::Webhook { url }) => Destination::Webhook { url },
        Wire::Syslog(pb::Syslog { address, server_name, format }) => {
            let format = match format.as_str() {
                "ocsf" => RecordFormat::Ocsf,
                "cef" => RecordFormat::Cef,
                "json" | "" => RecordFormat::Json,
                _ => return f.fault("sink.syslog.format", "must be ocsf, cef or json"),
            };
            Destination::Syslog { address, server_name: Some(server_name).filter(|name| !name.is_empty()), format }
        }
        Wire::Otlp(pb::Otlp { url }) => Destination::Otlp { url },
        Wire::Slack(pb::Slack {}) => Destination::Slack,
        Wire::Teams(pb::Teams {}) => Destination::Teams,
        Wire::Mail(pb::Mail { address, implicit_tls, from, to, username }) => {
            Destination::Mail { address, tls: if implicit_tls { MailTls::Implicit } else { MailTls::Starttls }, from, to, username }
        }
    })
}
