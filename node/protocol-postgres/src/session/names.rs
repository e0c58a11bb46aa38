//! Prepared statements, portals and cursors by name: what would run if a name were executed (THREATS 24, 25).
//!
//! A change counts from when it is forwarded and is undone if the server refuses or skips it: a failed Parse leaves
//! the old statement standing. A name this module does not know needs the widest class.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::operation::Operation;

use crate::operation::{Classified, Step};

/// Names remembered a session, of each kind. Beyond, new ones are forgotten at once, so they need the widest class.
const NAMES_MAX: usize = 4_096;

/// A prepared statement, by Parse or by SQL `PREPARE`.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The text of the Parse; for SQL, the whole `PREPARE …` statement.
    pub(super) text: Bytes,
    pub(super) by_sql: bool,
}

/// A statement with its parameters, by Bind; or a cursor, by `DECLARE`.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) source: Source,
    /// As bound: parameter formats, values, result formats.
    pub(super) parameters: Bytes,
    /// Syncs sent before it was bound; it dies with the transaction it was bound in.
    pub(super) epoch: u64,
    /// A cursor `WITH HOLD` outlives its transaction.
    pub(super) outlives: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Source {
    Statement(Arc<Prepared>),
    /// What a cursor's FETCH needs.
    Cursor(Operation),
    /// Not known to this gateway: the widest class.
    Unknown,
}

/// How to take a change back.
#[derive(Debug)]
pub(super) enum Undo {
    Statement(Bytes, Option<Arc<Prepared>>),
    Portal(Bytes, Option<Arc<Portal>>),
}

#[derive(Debug, Default)]
pub(super) struct Names {
    statements: HashMap<Bytes, Arc<Prepared>>,
    portals: HashMap<Bytes, Arc<Portal>>,
}

impl Names {
    pub(super) fn statement(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        self.statements.get(name)
    }

    pub(super) fn portal(&self, name: &[u8]) -> Option<&Arc<Portal>> {
        self.portals.get(name)
    }

    pub(super) fn prepare(&mut self, name: Bytes, prepared: Arc<Prepared>) -> Undo {
        let before = self.statements.remove(&name);
        if self.statements.len() < NAMES_MAX {
            self.statements.insert(name.clone(), prepared);
        }
        Undo::Statement(name, before)
    }

    pub(super) fn bind(&mut self, name: Bytes, portal: Arc<Portal>) -> Undo {
        let before = self.portals.remove(&name);
        if self.portals.len() < NAMES_MAX {
            self.portals.insert(name.clone(), portal);
        }
        Undo::Portal(name, before)
    }

    pub(super) fn close_statement(&mut self, name: Bytes) -> Undo {
        let before = self.statements.remove(&name);
        Undo::Statement(name, before)
    }

    pub(super) fn close_portal(&mut self, name: Bytes) -> Undo {
        let before = self.portals.remove(&name);
        Undo::Portal(name, before)
    }

    /// The server skipped what made this change.
    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Statement(name, Some(before)) => drop(self.statements.insert(name, before)),
            Undo::Statement(name, None) => drop(self.statements.remove(&name)),
            Undo::Portal(name, Some(before)) => drop(self.portals.insert(name, before)),
            Undo::Portal(name, None) => drop(self.portals.remove(&name)),
        }
    }

    /// The server refused this very change. An unnamed statement or portal is gone even then (protocol, "Extended
    /// Query": it is dropped before the new one is tried).
    pub(super) fn refused(&mut self, undo: Undo) {
        match undo {
            Undo::Statement(name, _) if name.is_empty() => drop(self.statements.remove(&name)),
            Undo::Portal(name, _) if name.is_empty() => drop(self.portals.remove(&name)),
            other => self.undo(other),
        }
    }

    /// A simple query drops the unnamed statement and portal.
    pub(super) fn simple_query(&mut self) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
    }

    /// What a string of statements did to the names, once it is done. If it failed, some of it may have happened:
    /// the names it touches are forgotten.
    pub(super) fn apply(&mut self, classified: &Classified, done: bool) {
        for step in &classified.steps {
            match step {
                Step::Prepare(prepared) => {
                    let name = Bytes::copy_from_slice(prepared.name.as_bytes());
                    self.statements.remove(&name);
                    if done {
                        let text = Bytes::copy_from_slice(prepared.statement.as_bytes());
                        self.prepare(name, Arc::new(Prepared { text, by_sql: true }));
                    }
                }
                Step::Deallocate(Some(name)) => drop(self.statements.remove(name.as_bytes())),
                Step::Deallocate(None) => self.statements.clear(),
                Step::Declare(cursor) => {
                    let name = Bytes::copy_from_slice(cursor.name.as_bytes());
                    self.portals.remove(&name);
                    if done {
                        let source = Source::Cursor(cursor.operation.clone());
                        self.bind(name, Arc::new(Portal { source, parameters: Bytes::new(), epoch: u64::MAX, outlives: cursor.hold }));
                    }
                }
                Step::Close(Some(name)) => drop(self.portals.remove(name.as_bytes())),
                Step::Close(None) => self.portals.clear(),
                Step::DiscardAll => {
                    self.statements.clear();
                    self.portals.clear();
                }
                Step::Transaction(_) | Step::Setting(_) | Step::Execute(_) | Step::Fetch(_) | Step::Listen(_) | Step::Unlisten(_) => {}
            }
        }
    }

    /// No transaction is open after Sync number `acknowledged`: portals of before are gone.
    pub(super) fn transaction_over(&mut self, acknowledged: u64) {
        self.portals.retain(|_, portal| portal.outlives || (portal.epoch != u64::MAX && portal.epoch >= acknowledged));
    }
}

/// Does the string give names a meaning that later statements may use?
pub(super) fn touches_names(classified: &Classified) -> bool {
    classified.steps.iter().any(|step| match step {
        Step::Prepare(_) | Step::Deallocate(_) | Step::Declare(_) | Step::Close(_) | Step::DiscardAll => true,
        Step::Transaction(_) | Step::Setting(_) | Step::Execute(_) | Step::Fetch(_) | Step::Listen(_) | Step::Unlisten(_) => false,
    })
}
