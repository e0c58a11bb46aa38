//! What verification found, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::audit::checkpoint::{Origin, VerifierKey};
use crate::audit::history::VoterHistory;
use crate::audit::merkle::Hash;
use crate::id::{Index, NodeId};
use crate::retention::RecordClass;
use crate::time::LogTime;

/// Something is wrong with the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the log was founded with the key {found}, not with the pinned {pinned}", found = .found.as_ref().map_or("none".to_owned(), ToString::to_string))]
    OtherGenesis { pinned: VerifierKey, found: Option<VerifierKey> },
    #[error("the header names cluster {header}; the control log founds {found}")]
    OtherCluster { header: String, found: String },
    #[error("a checkpoint of another cluster or incarnation: {0}")]
    Stranger(Origin),
    #[error("{log}: the first {size} leaves have another root than the checkpoint says")]
    OtherRoot { log: String, size: u64 },
    #[error("{log}: a checkpoint of {size} leaves, but only {leaves} are there")]
    Missing { log: String, size: u64, leaves: u64 },
    #[error("{log}: no checkpoint that a majority of the voters signed")]
    NoCheckpoint { log: String },
    #[error("{log}: the signature of node {node} under the checkpoint of {size} leaves is false")]
    Falsified { log: String, size: u64, node: NodeId },
    #[error("control leaf {number} has index {index}, which is not beyond the one before it")]
    ControlOrder { number: u64, index: Index },
    #[error("{log}: leaf {number} is record {found} of a boot of node {node}; {expected} should follow")]
    Sequence { log: String, number: u64, node: u64, expected: u64, found: u64 },
    #[error(
        "{log}: {count} bodies are missing, the first of leaf {first}, and no signed command of the control log let them go (plan {plan})"
    )]
    Unauthorized { log: String, plan: Index, first: u64, count: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    pub leaves: u64,
    pub root: Hash,
    /// The latest checkpoint that a majority signed, and who.
    pub signed_size: u64,
    pub signers: BTreeSet<NodeId>,
    /// Checkpoints verified, and those with too few signatures. The latter prove nothing, and are no fault: a
    /// checkpoint is complete only some time after it is made.
    pub verified: u64,
    pub incomplete: u64,
    /// Records by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Bodies that retention let go, by the plan that decided it.
    pub pruned: BTreeMap<Index, PrunedBy>,
    /// By the key of each outside witness that vouches for anything.
    pub witnesses: BTreeMap<String, Vouched>,
}

/// What one plan let go. The hashes stand in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedBy {
    pub class: RecordClass,
    /// When it was decided, by the proposer's stamp.
    pub at: LogTime,
    pub bodies: u64,
}

/// What an outside witness co-signed of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    pub name: String,
    /// Leaves.
    pub size: u64,
    /// Seconds since 1970, by the witness's clock.
    pub time: u64,
}

impl LogReport {
    /// Leaves that no verified checkpoint holds yet.
    pub fn unsigned_leaves(&self) -> u64 {
        self.leaves - self.signed_size
    }

    /// Leaves that at least so many witnesses vouch for.
    pub fn vouched_by(&self, witnesses: usize) -> u64 {
        let mut sizes: Vec<u64> = self.witnesses.values().map(|vouched| vouched.size).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        witnesses.checked_sub(1).and_then(|last| sizes.get(last)).copied().unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub cluster: String,
    pub incarnation: u64,
    pub logs: BTreeMap<String, LogReport>,
    pub failures: Vec<Failure>,
    /// The voters as far as they are proved; for checking single proofs later.
    pub voters: VoterHistory,
}

impl Report {
    /// Nothing is wrong: every leaf that a checkpoint holds is what was signed.
    pub fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    /// Is leaf `number` of `log` under a verified checkpoint?
    pub fn holds(&self, log: &str, number: u64) -> bool {
        self.is_whole() && self.logs.get(log).is_some_and(|log| number < log.signed_size)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster {} (incarnation {})", self.cluster, self.incarnation)?;
        for (name, log) in &self.logs {
            let signers: Vec<String> = log.signers.iter().map(ToString::to_string).collect();
            writeln!(f, "{name}: {} leaves, root {}", log.leaves, data_encoding::BASE64.encode(&log.root))?;
            writeln!(
                f,
                "  {} checkpoints verified, {} incomplete; {} leaves signed by nodes {}; {} not signed yet",
                log.verified,
                log.incomplete,
                log.signed_size,
                signers.join(", "),
                log.unsigned_leaves()
            )?;
            for vouched in log.witnesses.values() {
                writeln!(f, "  witness {} vouches for the first {} leaves", vouched.name, vouched.size)?;
            }
            for (plan, by) in &log.pruned {
                let (bodies, class, at) = (by.bodies, by.class, by.at);
                writeln!(f, "  {bodies} bodies pruned by the rule for {class} at {at} (control index {plan}); their hashes stand")?;
            }
            for (kind, count) in &log.kinds {
                writeln!(f, "  {kind}: {count}")?;
            }
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        write!(f, "{}", if self.is_whole() { "the log is whole" } else { "the log is NOT whole" })
    }
}
