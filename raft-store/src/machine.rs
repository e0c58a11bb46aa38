//! What a replicated state must offer to be kept here.

use bytes::Bytes;
use domain::audit::pruned::Terms;
use domain::retention::Runs;

/// A key and its value; both opaque here.
pub type Row = (Vec<u8>, Vec<u8>);

/// A replicated state. Two implementors: the control state (in `cluster`), and the audit log ([`crate::audit`]).
///
/// It must be deterministic: the same payloads in the same order give the same replies, rows and leaves on every node.
pub trait Machine: Send + Sync + 'static {
    /// The state that these rows are, in key order.
    ///
    /// # Errors
    /// When a row cannot be understood: the node must not start.
    fn load(&mut self, rows: Vec<Row>) -> Result<(), MachineError>;

    /// Applies one payload. `index` is that of the log entry; `leaves` is the size of the Merkle log before it.
    ///
    /// # Errors
    /// When the payload is of a kind this version does not know, or this replica would come to another state than
    /// the others: the node must stop, not skip.
    fn apply(&mut self, index: u64, leaves: u64, payload: &Bytes) -> Result<Applied, MachineError>;

    /// The leaves whose bodies go because this row is there; the row is kept for as long as the log. Replicas that read
    /// it in a snapshot let them go as those did that applied it.
    ///
    /// # Errors
    /// When the row cannot be understood.
    fn prune(_key: &[u8], _value: &[u8]) -> Result<Option<Prune>, MachineError>
    where
        Self: Sized,
    {
        Ok(None)
    }

    /// Everything applied up to `index` is written: show it to readers. Called before anybody is answered.
    fn published(&mut self, index: u64);
}

/// What applying one payload did.
#[derive(Debug, Default)]
pub struct Applied {
    pub reply: Bytes,
    /// Rows to put, or to delete.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Appended to the Merkle log, in this order.
    pub leaves: Vec<Bytes>,
}

/// Leaves whose bodies go. Their hashes stay, and [`domain::audit::pruned`] stands in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    pub terms: Terms,
    pub leaves: Runs,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(pub String);
