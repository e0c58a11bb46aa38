//! What the admin API asks of the node, answered by the cluster.

use std::sync::Arc;
use std::time::Duration;

use admin_api::control::{AuditLogs, Committed, Control, ControlError, JoinTokenMade, Leaf, Members, SignedHead};
use cluster::pki::{self, Subject};
use cluster::{Cluster, LogName, ProposeError};
use domain::audit::checkpoint::{Checkpoint, Note, Origin, VerifierKey};
use domain::command::{Actor, Command};
use domain::credential::Sealed;
use domain::id::{Index, Name, NodeId, ProposalId, RevocationId};
use domain::member::{MemberRole, Receipt, Serving};
use domain::policy::Rules;
use domain::state::State;
use domain::time::LogTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use identity::Secret;
use proto::admin as pb;

use crate::authority::CREDENTIAL;
use crate::outbound::SINK;
use crate::time::timestamp;

/// How long a call waits for this node to have applied what another node answered.
const WAIT_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct ClusterControl(pub(crate) Cluster, pub(crate) Arc<policy::Engine>);

impl From<Failed> for ControlError {
    fn from(failed: Failed) -> Self {
        match failed.0 {
            ProposeError::NotCommitted(why) => ControlError::NotCommitted(why),
            ProposeError::Unknown(why) => ControlError::Unknown(why),
        }
    }
}

/// Makes `?` convert one crate's error into another's.
struct Failed(ProposeError);

fn unavailable(error: impl std::fmt::Display) -> ControlError {
    ControlError::Unavailable(error.to_string())
}

impl Control for ClusterControl {
    fn node(&self) -> NodeId {
        self.0.node()
    }

    fn state(&self) -> Arc<State> {
        self.0.state()
    }

    fn now(&self) -> LogTime {
        self.0.now()
    }

    fn rules(&self) -> &dyn Rules {
        self.1.as_ref()
    }

    fn serving(&self) -> bool {
        self.0.may_forward()
    }

    fn wait_for(&self, index: Index) -> BoxFuture<'_, Result<Arc<State>, ControlError>> {
        async move {
            self.0.wait_applied(index, WAIT_WITHIN).await.map_err(unavailable)?;
            Ok(self.0.state())
        }
        .boxed()
    }

    fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<Committed, ControlError>> {
        async move {
            let done = self.0.propose(id, actor, command).await.map_err(Failed)?;
            Ok(Committed { index: done.index, reply: done.reply })
        }
        .boxed()
    }

    fn narrow(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<(Committed, Receipt), ControlError>> {
        async move {
            let (done, receipt) = self.0.narrow(id, actor, command).await.map_err(Failed)?;
            // Refused when it was applied: nothing was narrowed, and the reply says why.
            let receipt =
                receipt.unwrap_or_else(|| Receipt { revocation: RevocationId(done.index.0), nodes: Vec::new(), made: self.0.now() });
            Ok((Committed { index: done.index, reply: done.reply }, receipt))
        }
        .boxed()
    }

    fn seal(&self, name: &Name, secret: &Secret) -> Result<Sealed, ControlError> {
        self.0.seal(CREDENTIAL, name.as_str(), secret.expose()).map_err(unavailable)
    }

    fn seal_sink(&self, name: &Name, secret: &Secret) -> Result<Sealed, ControlError> {
        self.0.seal(SINK, name.as_str(), secret.expose()).map_err(unavailable)
    }

    fn person_of_certificate(&self, der: &[u8]) -> Option<Name> {
        let (id, incarnation) = self.0.identity();
        let named = pki::identity_of(der).ok().filter(|n| n.cluster == id && n.incarnation == incarnation)?;
        match named.subject {
            Subject::Person(name) => Some(name),
            Subject::Node(_) => None,
        }
    }
}

fn log_named(log: &str) -> Result<LogName, ControlError> {
    LogName::ALL.into_iter().find(|l| l.as_str() == log).ok_or_else(|| ControlError::NotFound(format!("the log {log}")))
}

