//! Standard Webhooks: `webhook-id`, `webhook-timestamp`, and `webhook-signature` with HMAC-SHA256 over the three parts
//! `id.timestamp.body`. The id is the message's; a receiver drops what it has seen.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use identity::Secret;
use serde_json::{Value, json};

use crate::connect::Trust;
use crate::event::when;
use crate::http::post;
use crate::message::{Content, Delivery, Message};
use crate::url::Url;

/// How a secret begins, as Standard Webhooks writes it; base64 follows.
const PREFIX: &str = "whsec_";
/// Bytes of a key.
const KEY_SIZES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret as it is written: `whsec_` and base64 of 24 to 64 bytes. Gives the key.
///
/// # Errors
/// What is wrong with it.
pub fn secret(text: &str) -> Result<Vec<u8>, String> {
    let key = text.strip_prefix(PREFIX).and_then(|encoded| BASE64.decode(encoded.as_bytes()).ok());
    let key = key.filter(|key| KEY_SIZES.contains(&key.len()));
    key.ok_or_else(|| format!("must be {PREFIX} and base64 of {} to {} bytes", KEY_SIZES.start(), KEY_SIZES.end()))
}

pub(super) async fn deliver(url: &str, secret_text: Option<&Secret>, messages: &[Message], trust: Trust<'_>) -> Delivery {
    let key = secret_text.and_then(Secret::expose_str).ok_or_else(|| "the secret is missing".to_owned()).and_then(secret);
    let (url, key) = match (Url::parse(url), key) {
        (Some(url), Ok(key)) => (url, key),
        (None, _) => return Delivery::failed(0, "the address cannot be read"),
        (_, Err(why)) => return Delivery::failed(0, format!("the secret {why}")),
    };
    for (n, message) in messages.iter().enumerate() {
        let body = body(message).to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", now.to_string()),
            ("webhook-signature", signature(&key, &message.id, now, &body)),
        ];
        if message.redelivered {
            headers.push(("assize-redelivered", "true".to_owned()));
        }
        if let Err(error) = post(&url, &headers, body.into(), trust).await.and_then(crate::http::Answer::done) {
            return Delivery::failed(n, error);
        }
    }
    Delivery::all(messages)
}

fn signature(key: &[u8], id: &str, timestamp: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    format!("v1,{}", BASE64.encode(hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes()).as_ref()))
}

/// The same each time the message is sent.
fn body(message: &Message) -> Value {
    match &message.content {
        Content::Event(event) => {
            let facts: serde_json::Map<String, Value> =
                event.facts.iter().map(|(name, value)| (name.replace(' ', "_"), value.as_str().into())).collect();
            json!({
                "type": event.kind,
                "timestamp": when(event.at),
                "data": { "id": message.id, "title": event.title, "facts": facts, "commands": event.commands },
            })
        }
        Content::Record(record) => json!({
            "type": if record.log == "control" { "record.control" } else { "record.audit" },
            "timestamp": record_formats::rfc_3339(record),
            "data": record_formats::json(record),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's own libraries are tested with.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_read_strictly() {
        for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!"] {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }
}
