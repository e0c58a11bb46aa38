//! One message to see whether a sink works: from the node that is asked, outside the cursor.

use std::sync::Arc;

use domain::sink::{Cursor, Destination, Sink};
use proto::admin as pb;
use record_formats::{Formatter, RecordFormat};

use crate::address::Allowed;
use crate::event::Event;
use crate::message::{Content, Message, id};
use crate::sink::Receiver;
use crate::source::Source;

/// # Errors
/// Why it was not delivered, for the operator.
pub async fn test(source: Arc<dyn Source>, sink: &Sink, allowed: &Allowed) -> Result<(), String> {
    let at = source.now();
    let title = format!("a test of sink {} from node {}", sink.name, source.node());
    let content = if sink.terms.destination.is_collector() {
        let at = proto::types::Timestamp {
            seconds: i64::try_from(at.0 / 1000).unwrap_or(i64::MAX),
            nanos: i32::try_from(at.0 % 1000).unwrap_or_default() * 1_000_000,
        };
        let record = pb::AuditRecord {
            log: "test".into(),
            at: Some(at),
            kind: "sink-test".into(),
            node: source.node().0,
            boot: format!("{:016x}", source.boot().0),
            summary: title,
            ..Default::default()
        };
        Content::Record(Box::new(record))
    } else {
        Content::Event(Event::new("sink.test", at, title))
    };
    let id = id("evt", &source.identity(), &format!("test-{}-{}", sink.name, at.0));
    let message = Message { id, content, after: Cursor::default(), redelivered: false };
    let format = match &sink.terms.destination {
        Destination::Syslog { format, .. } => *format,
        Destination::Webhook { .. } | Destination::Otlp { .. } | Destination::Slack | Destination::Teams | Destination::Mail { .. } => {
            RecordFormat::Json
        }
    };
    let mut receiver = Receiver::new(sink, source.open(sink)?, Formatter::new(format));
    let delivery = receiver.deliver(&*source, &[message], allowed).await;
    delivery.error.map_or(Ok(()), Err)
}
