//! Reading the logs: leaves, proofs, checkpoints. Answers come from this node's copy.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use domain::audit::checkpoint::{Checkpoint, Note};
use domain::audit::merkle::Hash;
use domain::id::NodeId;
use domain::retention::{Plan, RecordClass};
use domain::state::State;
use raft_store::LeafReader;

use crate::node::Node;
use crate::raft::{self, AUDIT_LOG, CONTROL_LOG};

/// Bytes of leaves read at once.
const READ_BYTES_MAX: usize = 4 << 20;

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogName {
    /// Commands: administration.
    Control,
    /// Records: what agents did.
    Audit,
}

impl LogName {
    pub const ALL: [LogName; 2] = [LogName::Control, LogName::Audit];

    pub fn as_str(self) -> &'static str {
        match self {
            LogName::Control => CONTROL_LOG,
            LogName::Audit => AUDIT_LOG,
        }
    }
}

/// A tree head with the signatures that stand under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    pub checkpoint: Checkpoint,
    /// Ed25519 signatures of [`Checkpoint::text`], by node.
    pub signatures: Vec<(NodeId, Vec<u8>)>,
    /// A majority of the voters signed it.
    pub complete: bool,
}

impl SignedHead {
    /// As a signed note, with the keys that counted at the checkpoint's control index.
    pub fn note(&self, state: &State) -> Note {
        let keys = |node: &NodeId| {
            state.members.get(node)?.checkpoint_keys.range(..=self.checkpoint.control_index).next_back().map(|(_, key)| key)
        };
        let signatures = self.signatures.iter().filter_map(|(node, signature)| Some((*node, keys(node)?, signature.as_slice())));
        self.checkpoint.note(signatures)
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    node: Arc<Node>,
}

impl Audit {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    fn reader(&self, log: LogName) -> LeafReader {
        self.node.reader(log)
    }

    /// Leaves applied on this node.
    pub fn size(&self, log: LogName) -> u64 {
        self.reader(log).size()
    }

    async fn read<T: Send + 'static>(
        &self,
        log: LogName,
        read: impl FnOnce(LeafReader) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let reader = self.reader(log);
        crate::tasks::blocking(move || read(reader)).await.map_err(io::Error::other)?
    }

    /// The leaves of `range` that there are, or as many of the first as fit 4 MiB; ask again from where it ends.
    pub async fn leaves(&self, log: LogName, range: Range<u64>) -> io::Result<Vec<Bytes>> {
        self.read(log, move |reader| reader.leaves(range, READ_BYTES_MAX)).await
    }

    pub async fn root_at(&self, log: LogName, size: u64) -> io::Result<Hash> {
        self.read(log, move |reader| reader.root_at(size)).await
    }

    /// Path from leaf `index` to the root of the first `size` leaves.
    pub async fn inclusion_proof(&self, log: LogName, index: u64, size: u64) -> io::Result<Vec<Hash>> {
        self.read(log, move |reader| reader.inclusion_proof(index, size)).await
    }

    pub async fn consistency_proof(&self, log: LogName, old: u64, new: u64) -> io::Result<Vec<Hash>> {
        self.read(log, move |reader| reader.consistency_proof(old, new)).await
    }

    /// Has every replica let the bodies go that the control log decided on, as far as they are there. Done once more, it
    /// changes nothing. Only the audit group's leader can.
    ///
    /// # Errors
    /// When it is not committed, as far as is known; then it is to be done again.
    pub async fn prune(&self, class: RecordClass, plan: &Plan) -> Result<(), String> {
        raft::prune(&self.node.audit, class, plan).await
    }

    /// Gives the space of bodies that went back to this node's disk; `false` when none went since this was done last.
    pub async fn reclaim(&self) -> io::Result<bool> {
        self.read(LogName::Audit, move |reader| reader.reclaim()).await
    }

    /// Every checkpoint kept, oldest first.
    pub fn checkpoints(&self, log: LogName) -> Vec<SignedHead> {
        self.node.checkpoints_of(log)
    }

    /// The last one that a majority of the voters signed.
    pub fn latest_checkpoint(&self, log: LogName) -> Option<SignedHead> {
        self.checkpoints(log).into_iter().rev().find(|c| c.complete)
    }

    /// The checkpoint of exactly this size, complete.
    pub fn checkpoint_at(&self, log: LogName, size: u64) -> Option<SignedHead> {
        self.checkpoints(log).into_iter().find(|c| c.complete && c.checkpoint.size == size)
    }
}
