//! What the gateways of two nodes say to each other: cancel requests that came to the wrong node, lists of sessions, and
//! what serves them at their targets.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    Cancel { number: u64, secret: Vec<u8> },
    Sessions,
    Connections,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) sessions: Vec<proto::admin::Session>,
    /// There if they were asked for, by a node that knows of them.
    #[serde(default)]
    pub(crate) connections: Option<Vec<Connection>>,
}

/// A session, and what serves it at its target; 0 where that cannot be told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) session: String,
    pub(crate) principal: String,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) target: String,
    pub(crate) admitted_at: u64,
    pub(crate) process: u32,
    pub(crate) started_us: u64,
}

/// Nodes of different versions may talk: fields and questions not known are an error on the other side, never a guess.
pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("plain data has a JSON form").into()
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
