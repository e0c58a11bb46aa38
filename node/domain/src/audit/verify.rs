//! Offline verification of an export: no access to the cluster, nothing believed but the pinned genesis.
//!
//! It reads the export twice. The first time ([`Survey`]) it notes which checkpoints there are; the second time
//! ([`Verifier`]) it hashes every leaf and keeps the root at the size of each checkpoint. Then signatures are checked:
//! the control log's in their order, following the voters from the genesis, then those of the other logs.

mod finish;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::{CONTROL_LOG, Checkpoint, CheckpointError, Note, Origin, VerifierKey};
use super::export::{ExportEnd, ExportLeaf, Item};
use super::history::VoterHistory;
use super::leaf::ControlLeaf;
use super::merkle::{Frontier, Hash};
use super::pruned;
use super::record;
use crate::command::{Command, Reply};
use crate::encoding::DecodeError;
use crate::id::Index;
use crate::retention::{RecordClass, Runs};
use crate::time::LogTime;
pub use report::{Failure, LogReport, PrunedBy, Report, Vouched};

/// Why verification could not even begin or go on. What is wrong with the log itself is a [`Failure`] in the report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the export has no header")]
    NoHeader,
    #[error("the export is cut short: {0}")]
    CutShort(String),
    #[error("leaf {number} of {log} stands where leaf {expected} should")]
    Order { log: String, number: u64, expected: u64 },
    #[error("the export changed between the two readings")]
    Changed,
}

/// The first reading.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    cluster: Option<(String, u64)>,
    genesis: String,
    leaves: u64,
    notes: Vec<(Checkpoint, Note)>,
    exported_notes: u64,
    end: Option<ExportEnd>,
}

impl Survey {
    pub fn item(&mut self, item: &Item) -> Result<(), VerifyError> {
        match item {
            Item::Header(header) => {
                self.cluster = Some((header.cluster.clone(), header.incarnation));
                self.genesis.clone_from(&header.genesis);
            }
            Item::Leaf(_) => self.leaves += 1,
            Item::Checkpoint(checkpoint) => {
                self.exported_notes += 1;
                self.note(checkpoint.note.parse().map_err(CheckpointError::from)?)?;
            }
            Item::End(end) => self.end = Some(*end),
        }
        Ok(())
    }

    /// A checkpoint from elsewhere, kept by somebody else or by a witness: this export must contain that log.
    pub fn note(&mut self, note: Note) -> Result<(), VerifyError> {
        self.notes.push((Checkpoint::parse(&note.text)?, note));
        Ok(())
    }

    /// What the exporter says the genesis is. Only for showing: to believe it is to believe the exporter.
    pub fn claimed_genesis(&self) -> Option<VerifierKey> {
        self.genesis.parse().ok()
    }

    /// Ready for the second reading, with the genesis that the verifier pins.
    pub fn verifier(self, genesis: VerifierKey) -> Result<Verifier, VerifyError> {
        let (cluster, incarnation) = self.cluster.ok_or(VerifyError::NoHeader)?;
        let end = self.end.ok_or_else(|| VerifyError::CutShort("its end is missing".to_owned()))?;
        if (end.leaves, end.checkpoints) != (self.leaves, self.exported_notes) {
            return Err(VerifyError::CutShort(format!(
                "{} of {} leaves, {} of {} checkpoints",
                self.leaves, end.leaves, self.exported_notes, end.checkpoints
            )));
        }
        let mut logs: BTreeMap<String, Log> = BTreeMap::new();
        let mut strangers = Vec::new();
        for (checkpoint, note) in self.notes {
            if (&checkpoint.origin.cluster, checkpoint.origin.incarnation) == (&cluster, incarnation) {
                logs.entry(checkpoint.origin.log.clone()).or_default().notes.push((checkpoint, note));
            } else {
                strangers.push(checkpoint.origin);
            }
        }
        for log in logs.values_mut() {
            // One size may have several notes: what a witness co-signed, and what was signed anew since.
            log.notes.sort_by_key(|(checkpoint, _)| (checkpoint.size, checkpoint.control_index, checkpoint.time));
            log.wanted = log.notes.iter().map(|(checkpoint, _)| checkpoint.size).collect();
            log.keep_root();
        }
        Ok(Verifier {
            cluster,
            incarnation,
            genesis,
            leaves: self.leaves,
            strangers,
            logs,
            history: VoterHistory::default(),
            control: Vec::new(),
            plans: BTreeMap::new(),
            failures: Vec::new(),
        })
    }
}

