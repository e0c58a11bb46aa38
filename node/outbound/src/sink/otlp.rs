//! OTLP logs over HTTP, in the JSON mapping: a batch a call.

use identity::Secret;
use proto::admin as pb;
use serde_json::{Value, json};

use crate::connect::Trust;
use crate::http::post;
use crate::message::{Delivery, Message};
use crate::source::Source;
use crate::url::Url;

pub(super) async fn deliver(
    url: &str,
    authorization: Option<&Secret>,
    messages: &[Message],
    source: &dyn Source,
    trust: Trust<'_>,
) -> Delivery {
    let Some(url) = Url::parse(url) else { return Delivery::failed(0, "the address cannot be read") };
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if let Some(secret) = authorization {
        match secret.expose_str() {
            Some(value) => headers.push(("authorization", value.to_owned())),
            None => return Delivery::failed(0, "the secret is no text"),
        }
    }
    let body = body(messages, &source.identity(), source.now().0).to_string();
    match post(&url, &headers, body.into(), trust).await.and_then(crate::http::Answer::done) {
        Err(error) => Delivery::failed(0, error),
        // What a collector rejects in part must not be sent again, says the protocol.
        Ok(answer) => Delivery { rejected: rejected(&answer.body), ..Delivery::all(messages) },
    }
}

fn rejected(answer: &str) -> u64 {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedLogRecords"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or_default()
}

fn body(messages: &[Message], (cluster, incarnation): &(String, u64), now: u64) -> Value {
    let records: Vec<Value> = messages.iter().filter_map(|message| Some(record(message, message.content.record()?, now))).collect();
    json!({
        "resourceLogs": [{
            "resource": { "attributes": [
                attribute("service.name", "assize"),
                attribute("service.version", env!("CARGO_PKG_VERSION")),
                attribute("assize.cluster", cluster),
                attribute("assize.incarnation", &incarnation.to_string()),
            ] },
            "scopeLogs": [{ "scope": { "name": "assize.audit", "version": "v1" }, "logRecords": records }],
        }],
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn record(message: &Message, record: &pb::AuditRecord, now: u64) -> Value {
    let number_in_log = record.number.to_string();
    let own = [
        ("log.record.uid", message.id.as_str()),
        ("assize.log", &record.log),
        ("assize.number", &number_in_log),
        ("assize.session", &record.session),
        ("assize.principal", &record.principal),
        ("assize.target", &record.target),
        ("assize.redelivered", if message.redelivered { "true" } else { "" }),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| attribute(key, value));
    let fields = record.fields.iter().map(|(name, value)| attribute(&format!("assize.field.{name}"), value));
    // 9 INFO, 13 WARN, 17 ERROR.
    let (number, text) = match record_formats::severity(record) {
        4.. => (17, "ERROR"),
        3 => (13, "WARN"),
        _ => (9, "INFO"),
    };
    json!({
        "timeUnixNano": format!("{}000000", record_formats::millis(record)),
        "observedTimeUnixNano": format!("{now}000000"),
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("assize.{}", record.kind),
        "body": { "stringValue": record.summary },
        "attributes": own.chain(fields).collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Content;

    #[test]
    fn a_record_is_mapped_as_the_protocol_says() {
        let content = pb::AuditRecord {
            log: "audit/0".into(),
            number: 7,
            at: Some(proto::types::Timestamp { seconds: 1_763_900_000, nanos: 5_000_000 }),
            kind: "intent".into(),
            principal: "bot".into(),
            summary: "refused".into(),
            fields: [("verdict".to_owned(), "refused".to_owned())].into(),
            ..Default::default()
        };
        let content = Content::Record(Box::new(content));
        let message = Message { id: "rec_c_1_audit-0-7".into(), content, after: Default::default(), redelivered: true };
        let body = body(&[message], &("c".into(), 1), 1_763_900_000_009);
        let record = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1763900000005000000");
        assert_eq!((&record["severityText"], &record["eventName"]), (&"WARN".into(), &"assize.intent".into()));
        let has = |key: &str, value: &str| {
            let found = record["attributes"].as_array().expect("attributes").iter().any(|a| *a == attribute(key, value));
            assert!(found, "{key} in {record:#}");
        };
        has("log.record.uid", "rec_c_1_audit-0-7");
        has("assize.redelivered", "true");
        has("assize.field.verdict", "refused");
    }

    #[test]
    fn what_a_collector_rejects_is_counted() {
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}"#), 3);
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedLogRecords":2}}"#), 2);
        assert_eq!((rejected("{}"), rejected("")), (0, 0));
    }
}
