//! Checkpoints: tree heads of the logs, signed by the nodes (DESIGN §6).
//!
//! About once a second the leader of the audit group asks the voters to sign the heads of both logs. A voter signs
//! only a root that it computes itself. When a majority signed, the signatures go into the audit log's state, where
//! every replica compares the root with its own and stops if they differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use bytes::Bytes;
use domain::audit::checkpoint::{Checkpoint, Origin, majority};
use domain::audit::merkle::Hash;
use domain::id::{Index, NodeId};
use domain::member::MemberRole;
use domain::time::LogTime;
use futures_util::future::join_all;
use parking_lot::Mutex;
use planted::{Point, reach};
use raft_store::LeafReader;
use raft_store::format::{self, AuditKind, AuditMessage, SignedCheckpoint};
use tokio::time::{Instant, sleep};

use crate::audit::{LogName, SignedHead};
use crate::limits::CHECKPOINT_INTERVAL;
use crate::node::Node;
use crate::peer_client::ask;
use crate::peer_transport::Class;
use crate::raft::{self, AUDIT_LOG, CONTROL_LOG, Written};
use crate::wire::{CosignRequest, CosignResponse, Kind};

/// How long a voter waits to have as many leaves as it is asked about.
const CATCH_UP: Duration = Duration::from_millis(500);
const COSIGN_DEADLINE: Duration = Duration::from_millis(900);

/// What this node last made checkpoints of, as leader.
#[derive(Default)]
pub(crate) struct Checkpoints {
    done: Mutex<BTreeMap<LogName, Done>>,
}

struct Done {
    size: u64,
    /// Who had to sign. Other voters have to sign again, or a log that does not grow is without a head of theirs.
    voters: Vec<NodeId>,
}

