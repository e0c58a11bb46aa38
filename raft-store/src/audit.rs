//! The machine of an audit group: records become leaves exactly once, in the order their node made them.
//!
//! Rows: per producer the last sequence taken, the signatures over tree heads, and which bodies were pruned.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use domain::audit::pruned;
use parking_lot::RwLock;
use planted::{Bug, planted};
use prost::Message as _;

use crate::format::{self, AuditKind, AuditReply, PruneMessage, RecordBatch, SignedCheckpoint};
use crate::machine::{Applied, Machine, MachineError, Prune, Row};

/// Heads whose signatures are kept per log; older ones are thinned to one in [`THINNED`], so proofs over the whole
/// history stay possible.
const HEADS_KEPT: usize = 4_096;
const THINNED: usize = 64;

/// Boots remembered per node, so that a batch of a boot before the last is still known as repeated.
const BOOTS_KEPT: usize = 64;

/// Heads that wait to be compared; of a log this node does not have they wait for ever, so the oldest go.
const BEYOND_MAX: usize = 256;

const PRODUCER: u8 = b'p';
const CHECKPOINT: u8 = b'c';
const PRUNED: u8 = b'x';

/// Signatures over tree heads: by log and size, then by node. Shared with readers.
pub type Heads = Arc<RwLock<BTreeMap<(String, u64), BTreeMap<u64, SignedCheckpoint>>>>;

/// Tells the root of one of this node's logs at a size; `None` if it is not that far, or has no such log.
pub type RootAt = Box<dyn Fn(&str, u64) -> Option<[u8; 32]> + Send + Sync>;

/// Is shown each record when it becomes a leaf, in their order. Must return at once.
pub type Heard = Box<dyn Fn(&[u8]) + Send + Sync>;

pub struct AuditMachine {
    producers: BTreeMap<(u64, u64), Producer>,
    heads: Heads,
    /// Compares a signed root with this replica's own.
    root_at: RootAt,
    /// Heads beyond what this replica shows yet: compared once it is there.
    beyond: VecDeque<SignedCheckpoint>,
    heard: Option<Heard>,
}

#[derive(Clone, Copy)]
struct Producer {
    through: u64,
    /// Entry index of its last batch: the oldest are forgotten first.
    last_seen: u64,
}

impl AuditMachine {
    pub fn new(root_at: RootAt) -> Self {
        AuditMachine { producers: BTreeMap::new(), heads: Heads::default(), root_at, beyond: VecDeque::new(), heard: None }
    }

    /// The records that come from now on are shown to `heard`. What a snapshot brings is not.
    #[must_use]
    pub fn heard_by(self, heard: Heard) -> Self {
        AuditMachine { heard: Some(heard), ..self }
    }

    pub fn heads(&self) -> Heads {
        self.heads.clone()
    }

    fn records(&mut self, index: u64, leaves: u64, batch: RecordBatch) -> Applied {
        let key = (batch.node, batch.boot);
        let through = self.producers.get(&key).map_or(0, |p| p.through);
        let mut reply = AuditReply { through, first_leaf: 0, size: leaves, gap: false };
        // Also what no node of ours sends: refusing it is an answer, stopping would stop every replica at every start.
        let strange = |record: &Bytes| record.first() == Some(&pruned::MARK);
        if batch.records.is_empty() || batch.first_sequence == 0 || batch.first_sequence - 1 > through || batch.records.iter().any(strange)
        {
            reply.gap = true;
            return Applied { reply: format::encode_audit_reply(&reply), ..Applied::default() };
        }
        // Cannot overflow: it starts no further than one after `through`, which counts records that were stored.
        let last = batch.first_sequence + batch.records.len() as u64 - 1;
        if last <= through && !planted(Bug::RecordsNotDeduplicated) {
            return Applied { reply: format::encode_audit_reply(&reply), ..Applied::default() };
        }
        // A batch cut anew after an unknown outcome may overlap what is there.
        let known = if planted(Bug::RecordsNotDeduplicated) { 0 } else { through + 1 - batch.first_sequence };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh: Vec<Bytes> = batch.records.into_iter().skip(known).collect();
        if let Some(heard) = &self.heard {
            fresh.iter().for_each(|record| heard(record));
        }
        reply = AuditReply { through: last, first_leaf: leaves, size: leaves + fresh.len() as u64, gap: false };
        self.producers.insert(key, Producer { through: last, last_seen: index });
        let mut rows = vec![(producer_key(key), Some(producer_value(last, index)))];
        rows.extend(self.forget_boots(batch.node).into_iter().map(|old| (producer_key(old), None)));
        Applied { reply: format::encode_audit_reply(&reply), rows, leaves: fresh }
    }

    /// Drops the boots of `node` beyond [`BOOTS_KEPT`], longest silent first.
    fn forget_boots(&mut self, node: u64) -> Vec<(u64, u64)> {
        let mut boots: Vec<(u64, (u64, u64))> =
            self.producers.range((node, 0)..=(node, u64::MAX)).map(|(key, p)| (p.last_seen, *key)).collect();
        let surplus = boots.len().saturating_sub(BOOTS_KEPT);
        boots.sort_unstable();
        boots.truncate(surplus);
        let forgotten: Vec<(u64, u64)> = boots.into_iter().map(|(_, key)| key).collect();
        for key in &forgotten {
            self.producers.remove(key);
        }
        forgotten
    }