/// The second reading.
#[derive(Debug, Clone)]
pub struct Verifier {
    cluster: String,
    incarnation: u64,
    genesis: VerifierKey,
    /// Leaves that are still to come.
    leaves: u64,
    /// Origins of checkpoints of other clusters or incarnations.
    strangers: Vec<Origin>,
    logs: BTreeMap<String, Log>,
    history: VoterHistory,
    /// Control index of each control leaf.
    control: Vec<Index>,
    /// What the control log decided to prune.
    plans: BTreeMap<Index, Plan>,
    failures: Vec<Failure>,
}

#[derive(Debug, Clone)]
struct Plan {
    /// Place of the command in the control log.
    number: u64,
    class: RecordClass,
    at: LogTime,
    leaves: Runs,
}

#[derive(Debug, Clone, Default)]
struct Log {
    frontier: Frontier,
    /// By size.
    notes: Vec<(Checkpoint, Note)>,
    /// Sizes whose root is wanted, and the roots there.
    wanted: BTreeSet<u64>,
    roots: BTreeMap<u64, Hash>,
    /// Last sequence of each node and boot.
    sequences: BTreeMap<(u64, u64), u64>,
    kinds: BTreeMap<&'static str, u64>,
    /// Leaves without a body, by the plan that they say let it go.
    pruned: BTreeMap<Index, Vec<u64>>,
}

impl Log {
    fn keep_root(&mut self) {
        if self.wanted.contains(&self.frontier.size()) {
            self.roots.insert(self.frontier.size(), self.frontier.root());
        }
    }
}

impl Verifier {
    pub fn item(&mut self, item: &Item) -> Result<(), VerifyError> {
        match item {
            Item::Leaf(leaf) => self.leaf(leaf),
            Item::Header(_) | Item::Checkpoint(_) | Item::End(_) => Ok(()),
        }
    }

    fn leaf(&mut self, leaf: &ExportLeaf) -> Result<(), VerifyError> {
        self.leaves = self.leaves.checked_sub(1).ok_or(VerifyError::Changed)?;
        let log = self.logs.entry(leaf.log.clone()).or_default();
        let expected = log.frontier.size();
        if leaf.number != expected {
            return Err(VerifyError::Order { log: leaf.log.clone(), number: leaf.number, expected });
        }
        log.frontier.append(pruned::stored_hash(&leaf.leaf), |_, _, _| {});
        log.keep_root();
        if leaf.log == CONTROL_LOG { self.control_leaf(leaf) } else { self.record(leaf) }
    }

    fn control_leaf(&mut self, leaf: &ExportLeaf) -> Result<(), VerifyError> {
        let command = ControlLeaf::decode(&leaf.leaf)?;
        if self.control.last().is_some_and(|last| command.index <= *last) {
            self.failures.push(Failure::ControlOrder { number: leaf.number, index: command.index });
        }
        self.control.push(command.index);
        self.history.follow(&command);
        if let (Command::PruneRecords { class, leaves, .. }, Reply::Done { .. }) = (&command.proposal.command, &command.reply) {
            let plan = Plan { number: leaf.number, class: *class, at: command.proposal.stamp, leaves: leaves.clone() };
            self.plans.insert(command.index, plan);
        }
        Ok(())
    }

    /// Records of one boot of one node come without gap, each once (R3).
    fn record(&mut self, leaf: &ExportLeaf) -> Result<(), VerifyError> {
        let record = record::decode(&leaf.leaf)?;
        let log = self.logs.entry(leaf.log.clone()).or_default();
        *log.kinds.entry(record.kind_name()).or_default() += 1;
        if let Some((_, pruned)) = pruned::read(&leaf.leaf) {
            log.pruned.entry(Index(pruned.plan)).or_default().push(leaf.number);
        }
        let last = log.sequences.entry((record.node, record.boot)).or_default();
        if record.sequence != *last + 1 {
            let failure = Failure::Sequence {
                log: leaf.log.clone(),
                number: leaf.number,
                node: record.node,
                expected: *last + 1,
                found: record.sequence,
            };
            self.failures.push(failure);
        }
        *last = record.sequence;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
