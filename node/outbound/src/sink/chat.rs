//! Messages in Slack and Teams, by their incoming webhooks. Every text goes where no markup is read, so that nobody's
//! reason becomes a link or calls everybody. The answer is given by the command that is named: a button's answer would
//! have to be attributed to a person, and whoever can read a channel is none.

use identity::Secret;
use serde_json::{Value, json};

use crate::connect::Trust;
use crate::event::{Event, when};
use crate::http::post;
use crate::message::{Content, Delivery, Message};
use crate::url::Url;

#[derive(Debug, Clone, Copy)]
pub(super) enum Chat {
    Slack,
    Teams,
}

/// Characters of one text in Slack: a section's field may have 2000.
const SLACK_TEXT_MAX: usize = 1900;
/// Fields of one section in Slack.
const SLACK_FIELDS: usize = 10;
const AGAIN: &str = "sent again: an earlier message may have been lost";

pub(super) async fn deliver(chat: Chat, address: Option<&Secret>, messages: &[Message], trust: Trust<'_>) -> Delivery {
    let url = address.and_then(Secret::expose_str).and_then(Url::parse);
    let Some(url) = url else { return Delivery::failed(0, "the secret is no address of a webhook") };
    for (n, message) in messages.iter().enumerate() {
        let Content::Event(event) = &message.content else { continue };
        let body = match chat {
            Chat::Slack => slack(event, message.redelivered),
            Chat::Teams => teams(event, message.redelivered),
        };
        let headers = [("content-type", "application/json".to_owned())];
        if let Err(error) = post(&url, &headers, body.to_string().into(), trust).await.and_then(crate::http::Answer::done) {
            return Delivery::failed(n, error);
        }
    }
    Delivery::all(messages)
}

fn plain(text: &str) -> Value {
    let cut: String = text.chars().take(SLACK_TEXT_MAX).collect();
    json!({ "type": "plain_text", "text": cut, "emoji": false })
}

fn slack(event: &Event, redelivered: bool) -> Value {
    // The fallback of notifications reads markup: what would be one is escaped as Slack asks.
    let fallback = event.title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut blocks = vec![json!({ "type": "section", "text": plain(&event.title) })];
    for facts in event.facts.chunks(SLACK_FIELDS) {
        let fields: Vec<Value> = facts.iter().map(|(name, value)| plain(&format!("{name}: {value}"))).collect();
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    if !event.commands.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&event.commands.join("\n")) }));
    }
    let mut context = vec![plain(&when(event.at))];
    if redelivered {
        context.push(plain(AGAIN));
    }
    blocks.push(json!({ "type": "context", "elements": context }));
    json!({ "text": fallback, "blocks": blocks })
}

/// An adaptive card of rich text: runs of it read no markup, unlike text blocks and facts.
fn teams(event: &Event, redelivered: bool) -> Value {
    let run = |text: &str, bold: bool, mono: bool| {
        let font = if mono { "Monospace" } else { "Default" };
        let weight = if bold { "Bolder" } else { "Default" };
        json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": text, "weight": weight, "fontType": font }] })
    };
    let mut body = vec![run(&event.title, true, false)];
    body.extend(event.facts.iter().map(|(name, value)| run(&format!("{name}: {value}"), false, false)));
    body.extend(event.commands.iter().map(|command| run(command, false, true)));
    body.push(run(&when(event.at), false, false));
    if redelivered {
        body.push(run(AGAIN, false, false));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use domain::time::LogTime;

    use super::*;

    fn event() -> Event {
        let title = "bot asks for one operation on orders (request-7)";
        let mut event = Event::new("request.opened", LogTime(1_763_900_000_000), title);
        event.facts.push(("reason", "<!channel> [click](https://evil.example) *now*".into()));
        event.commands.push("assize request approve request-7".into());
        event
    }

    /// Every text of a message, and the type of what holds it.
    fn texts(value: &Value, found: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) => {
                if let (Some(Value::String(kind)), Some(Value::String(text))) = (members.get("type"), members.get("text")) {
                    found.push((kind.clone(), text.clone()));
                }
                members.values().for_each(|value| texts(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
            _ => {}
        }
    }

    #[test]
    fn what_somebody_wrote_is_no_markup() {
        for (message, holder) in [(slack(&event(), true), "plain_text"), (teams(&event(), true), "TextRun")] {
            let mut found = Vec::new();
            texts(&message, &mut found);
            assert!(found.iter().all(|(kind, _)| kind == holder), "{found:?}");
            for wanted in ["request-7", "<!channel>", "assize request approve request-7", AGAIN] {
                assert!(found.iter().any(|(_, text)| text.contains(wanted)), "{wanted} in {found:?}");
            }
        }
        assert_eq!(slack(&Event::new("x", LogTime(0), "<!here> & co"), false)["text"], "&lt;!here&gt; &amp; co");
    }
}