impl ClusterControl {
    /// Heads that outside witnesses co-signed: notes of their own, since the nodes may sign the same size anew later.
    fn cosigned(&self, log: LogName) -> Vec<SignedHead> {
        let state = self.0.state();
        let of_log = state.cosigned.values().filter(|cosigned| cosigned.log == log.as_str());
        let head = |head: &domain::witness::CosignedHead| {
            let checkpoint = Checkpoint::parse(&head.note.parse::<Note>().ok()?.text).ok()?;
            let (cluster, incarnation) = self.0.identity();
            // A head of before the cluster was recovered is another log's.
            (checkpoint.origin.cluster == cluster && checkpoint.origin.incarnation == incarnation).then(|| SignedHead {
                log: log.as_str().into(),
                size: head.size,
                root: checkpoint.root,
                note: head.note.clone().into_bytes(),
                made: checkpoint.time,
                signers: Vec::new(),
            })
        };
        of_log.flat_map(|cosigned| &cosigned.heads).filter_map(head).collect()
    }

    fn head(&self, log: LogName, head: &cluster::SignedHead) -> SignedHead {
        SignedHead {
            log: log.as_str().into(),
            size: head.checkpoint.size,
            root: head.checkpoint.root,
            note: head.note(&self.0.state()).to_string().into_bytes(),
            made: head.checkpoint.time,
            signers: head.signatures.iter().map(|(node, _)| *node).collect(),
        }
    }
}

impl AuditLogs for ClusterControl {
    fn logs(&self) -> Vec<String> {
        LogName::ALL.iter().map(|l| l.as_str().to_owned()).collect()
    }

    fn size(&self, log: &str) -> Result<u64, ControlError> {
        Ok(self.0.audit().size(log_named(log)?))
    }

    fn read<'a>(&'a self, log: &'a str, from: u64, limit: usize) -> BoxFuture<'a, Result<Vec<Leaf>, ControlError>> {
        async move {
            let leaves = self.0.audit().leaves(log_named(log)?, from..from.saturating_add(limit as u64)).await.map_err(unavailable)?;
            Ok(leaves.into_iter().zip(from..).map(|(bytes, number)| Leaf { number, bytes: bytes.to_vec() }).collect())
        }
        .boxed()
    }

    fn checkpoint<'a>(&'a self, log: &'a str, size: Option<u64>) -> BoxFuture<'a, Result<SignedHead, ControlError>> {
        async move {
            let name = log_named(log)?;
            let audit = self.0.audit();
            let found = match size {
                Some(size) => audit.checkpoint_at(name, size),
                None => audit.latest_checkpoint(name),
            };
            found
                .map(|head| self.head(name, &head))
                .ok_or_else(|| ControlError::NotFound(format!("a checkpoint of {log} signed by a majority")))
        }
        .boxed()
    }

    fn checkpoints<'a>(&'a self, log: &'a str) -> BoxFuture<'a, Result<Vec<SignedHead>, ControlError>> {
        async move {
            let name = log_named(log)?;
            let complete = self.0.audit().checkpoints(name).into_iter().filter(|head| head.complete);
            let mut heads: Vec<SignedHead> = complete.map(|head| self.head(name, &head)).collect();
            heads.extend(self.cosigned(name));
            Ok(heads)
        }
        .boxed()
    }

    fn inclusion<'a>(&'a self, log: &'a str, number: u64, size: u64) -> BoxFuture<'a, Result<Vec<[u8; 32]>, ControlError>> {
        async move { self.0.audit().inclusion_proof(log_named(log)?, number, size).await.map_err(|e| ControlError::Refused(e.to_string())) }
            .boxed()
    }

    fn consistency<'a>(&'a self, log: &'a str, from: u64, to: u64) -> BoxFuture<'a, Result<Vec<[u8; 32]>, ControlError>> {
        async move { self.0.audit().consistency_proof(log_named(log)?, from, to).await.map_err(|e| ControlError::Refused(e.to_string())) }
            .boxed()
    }

    fn genesis(&self) -> String {
        let (cluster, incarnation) = self.0.identity();
        let origin = Origin { cluster: cluster.to_owned(), incarnation, log: String::new() };
        let state = self.0.state();
        let founder = state.members.values().next();
        let key = founder.and_then(|m| m.checkpoint_keys.values().next().map(|key| (m.id, *key)));
        key.map(|(node, key)| VerifierKey { name: origin.signer(node), key }.to_string()).unwrap_or_default()
    }
}

