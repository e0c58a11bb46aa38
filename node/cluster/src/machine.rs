//! The control state as `raft-store` keeps it: `domain` applies, rows go to disk, commands become leaves.

use std::sync::Arc;

use bytes::Bytes;
use domain::audit::leaf::ControlLeaf;
use domain::command::{apply, feature_level_max};
use domain::encoding::{decode_proposal, encode_reply, encode_row};
use domain::id::Index;
use domain::state::State;
use domain::time::LogTime;
use planted::{Bug, planted};
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
        understood(&self.state)?;
        // What changed is not known: every session is looked at before the index counts as enforced.
        let applied = self.state.applied;
        self.publisher.publish(Some(self.state.clone()), applied, Some(applied));
        (self.changed, self.narrowed) = (false, None);
        Ok(())
    }

    fn apply(&mut self, index: u64, _leaves: u64, payload: &Bytes) -> Result<Applied, MachineError> {
        let mut proposal = decode_proposal(payload).map_err(|e| MachineError(format!("control entry {index}: {e}")))?;
        if planted(Bug::StampedWhenApplied) {
            proposal.stamp = LogTime(crate::clock::wall_ms());
        }
        let applied = apply(&mut self.state, Index(index), &proposal);
        understood(&self.state)?;
        self.changed = true;
        if applied.changes.narrowing && !planted(Bug::NarrowingNotNoted) {
            self.narrowed = Some(Index(index));
        }
        let reply = Bytes::from(encode_reply(&applied.reply));
        let rows = applied.changes.touched.iter().map(|row| encode_row(&self.state, row)).collect();
        // Time passing is no act of administration; without ticks the log of those stays readable.
        let due = ControlLeaf::is_due(Index(index), &proposal.command, &applied.changes);
        let leaf = due.then(|| ControlLeaf::encode(Index(index), payload, &reply));
        Ok(Applied { reply, rows, leaves: leaf.into_iter().collect() })
    }

    fn published(&mut self, index: u64) {
        let state = std::mem::take(&mut self.changed).then(|| self.state.clone());
        self.publisher.publish(state, Index(index), self.narrowed.take());
    }
}

/// A release that does not know all that the cluster uses would apply it otherwise than the others, or not at all.
fn understood(state: &State) -> Result<(), MachineError> {
    let (used, known) = (state.cluster.feature_level, feature_level_max());
    if used <= known {
        return Ok(());
    }
    let what = format!("the cluster uses feature level {used}, and this release knows levels up to {known}: start the newer release");
    Err(MachineError(what))
}