/// Whether `signature` over `message` is by `key`; what [`domain::audit::checkpoint::verify`] asks for.
pub fn check_signature(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

/// Ends the process: this replica's log is not the one the others have, so nothing it says may be trusted.
fn halt(why: &str) -> ! {
    tracing::error!(why, "this node stops");
    eprintln!("assize: {why}");
    std::process::exit(raft_store::engine::EXIT_STORAGE_FAILED)
}

fn named(log: &str) -> Option<LogName> {
    match log {
        CONTROL_LOG => Some(LogName::Control),
        AUDIT_LOG => Some(LogName::Audit),
        _ => None,
    }
}

impl Node {
    pub(crate) fn reader(&self, log: LogName) -> LeafReader {
        match log {
            LogName::Control => self.readers.control.clone(),
            LogName::Audit => self.readers.audit.clone(),
        }
    }

    /// The checkpoint that a question or a stored signature is about.
    fn checkpoint(&self, log: LogName, size: u64, root: Hash, control_index: u64, time: u64) -> Checkpoint {
        let origin = Origin { cluster: self.home.cluster.clone(), incarnation: self.home.incarnation, log: log.as_str().into() };
        Checkpoint { origin, size, root, control_index: Index(control_index), time: LogTime(time) }
    }

    /// Makes checkpoints while this node leads the audit group, for ever.
    pub(crate) async fn keep_checkpoints(self: Arc<Self>) {
        loop {
            sleep(CHECKPOINT_INTERVAL).await;
            if self.audit_leader() != Some(self.home.node) {
                self.checkpoints.done.lock().clear();
                continue;
            }
            for log in LogName::ALL {
                let size = self.reader(log).size();
                if size == 0 || self.signed_size(log).is_some_and(|signed| signed >= size) {
                    continue;
                }
                match self.make_checkpoint(log, size).await {
                    Ok(voters) => drop(self.checkpoints.done.lock().insert(log, Done { size, voters })),
                    Err(why) => tracing::debug!(log = log.as_str(), size, why, "no checkpoint this time"),
                }
            }
        }
    }

    fn voters(&self) -> Vec<NodeId> {
        self.publisher.state().members.values().filter(|m| m.role == MemberRole::Voter).map(|m| m.id).collect()
    }

    /// Leaves under the newest head that a majority of today's voters signed.
    fn signed_size(&self, log: LogName) -> Option<u64> {
        let voters = self.voters();
        let done = self.checkpoints.done.lock().get(&log).filter(|done| done.voters == voters).map(|done| done.size);
        done.or_else(|| self.checkpoints_of(log).iter().filter(|head| head.complete).map(|head| head.checkpoint.size).max())
    }

    /// Gives the voters that had to sign it.
    async fn make_checkpoint(self: &Arc<Self>, log: LogName, size: u64) -> Result<Vec<NodeId>, String> {
        let reader = self.reader(log);
        let root = crate::tasks::blocking(move || reader.root_at(size)).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let state = self.publisher.state();
        // The voters that count are those of the state the checkpoint names.
        let voters: Vec<NodeId> = state.members.values().filter(|m| m.role == MemberRole::Voter).map(|m| m.id).collect();
        let checkpoint = self.checkpoint(log, size, root, state.applied.0, self.publisher.clock().now().0);
        let question = CosignRequest {
            log: log.as_str().into(),
            size,
            root: Bytes::copy_from_slice(&root),
            time: checkpoint.time.0,
            control_index: checkpoint.control_index.0,
        };
        let answers = join_all(voters.iter().map(|voter| self.ask_to_sign(*voter, &question))).await;
        let differ = answers.iter().flatten().filter(|(_, answer)| answer.differs).count();
        if differ * 2 > voters.len() {
            halt(&format!("most voters compute another root of {} at {size} leaves than this node", log.as_str()));
        }
        let text = checkpoint.text();
        let signed: Vec<(NodeId, Bytes)> = answers
            .into_iter()
            .flatten()
            .filter_map(|(node, answer)| Some((node, answer.signature?)))
            .filter(|(node, signature)| self.signed_by(*node, &text, signature))
            .collect();
        if signed.len() < majority(voters.len()) {
            return Err(format!("{} of {} voters signed", signed.len(), voters.len()));
        }
        reach(Point::HeadSigned);
        for (node, signature) in signed {
            let signed = SignedCheckpoint {
                size,
                root: root.to_vec(),
                node: node.0,
                signature: signature.to_vec(),
                log: log.as_str().into(),
                time: checkpoint.time.0,
                control_index: checkpoint.control_index.0,
            };
            let payload = format::encode_audit(&AuditMessage { kind: Some(AuditKind::Checkpoint(signed)) });
            match raft::write_outcome(&self.audit, payload).await {
                Written::Committed { .. } => {}
                Written::NotLeader(not) => return Err(not.why),
                Written::Unknown(why) => return Err(why),
            }
        }
        Ok(voters)
    }

    /// Against the node's current key: a signature that does not verify now would never verify.
    fn signed_by(&self, node: NodeId, text: &str, signature: &[u8]) -> bool {
        let state = self.publisher.state();
        let key = state.members.get(&node).and_then(|m| m.checkpoint_keys.last_key_value().map(|(_, key)| *key));
        key.is_some_and(|key| check_signature(&key, text.as_bytes(), signature))
    }

    async fn ask_to_sign(self: &Arc<Self>, voter: NodeId, question: &CosignRequest) -> Option<(NodeId, CosignResponse)> {
        if voter == self.home.node {
            return Some((voter, self.cosign(question.clone()).await));
        }
        let asked = ask(&*self.transport, voter, Class::Audit, Kind::Cosign, raft::AUDIT_GROUP, question, COSIGN_DEADLINE).await;
        asked.ok().map(|answer| (voter, answer))
    }

    /// Signs a head that this node computes as well.
    pub(crate) async fn cosign(&self, question: CosignRequest) -> CosignResponse {
        let refused = CosignResponse { signature: None, differs: false };
        let Some(log) = named(&question.log) else { return refused };
        let Ok(root) = <Hash>::try_from(&question.root[..]) else { return refused };
        let reader = self.reader(log);
        let end = Instant::now() + CATCH_UP;
        while reader.size() < question.size {
            if Instant::now() > end {
                return refused;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let size = question.size;
        let own = match crate::tasks::blocking(move || reader.root_at(size)).await {
            Ok(Ok(own)) => own,
            _ => return refused,
        };
        if own != root {
            tracing::error!(log = question.log, size, "asked to sign a root that this node does not compute");
            return CosignResponse { signature: None, differs: true };
        }
        let text = self.checkpoint(log, size, root, question.control_index, question.time).text();
        reach(Point::HeadBeforeSigned);
        let signature = self.home.checkpoint_key.sign(text.as_bytes());
        CosignResponse { signature: Some(Bytes::copy_from_slice(signature.as_ref())), differs: false }
    }

    /// Heads of a log with their signatures, oldest first. Those of an earlier incarnation, none of whose signers is a
    /// node of this one, have another origin and are left out.
    pub(crate) fn checkpoints_of(&self, log: LogName) -> Vec<SignedHead> {
        let state = self.publisher.state();
        let is_member = |signed: &BTreeMap<u64, SignedCheckpoint>| signed.keys().any(|node| state.members.contains_key(&NodeId(*node)));
        let is_voter = |node: &NodeId| state.members.get(node).is_some_and(|m| m.role == MemberRole::Voter);
        let needed = majority(state.members.values().filter(|m| m.role == MemberRole::Voter).count());
        let heads = self.readers.heads.read();
        let range = (log.as_str().to_owned(), 0)..=(log.as_str().to_owned(), u64::MAX);
        let of_size = |(_, size): &(String, u64), signatures: &BTreeMap<u64, SignedCheckpoint>| {
            let last = signatures.values().max_by_key(|s| s.time)?;
            let checkpoint = self.checkpoint(log, *size, last.root.as_slice().try_into().ok()?, last.control_index, last.time);
            // Signatures under another text (an earlier attempt at the same size) do not add up with these.
            let same = |s: &&SignedCheckpoint| s.time == last.time && s.control_index == last.control_index && s.root == last.root;
            let signatures: Vec<(NodeId, Vec<u8>)> =
                signatures.values().filter(same).map(|s| (NodeId(s.node), s.signature.clone())).collect();
            let complete = signatures.iter().filter(|(node, _)| is_voter(node)).count() >= needed;
            Some(SignedHead { checkpoint, signatures, complete })
        };
        heads
            .range(range)
            .filter(|(_, signatures)| is_member(signatures))
            .filter_map(|(key, signatures)| of_size(key, signatures))
            .collect()
    }
}
