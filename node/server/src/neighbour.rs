//! What the gateways of two nodes say to each other: cancel requests that came to the wrong node, and lists of sessions.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    Cancel { number: u64, secret: Vec<u8> },
    Sessions,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) sessions: Vec<proto::admin::Session>,
}

/// Nodes of different versions may talk: fields and questions not known are an error on the other side, never a guess.
pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("plain data has a JSON form").into()
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
