//! The control state as `raft-store` keeps it: `domain` applies, rows go to disk, commands become leaves.

use std::sync::Arc;

use bytes::Bytes;
use domain::command::{Command, Proposal, Reply, apply};
use domain::encoding::{decode_proposal, decode_reply, encode_reply, encode_row};
use domain::id::Index;
use domain::state::State;
use prost::Message;
use raft_store::machine::{Applied, Machine, MachineError, Row};

use crate::publish::Publisher;

pub(crate) struct ControlMachine {
    state: State,
    /// The state differs from what readers see.
    changed: bool,
    /// Last narrowing entry since readers saw a state.
    narrowed: Option<Index>,
    publisher: Arc<Publisher>,
}

impl ControlMachine {
    pub(crate) fn new(publisher: Arc<Publisher>) -> Self {
        Self { state: State::default(), changed: false, narrowed: None, publisher }
    }
}

impl Machine for ControlMachine {
    fn load(&mut self, rows: Vec<Row>) -> Result<(), MachineError> {
        self.state = State::load(rows).map_err(|e| MachineError(format!("the control state: {e}")))?;
        // What changed is not known: every session is looked at before the index counts as enforced.
        let applied = self.state.applied;
        self.publisher.publish(Some(self.state.clone()), applied, Some(applied));
        (self.changed, self.narrowed) = (false, None);
        Ok(())
    }

    fn apply(&mut self, index: u64, _leaves: u64, payload: &Bytes) -> Result<Applied, MachineError> {
        let proposal = decode_proposal(payload).map_err(|e| MachineError(format!("control entry {index}: {e}")))?;
        let applied = apply(&mut self.state, Index(index), &proposal);
        self.changed = true;
        if applied.changes.narrowing {
            self.narrowed = Some(Index(index));
        }
        let reply = Bytes::from(encode_reply(&applied.reply));
        let rows = applied.changes.touched.iter().map(|row| encode_row(&self.state, row)).collect();
        // Time passing is no act of administration; without ticks the log of those stays readable.
        let leaf = (!matches!(proposal.command, Command::Tick)).then(|| ControlLeaf::encode(index, payload, &reply));
        Ok(Applied { reply, rows, leaves: leaf.into_iter().collect() })
    }

    fn published(&mut self, index: u64) {
        let state = std::mem::take(&mut self.changed).then(|| self.state.clone());
        self.publisher.publish(state, Index(index), self.narrowed.take());
    }
}

/// One leaf of the control log: a command, by whom, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlLeaf {
    pub index: Index,
    pub proposal: Proposal,
    pub reply: Reply,
}

const LEAF_VERSION: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct StoredLeaf {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    proposal: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    reply: Bytes,
}

impl ControlLeaf {
    fn encode(index: u64, proposal: &Bytes, reply: &Bytes) -> Bytes {
        let leaf = StoredLeaf { version: LEAF_VERSION, index, proposal: proposal.clone(), reply: reply.clone() };
        leaf.encode_to_vec().into()
    }

    /// # Errors
    /// With words for an operator, when the bytes are not a leaf this version knows.
    pub fn decode(bytes: &[u8]) -> Result<ControlLeaf, String> {
        let leaf = StoredLeaf::decode(bytes).map_err(|e| e.to_string())?;
        if leaf.version != LEAF_VERSION {
            return Err(format!("a control leaf of version {}; this build knows {LEAF_VERSION}", leaf.version));
        }
        Ok(ControlLeaf {
            index: Index(leaf.index),
            proposal: decode_proposal(&leaf.proposal).map_err(|e| e.to_string())?,
            reply: decode_reply(&leaf.reply).map_err(|e| e.to_string())?,
        })
    }
}
