//! The logs of the double: leaves in memory, real Merkle trees, checkpoints signed by the one node.

use domain::audit::checkpoint::{Checkpoint, Origin, VerifierKey};
use domain::audit::leaf::ControlLeaf;
use domain::audit::merkle::{self, Frontier, Hash};
use domain::audit::record::{self, Event, Header};
use domain::command::{Changes, Proposal, Reply};
use domain::encoding::{encode_proposal, encode_reply};
use domain::id::{Index, NodeId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{InMemory, wall};
use crate::control::{AuditLogs, ControlError, Leaf, SignedHead};

#[derive(Default)]
pub(super) struct Logs {
    control: Vec<Vec<u8>>,
    audit: Vec<Vec<u8>>,
    /// Sizes of `audit/0` at which a checkpoint was made.
    checkpoints: Vec<u64>,
}

impl Logs {
    pub(super) fn control(&mut self, index: Index, proposal: &Proposal, reply: &Reply, changes: &Changes) {
        if ControlLeaf::is_due(index, &proposal.command, changes) {
            let leaf = ControlLeaf::encode(index, &encode_proposal(proposal).into(), &encode_reply(reply).into());
            self.control.push(leaf.to_vec());
        }
    }

    fn of(&self, log: &str) -> Result<&[Vec<u8>], ControlError> {
        match log {
            "control" => Ok(&self.control),
            "audit/0" => Ok(&self.audit),
            _ => Err(ControlError::NotFound(format!("the log {log}"))),
        }
    }
}

/// Root of the leaves' first `size`.
fn root(leaves: &[Vec<u8>], size: u64) -> Hash {
    let mut frontier = Frontier::default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    leaves.iter().take(size).for_each(|leaf| frontier.append(merkle::leaf_hash(leaf), |_, _, _| {}));
    frontier.root()
}

/// The complete subtree `at` of height `level`.
fn node(leaves: &[Vec<u8>], level: u8, at: u64) -> Result<Hash, ControlError> {
    let width = 1usize << level;
    let from = usize::try_from(at).unwrap_or(usize::MAX).saturating_mul(width);
    let part = leaves.get(from..from + width).ok_or_else(|| ControlError::Refused("the tree is not that large".into()))?;
    Ok(root(part, u64::MAX))
}

impl InMemory {
    /// Adds a record to `audit/0`.
    pub fn record(&self, event: &Event<'_>) {
        self.record_in_run(None, event);
    }

    /// As [`InMemory::record`], of a session of this run.
    pub fn record_in_run(&self, run: Option<&str>, event: &Event<'_>) {
        let inner = &mut *self.lock();
        let sequence = inner.logs.audit.len() as u64 + 1;
        let header = Header {
            node: NodeId(1),
            boot: domain::id::BootId(0xb007),
            sequence,
            control_index: inner.state.applied,
            time: wall(),
            session: None,
            run,
        };
        let leaf = record::encode(&header, event);
        inner.logs.audit.push(leaf);
    }

    /// Makes a checkpoint of `audit/0` as it is.
    pub fn checkpoint_now(&self) -> u64 {
        let inner = &mut *self.lock();
        let size = inner.logs.audit.len() as u64;
        inner.logs.checkpoints.push(size);
        size
    }

    /// Puts other bytes where a record was.
    pub fn tamper(&self, number: usize) {
        if let Some(byte) = self.lock().logs.audit.get_mut(number).and_then(|leaf| leaf.last_mut()) {
            *byte ^= 1;
        }
    }

    fn head(&self, log: &str, size: u64) -> Result<SignedHead, ControlError> {
        let (root, control_index) = {
            let inner = self.lock();
            let leaves = inner.logs.of(log)?;
            if size > leaves.len() as u64 {
                return Err(ControlError::NotFound(format!("a checkpoint of {log} at {size}")));
            }
            (root(leaves, size), Index(2))
        };
        let origin = Origin { cluster: "test".into(), incarnation: 1, log: log.into() };
        let head = Checkpoint { origin, size, root, control_index, time: wall() };
        let signature = self.node_key.sign(head.text().as_bytes());
        let note = head.note([(NodeId(1), &self.public_key(), signature.as_ref())]).to_string();
        Ok(SignedHead { log: log.into(), size, root, note: note.into_bytes(), made: head.time, signers: vec![NodeId(1)] })
    }

    fn sizes(&self, log: &str) -> Result<Vec<u64>, ControlError> {
        let inner = self.lock();
        let size = inner.logs.of(log)?.len() as u64;
        Ok(if log == "control" { vec![size] } else { inner.logs.checkpoints.clone() })
    }
}

impl AuditLogs for InMemory {
    fn logs(&self) -> Vec<String> {
        vec!["control".into(), "audit/0".into()]
    }

    fn size(&self, log: &str) -> Result<u64, ControlError> {
        Ok(self.lock().logs.of(log)?.len() as u64)
    }

    fn read<'a>(&'a self, log: &'a str, from: u64, limit: usize) -> BoxFuture<'a, Result<Vec<Leaf>, ControlError>> {
        let leaves = self.lock().logs.of(log).map(|leaves| {
            let numbered = leaves.iter().zip(0u64..).skip(usize::try_from(from).unwrap_or(usize::MAX));
            numbered.take(limit).map(|(bytes, number)| Leaf { number, bytes: bytes.clone() }).collect()
        });
        std::future::ready(leaves).boxed()
    }

    fn checkpoint<'a>(&'a self, log: &'a str, size: Option<u64>) -> BoxFuture<'a, Result<SignedHead, ControlError>> {
        let head = self.sizes(log).and_then(|sizes| {
            let found = sizes.into_iter().rfind(|s| size.is_none_or(|size| *s == size));
            found.map_or_else(|| Err(ControlError::NotFound(format!("a checkpoint of {log}"))), |size| self.head(log, size))
        });
        std::future::ready(head).boxed()
    }

    fn checkpoints<'a>(&'a self, log: &'a str) -> BoxFuture<'a, Result<Vec<SignedHead>, ControlError>> {
        let heads = self.sizes(log).and_then(|sizes| sizes.into_iter().map(|size| self.head(log, size)).collect());
        std::future::ready(heads).boxed()
    }

    fn inclusion<'a>(&'a self, log: &'a str, number: u64, size: u64) -> BoxFuture<'a, Result<Vec<[u8; 32]>, ControlError>> {
        let inner = self.lock();
        let path = inner.logs.of(log).and_then(|leaves| merkle::inclusion_proof(number, size, |level, at| node(leaves, level, at)));
        std::future::ready(path).boxed()
    }

    fn consistency<'a>(&'a self, log: &'a str, from: u64, to: u64) -> BoxFuture<'a, Result<Vec<[u8; 32]>, ControlError>> {
        let inner = self.lock();
        let path = inner.logs.of(log).and_then(|leaves| merkle::consistency_proof(from, to, |level, at| node(leaves, level, at)));
        std::future::ready(path).boxed()
    }

    fn genesis(&self) -> String {
        let origin = Origin { cluster: "test".into(), incarnation: 1, log: String::new() };
        VerifierKey { name: origin.signer(NodeId(1)), key: self.public_key() }.to_string()
    }
}
