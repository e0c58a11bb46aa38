//! What happened, as seen from outside, on one clock: `CLOCK_BOOTTIME` is the same in all namespaces of a machine, so the
//! order of what nodes, clients, administrators and the target saw is exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

pub mod check;

/// A moment of `CLOCK_BOOTTIME`.
pub type Moment = Duration;

/// One statement of the load, of which no two are alike.
pub type Statement = u32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client sent a statement to this node (from 0); one that `writes` leaves a row of its number.
    Attempt {
        statement: Statement,
        agent: String,
        node: usize,
        writes: bool,
    },
    Answer {
        statement: Statement,
        outcome: Outcome,
    },
    /// The statement arrived at the target.
    Seen {
        statement: Statement,
        connection: u64,
    },
    /// Something cancelled at the target.
    CancelSeen,
    /// A connection of the gateway's at the target is over.
    Closed {
        connection: u64,
    },
    /// An administrator asked for the end of all access of this agent.
    Revoke {
        agent: String,
    },
    /// … and was told that it is out; with the nodes (from 1) that reported so, and those whose lease had to run out. One
    /// that was taken out of the serving set is neither.
    Revoked {
        agent: String,
        reported: Vec<u64>,
        silent: Vec<u64>,
    },
    /// … or was told something else, so nobody knows.
    RevokeUnknown {
        agent: String,
        why: String,
    },
    /// The access of this agent ends by itself now.
    Expired {
        agent: String,
    },
    Fault(String),
    Healed,
}

/// What a client was told of its statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Told in so many words that nothing was done.
    NotDone(String),
    /// Told no, by SQLSTATE and message; says nothing about whether the target has seen it.
    Refused(String),
    /// No answer.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub at: Moment,
    pub event: Event,
}

#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Noted>,
    /// Counted while they come, because whoever waits for successes looks often.
    successes: usize,
    senders: BTreeMap<Statement, (String, usize)>,
    succeeded: BTreeSet<(String, usize)>,
}

pub fn now() -> Moment {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

impl History {
    pub fn note(&self, event: Event) -> Moment {
        let at = now();
        self.note_at(at, event);
        at
    }

    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn note_at(&self, at: Moment, event: Event) {
        let mut kept = self.0.lock().expect("no holder panics");
        match &event {
            Event::Attempt { statement, agent, node, .. } => {
                kept.senders.insert(*statement, (agent.clone(), *node));
            }
            Event::Answer { statement, outcome } => {
                let sender = kept.senders.remove(statement);
                if *outcome == Outcome::Done {
                    kept.successes += 1;
                    kept.succeeded.extend(sender);
                }
            }
            _ => {}
        }
        kept.events.push(Noted { at, event });
    }

    /// Statements that were done so far.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn successes(&self) -> usize {
        self.0.lock().expect("no holder panics").successes
    }

    /// This agent has had a success at this node.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn has_succeeded(&self, agent: &str, node: usize) -> bool {
        self.0.lock().expect("no holder panics").succeeded.contains(&(agent.to_owned(), node))
    }

    /// All of it, in order of time.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn events(&self) -> Vec<Noted> {
        let mut events = self.0.lock().expect("no holder panics").events.clone();
        events.sort_by_key(|noted| noted.at);
        events
    }
}