impl Members for ClusterControl {
    fn status(&self) -> BoxFuture<'_, Result<pb::ClusterStatus, ControlError>> {
        async move {
            let status = self.0.status().await;
            let state = self.0.state();
            let audit = self.0.audit();
            let nodes = status.nodes.iter().map(|node| pb::NodeStatus {
                node: node.node.0,
                address: node.address.clone(),
                admin_address: node.admin_address.clone(),
                role: match node.role {
                    MemberRole::Voter => pb::NodeRole::Voter,
                    MemberRole::Learner => pb::NodeRole::Learner,
                    MemberRole::Removed => pb::NodeRole::Removed,
                }
                .into(),
                serving: matches!(node.serving, Serving::Yes { .. }),
                matched: node.live.as_ref().map(|live| live.applied.0),
                reachable: Some(node.live.is_some()),
                feature_level_max: state.members.get(&node.node).map_or(0, |m| m.feature_level_max),
            });
            let leader_of = |log| match log {
                LogName::Control => status.control_leader,
                LogName::Audit => status.audit_leader,
            };
            let logs = LogName::ALL.iter().map(|log| pb::LogStatus {
                log: log.as_str().into(),
                leader: leader_of(*log).map_or(0, |n| n.0),
                size: audit.size(*log),
                checkpoint_size: audit.latest_checkpoint(*log).map_or(0, |head| head.checkpoint.size),
            });
            Ok(pb::ClusterStatus {
                id: state.cluster.id.clone(),
                incarnation: state.cluster.incarnation,
                feature_level: state.cluster.feature_level,
                node: self.0.node().0,
                leader: status.control_leader.map_or(0, |n| n.0),
                term: status.term,
                applied: state.applied.0,
                committed: state.applied.0,
                log_time: Some(timestamp(self.0.now())),
                lease: self.0.may_forward(),
                nodes: nodes.collect(),
                logs: logs.collect(),
                version: env!("CARGO_PKG_VERSION").into(),
                // Read from the state by the API.
                break_glass: Vec::new(),
            })
        }
        .boxed()
    }

    fn make_join_token(&self, id: ProposalId, actor: Actor, valid: Duration) -> BoxFuture<'_, Result<JoinTokenMade, ControlError>> {
        async move {
            let token = self.0.make_join_token(id, actor, valid).await.map_err(Failed)?;
            Ok(JoinTokenMade { token: Secret::new(token.printed().as_bytes().to_vec()), expires: self.0.now().after(valid) })
        }
        .boxed()
    }

    fn add_voter(&self, id: ProposalId, actor: Actor, node: NodeId) -> BoxFuture<'_, Result<(), ControlError>> {
        self.role(id, actor, node, MemberRole::Voter).boxed()
    }

    fn remove(&self, id: ProposalId, actor: Actor, node: NodeId) -> BoxFuture<'_, Result<(), ControlError>> {
        self.role(id, actor, node, MemberRole::Removed).boxed()
    }

    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), ControlError>> {
        async move {
            let leader = self.0.leader();
            let state = self.0.state();
            let other = || state.members.values().find(|m| m.role == MemberRole::Voter && Some(m.id) != leader).map(|m| m.id);
            let to = to.or_else(other).ok_or_else(|| ControlError::Refused("there is no other voter".into()))?;
            self.0.transfer_leader(to).await.map_err(unavailable)
        }
        .boxed()
    }

    fn backup(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<Vec<u8>, ControlError>>, ControlError>> {
        crate::backup::stream(&self.0).boxed()
    }
}

impl ClusterControl {
    async fn role(&self, id: ProposalId, actor: Actor, node: NodeId, role: MemberRole) -> Result<(), ControlError> {
        let (done, _) = self.0.set_role(id, actor, node, role).await.map_err(Failed)?;
        match done.reply {
            domain::command::Reply::Rejected(why) => Err(ControlError::Refused(why.to_string())),
            _ => Ok(()),
        }
    }
}
