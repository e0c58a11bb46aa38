//! What is sent: one event or one record, with the id it keeps however often it is sent.

use domain::sink::Cursor;
use proto::admin as pb;

use crate::event::Event;

#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Letters, digits, `-` and `_`: what receivers drop repeated ones by.
    pub(crate) id: String,
    pub(crate) content: Content,
    /// The cursor once it is delivered.
    pub(crate) after: Cursor,
    /// It may have been sent before: by an earlier leader, or by an attempt whose answer was lost.
    pub(crate) redelivered: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Event(Event),
    Record(Box<pb::AuditRecord>),
}

/// How far a delivery came: the first `delivered` messages were taken by the receiver.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) delivered: usize,
    /// Taken, but refused by the receiver for good, as it said.
    pub(crate) rejected: u64,
    pub(crate) error: Option<String>,
}

impl Delivery {
    pub(crate) fn all(messages: &[Message]) -> Delivery {
        Delivery { delivered: messages.len(), ..Delivery::default() }
    }

    pub(crate) fn failed(delivered: usize, error: impl Into<String>) -> Delivery {
        Delivery { delivered, error: Some(error.into()), ..Delivery::default() }
    }
}

/// The id of a message, of the cluster, its incarnation and where it comes from.
pub(crate) fn id(kind: &str, identity: &(String, u64), place: &str) -> String {
    let clean = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect::<String>();
    format!("{kind}_{}_{}_{}", clean(&identity.0), identity.1, clean(place))
}
