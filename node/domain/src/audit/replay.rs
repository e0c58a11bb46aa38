//! The control state as it was: recomputed from the control log's leaves, by the same [`apply`] that made it.
//!
//! Entries that make no leaf only let log time pass. Where they stood is seen from the gap between two leaves' indexes,
//! but not when each came: what fell due in between is done at the next leaf's time. So who could do what at a time is
//! exact, while the `version` of something that ended by itself may be another than it was.

use super::leaf::ControlLeaf;
use crate::command::{Command, apply, pass};
use crate::id::Index;
use crate::state::State;
use crate::time::LogTime;

/// Entries without a leaf that are replayed at most between two leaves: each does bounded work for open reviews, and
/// those that find nothing to do need not be repeated.
const PASSES_MAX: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub struct Replay {
    state: State,
    until: LogTime,
    leaves: u64,
}

/// Why the past cannot be told from these leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the control log does not begin with the founding of the cluster")]
    NoBeginning,
    #[error("entry {0} of the control log does not follow the one before it: the log was taken up from a backup")]
    NotAfter(Index),
    #[error("entry {0} of the control log was answered otherwise than this version answers it, so what came after cannot be told")]
    Diverged(Index),
}

impl Replay {
    /// Up to and including what was stamped `until`.
    pub fn new(until: LogTime) -> Replay {
        Replay { state: State::default(), until, leaves: 0 }
    }

    /// Takes in the next leaf of the control log, from its first. `false` when it came later than is asked for: then
    /// nothing more is needed.
    ///
    /// # Errors
    /// When the leaf does not follow, or is answered otherwise than it was.
    pub fn follow(&mut self, leaf: &ControlLeaf) -> Result<bool, ReplayError> {
        if self.leaves == 0 && !matches!(leaf.proposal.command, Command::FoundCluster { .. } | Command::RegisterNode { .. }) {
            return Err(ReplayError::NoBeginning);
        }
        if leaf.index <= self.state.applied {
            return Err(ReplayError::NotAfter(leaf.index));
        }
        // A stamp may lie before log time, which never goes back.
        if leaf.proposal.stamp > self.until {
            return Ok(false);
        }
        if self.leaves > 0 {
            self.pass(leaf.index, leaf.proposal.stamp);
        }
        let reply = apply(&mut self.state, leaf.index, &leaf.proposal).reply;
        self.leaves += 1;
        if reply == leaf.reply { Ok(true) } else { Err(ReplayError::Diverged(leaf.index)) }
    }

    /// The entries before `next`, as far as they have anything to do.
    fn pass(&mut self, next: Index, to: LogTime) {
        for index in (self.state.applied.0 + 1..next.0).take(usize::try_from(PASSES_MAX).unwrap_or(usize::MAX)) {
            if !pass(&mut self.state, Index(index), to) {
                break;
            }
        }
    }

    /// How many leaves were taken in.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The state at the time asked for, and the control index of the last change before it.
    pub fn finish(mut self) -> (State, Index) {
        let last = self.state.applied;
        if self.leaves > 0 {
            self.pass(Index(last.0.saturating_add(PASSES_MAX)), self.until);
        }
        (self.state, last)
    }
}

#[cfg(test)]
mod tests;
