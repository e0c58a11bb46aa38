//! What happened in a run, in one order.

use std::fmt;
use std::sync::Arc;

use domain::id::{GrantId, Index, RequestId};
use parking_lot::Mutex;

use super::fate;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A gateway let an operation pass.
    Forwarded {
        node: u64,
        grant: GrantId,
    },
    /// The client was told that the grant is revoked everywhere; `silent` nodes had not reported.
    Acknowledged {
        node: u64,
        grant: GrantId,
        took_ms: u64,
        silent: usize,
    },
    /// … or that it is not known, or not done.
    NotAcknowledged {
        node: u64,
        grant: GrantId,
        why: String,
    },
    /// The client was told that this grant is issued.
    Granted {
        grant: GrantId,
    },
    /// The client was told that nothing came of it.
    NotGranted {
        marker: String,
    },
    /// A gateway was told that its node's records are in the log up to this one.
    Recorded {
        node: u64,
        process: u64,
        through: u64,
    },
    /// A gateway was told that it may use the approval.
    Spent {
        node: u64,
        request: RequestId,
    },
    NotSpent {
        node: u64,
        request: RequestId,
        why: String,
    },
    /// Who asked was told that their own request is approved by themselves.
    ApprovedOwn {
        request: RequestId,
    },
    /// A client writes a register, or reads it.
    Invoked {
        client: u64,
        key: usize,
        write: Option<u64>,
    },
    Returned {
        client: u64,
        key: usize,
        read: Option<u64>,
    },
    /// The nemesis.
    Fault(String),
    /// A node serves, or stopped serving.
    Serving {
        node: u64,
        serving: bool,
    },
    /// At the end: what a node holds.
    Settled {
        node: u64,
        applied: Index,
        records: usize,
    },
}

/// When, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: u64,
    pub fact: Fact,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3} ms  {:?}", self.at as f64 / 1e6, self.fact)
    }
}

/// Where everybody in a run writes what they see.
#[derive(Clone, Default)]
pub(super) struct Pen(Arc<Mutex<Vec<Event>>>);

impl Pen {
    pub(super) fn note(&self, fact: Fact) {
        self.0.lock().push(Event { at: fate::now(), fact });
    }

    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock())
    }
}
