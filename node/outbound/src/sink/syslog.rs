//! Syslog: RFC 5424 messages over TLS, each with its length before it (RFC 5425).
//!
//! The protocol has no acknowledgement. The cursor moves when the collector's kernel has acknowledged every byte and the
//! connection still stands; what the collector had not read then, and loses by being killed, is lost.

use std::fmt::Write as _;

use domain::escape::show;
use proto::admin as pb;
use record_formats::Formatter;
use socket::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::connect::{self, Trust};
use crate::limits::{CALL_DEADLINE, SETTLE};
use crate::message::{Delivery, Message};
use crate::source::Source;
use crate::url::host_port;

/// Log audit.
const FACILITY: u8 = 13;
/// Characters of HOSTNAME and MSGID.
const HOSTNAME_MAX: usize = 255;
const MSGID_MAX: usize = 32;
/// Nobody has assigned Assize a number; 32473 is the one for examples (RFC 5612).
const STRUCTURED_ID: &str = "assize@32473";

pub(super) struct Collector<'a> {
    pub(super) address: &'a str,
    pub(super) server_name: Option<&'a str>,
}

pub(super) async fn deliver(
    to: &Collector<'_>,
    stream: &mut Option<Stream>,
    formatter: &mut Formatter,
    source: &dyn Source,
    messages: &[Message],
    trust: Trust<'_>,
) -> Delivery {
    // What is sent again after a failure must read as it did: the formatter goes on only with what was delivered.
    let mut writing = formatter.clone();
    let host = format!("node-{}.{}", source.node(), source.identity().0);
    let mut frames = Vec::new();
    for message in messages {
        if let Some(record) = message.content.record() {
            let line = frame(&host, message, record, &writing.line(record));
            frames.extend_from_slice(line.as_bytes());
        }
    }
    let sent = timeout(CALL_DEADLINE, send(to, stream, &frames, trust)).await;
    match sent.unwrap_or_else(|_| Err(format!("not taken within {CALL_DEADLINE:?}"))) {
        Ok(()) => {
            *formatter = writing;
            Delivery::all(messages)
        }
        Err(error) => {
            *stream = None;
            Delivery::failed(0, error)
        }
    }
}

async fn send(to: &Collector<'_>, stream: &mut Option<Stream>, frames: &[u8], trust: Trust<'_>) -> Result<(), String> {
    if let Some(open) = stream.as_mut()
        && has_ended(open).await
    {
        *stream = None;
    }
    let open = match stream {
        Some(open) => open,
        None => {
            let (host, port) = host_port(to.address).ok_or("the address cannot be read")?;
            let tcp = connect::tcp(host, port, trust.allowed).await?;
            stream.insert(connect::tls(tcp, to.server_name.unwrap_or(host), trust.roots_pem).await?)
        }
    };
    open.write_all(frames).await.map_err(|error| error.to_string())?;
    open.flush().await.map_err(|error| error.to_string())?;
    let until = Instant::now() + SETTLE;
    // Unknown counts as none: the write succeeded.
    while socket::unacknowledged(open.tcp()).is_ok_and(|left| left > 0) {
        if Instant::now() > until {
            return Err(format!("not acknowledged within {SETTLE:?}"));
        }
        sleep(Duration::from_millis(2)).await;
    }
    if has_ended(open).await { Err("the collector closed the connection".into()) } else { Ok(()) }
}

/// A collector says nothing: whatever can be read is its end.
async fn has_ended(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    matches!(timeout(Duration::from_millis(1), stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
}

/// `LENGTH SP <PRI>1 TIMESTAMP HOSTNAME assize PROCID MSGID [DATA] TEXT`.
fn frame(host: &str, message: &Message, record: &pb::AuditRecord, text: &str) -> String {
    // 3 error, 4 warning, 6 informational.
    let severity = match record_formats::severity(record) {
        4.. => 3,
        3 => 4,
        _ => 6,
    };
    let header = |text: &str, max: usize| {
        let printable: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
        if printable.is_empty() { "-".to_owned() } else { printable }
    };
    let mut data = format!("[{STRUCTURED_ID}");
    let number = record.number.to_string();
    for (name, value) in [("id", message.id.as_str()), ("log", &record.log), ("number", &number)] {
        let _ = write!(data, " {name}=\"{}\"", in_data(value));
    }
    if message.redelivered {
        data.push_str(" redelivered=\"true\"");
    }
    data.push(']');
    let line = format!(
        "<{}>1 {} {} assize node-{} {} {data} {}",
        FACILITY * 8 + severity,
        record_formats::rfc_3339(record),
        header(host, HOSTNAME_MAX),
        record.node,
        header(&record.kind, MSGID_MAX),
        text.replace(['\n', '\r'], " ")
    );
    format!("{} {line}", line.len())
}

fn in_data(value: &str) -> String {
    show(value).text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Content;

    #[test]
    fn a_frame_has_its_length_and_its_parts() {
        let record = pb::AuditRecord {
            log: "audit/0".into(),
            number: 7,
            at: Some(proto::types::Timestamp { seconds: 1_763_900_000, nanos: 5_000_000 }),
            kind: "intent".into(),
            node: 2,
            ..Default::default()
        };
        let content = Content::Record(Box::new(record.clone()));
        let message = Message { id: "rec_\"]".into(), content, after: Default::default(), redelivered: true };
        let framed = frame("node-2.demo", &message, &record, "{\"text\":\"é\"}\nmore");
        let (length, line) = framed.split_once(' ').expect("a length");
        assert_eq!(length.parse(), Ok(line.len()), "bytes, not characters");
        assert_eq!(
            line,
            "<110>1 2025-11-23T12:13:20.005Z node-2.demo assize node-2 intent [assize@32473 id=\"rec_\\\"\\]\" log=\"audit/0\" \
             number=\"7\" redelivered=\"true\"] {\"text\":\"é\"} more"
        );
    }
}