    /// Compares a signed root with this replica's own; `false` if it is not that far.
    fn compared(&self, checkpoint: &SignedCheckpoint) -> Result<bool, MachineError> {
        match (self.root_at)(&checkpoint.log, checkpoint.size) {
            Some(own) if own.as_slice() != checkpoint.root.as_slice() => Err(MachineError(format!(
                "node {} signed another root of {} at {} leaves than this node computes: the logs have forked",
                checkpoint.node, checkpoint.log, checkpoint.size
            ))),
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// The bodies themselves are replaced by who keeps the leaves, which reads the row.
    fn let_go(leaves: u64, message: &PruneMessage) -> Result<Applied, MachineError> {
        let prune = Prune::try_from(message.clone()).map_err(|e| MachineError(e.to_string()))?;
        let gap = prune.leaves.end() > leaves;
        let reply = format::encode_audit_reply(&AuditReply { size: leaves, gap, ..AuditReply::default() });
        let row = (pruned_key(message.plan), Some(message.encode_to_vec()));
        Ok(Applied { reply, rows: if gap { Vec::new() } else { vec![row] }, leaves: Vec::new() })
    }

    fn compare_beyond(&mut self) -> Result<(), MachineError> {
        let mut still = VecDeque::new();
        for checkpoint in std::mem::take(&mut self.beyond) {
            if !self.compared(&checkpoint)? {
                still.push_back(checkpoint);
            }
        }
        self.beyond = still;
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: SignedCheckpoint) -> Result<Applied, MachineError> {
        if !self.compared(&checkpoint)? {
            self.beyond.push_back(checkpoint.clone());
            if self.beyond.len() > BEYOND_MAX {
                self.beyond.pop_front();
            }
        }
        let mut rows = vec![(checkpoint_key(&checkpoint), Some(checkpoint.encode_to_vec()))];
        let mut heads = self.heads.write();
        heads.entry((checkpoint.log.clone(), checkpoint.size)).or_default().insert(checkpoint.node, checkpoint.clone());
        let of_log: Vec<u64> =
            heads.range((checkpoint.log.clone(), 0)..=(checkpoint.log.clone(), u64::MAX)).map(|((_, size), _)| *size).collect();
        if of_log.len() > HEADS_KEPT {
            // The oldest half is thinned in one go; heads at multiples of THINNED places stay.
            for (place, size) in of_log[..HEADS_KEPT / 2].iter().enumerate() {
                if place % THINNED != 0
                    && let Some(signatures) = heads.remove(&(checkpoint.log.clone(), *size))
                {
                    rows.extend(signatures.values().map(|s| (checkpoint_key(s), None)));
                }
            }
        }
        Ok(Applied { reply: Bytes::new(), rows, leaves: Vec::new() })
    }
}

fn producer_key((node, boot): (u64, u64)) -> Vec<u8> {
    let mut key = vec![PRODUCER];
    key.extend_from_slice(&node.to_be_bytes());
    key.extend_from_slice(&boot.to_be_bytes());
    key
}

fn producer_value(through: u64, last_seen: u64) -> Vec<u8> {
    [through.to_be_bytes(), last_seen.to_be_bytes()].concat()
}

fn checkpoint_key(checkpoint: &SignedCheckpoint) -> Vec<u8> {
    let mut key = vec![CHECKPOINT];
    key.extend_from_slice(checkpoint.log.as_bytes());
    key.push(0);
    key.extend_from_slice(&checkpoint.size.to_be_bytes());
    key.extend_from_slice(&checkpoint.node.to_be_bytes());
    key
}

fn pruned_key(plan: u64) -> Vec<u8> {
    [&[PRUNED][..], &plan.to_be_bytes()].concat()
}

fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Machine for AuditMachine {
    fn load(&mut self, rows: Vec<Row>) -> Result<(), MachineError> {
        let mut producers = BTreeMap::new();
        let mut heads = BTreeMap::<_, BTreeMap<_, _>>::new();
        let malformed = || MachineError("a row of the audit state cannot be understood".into());
        for (key, value) in rows {
            match key.first() {
                Some(&PRODUCER) => {
                    let id = eight(&key, 1).zip(eight(&key, 9)).ok_or_else(malformed)?;
                    let (through, last_seen) = eight(&value, 0).zip(eight(&value, 8)).ok_or_else(malformed)?;
                    producers.insert(id, Producer { through, last_seen });
                }
                Some(&CHECKPOINT) => {
                    let checkpoint = SignedCheckpoint::decode(value.as_slice()).map_err(|_| malformed())?;
                    heads.entry((checkpoint.log.clone(), checkpoint.size)).or_default().insert(checkpoint.node, checkpoint);
                }
                // Read where leaves are kept, when it came.
                Some(&PRUNED) => {}
                _ => return Err(malformed()),
            }
        }
        self.producers = producers;
        *self.heads.write() = heads;
        Ok(())
    }

    fn apply(&mut self, index: u64, leaves: u64, payload: &Bytes) -> Result<Applied, MachineError> {
        self.compare_beyond()?;
        let message = format::decode_audit(payload).map_err(|e| MachineError(e.to_string()))?;
        match message.kind {
            Some(AuditKind::Records(batch)) => Ok(self.records(index, leaves, batch)),
            Some(AuditKind::Checkpoint(checkpoint)) => self.checkpoint(checkpoint),
            Some(AuditKind::Prune(message)) => Self::let_go(leaves, &message),
            None => Err(MachineError("an audit payload of a kind this release does not know".into())),
        }
    }

    fn prune(key: &[u8], value: &[u8]) -> Result<Option<Prune>, MachineError> {
        if key.first() != Some(&PRUNED) {
            return Ok(None);
        }
        let message = PruneMessage::decode(value).map_err(|e| MachineError(e.to_string()))?;
        Prune::try_from(message).map(Some).map_err(|e| MachineError(e.to_string()))
    }

    fn published(&mut self, _index: u64) {}
}

#[cfg(test)]
mod tests;
