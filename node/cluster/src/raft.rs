//! openraft, and all that is said to it: two groups, their settings, and writes with an outcome in our words.
//! Only this file, `peer_client` and `peer_server` name openraft's types; none of them leaves the crate.

pub(crate) mod convert;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use domain::id::NodeId;
use domain::retention::{Plan, RecordClass};
use futures_util::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{ClientWriteError, ForwardToLeader, RaftError};
use openraft::raft::responder::ProgressResponder;
use openraft::{Config, LinearizerOption, Raft, RaftMetrics, SnapshotPolicy, StepDownPolicy};
use planted::{Bug, planted};
use raft_store::audit::{AuditMachine, Heads, Heard};
use raft_store::format::{self, AuditKind, AuditMessage, PruneMessage, RecordBatch};
use raft_store::{EngineOptions, LeafReader, LogStore, StateMachine as Store};
pub(crate) use raft_store::{OpenError as StorageError, Payload, PeerNode, SnapshotData, TypeConfig, Vote as VoteOf};

use crate::ground::Ground;
use crate::machine::ControlMachine;
use crate::node::Node;
use crate::peer_client::GroupNetwork;
use crate::peer_transport::quic::Runtimes;
use crate::publish::Publisher;
use crate::wire::NotLeader;

pub(crate) const CONTROL_GROUP: u32 = 0;
pub(crate) const AUDIT_GROUP: u32 = 1;

pub(crate) type ControlStore = Store<ControlMachine>;
pub(crate) type AuditStore = Store<AuditMachine>;
pub(crate) type ControlRaft = Raft<TypeConfig, ControlStore>;
pub(crate) type AuditRaft = Raft<TypeConfig, AuditStore>;
pub(crate) type SnapshotOf = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

pub(crate) use openraft::storage::RaftStateMachine as StateMachine;

/// Settings of a group. Times are for a LAN or one region (DESIGN §3). A follower waits for `election.1` since it last
/// heard the leader and then for a random time within `election`: a lost leader is followed by another within
/// 0.6–1.2 s, before leases of 2 s end.
fn config(name: &str, heartbeat: u64, election: (u64, u64), entries: u64, snapshot_after: u64) -> Result<Arc<Config>, String> {
    let config = Config {
        cluster_name: name.to_owned(),
        heartbeat_interval: heartbeat,
        election_timeout_min: election.0,
        election_timeout_max: election.1,
        install_snapshot_timeout: 60_000,
        max_payload_entries: entries,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_after),
        // A transfer does not hold the purge back, so what is kept has to outlast one.
        max_in_snapshot_log_to_keep: snapshot_after,
        // A purge is a range delete: in few steps, but not so few that short logs are never cut.
        purge_batch_size: snapshot_after.min(1024),
        api_channel_size: Some(4096),
        notification_channel_size: Some(4096),
        removed_leader_step_down: StepDownPolicy::After(150),
        enable_pre_vote: Some(true),
        // A restarted leader must be a new leader: the lease protocol and log time start over with it.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|e| e.to_string())
}

/// What became of a write, as far as the leader that was asked can say.
pub(crate) enum Written {
    Committed {
        index: u64,
        reply: Bytes,
    },
    /// Certainly not appended here.
    NotLeader(NotLeader),
    Unknown(String),
}

fn not_leader(forward: &ForwardToLeader<TypeConfig>) -> NotLeader {
    NotLeader { leader: forward.leader_id, why: format!("not the leader ({:?})", forward.reason) }
}

fn refused(error: ClientWriteError<TypeConfig>) -> Written {
    match error {
        ClientWriteError::ForwardToLeader(forward) => Written::NotLeader(not_leader(&forward)),
        // It was appended, and then another leader's log won; another replica may still have committed it.
        ClientWriteError::LogEntryDiscarded(_) => Written::Unknown("the leader changed meanwhile".into()),
        other => Written::Unknown(other.to_string()),
    }
}

pub(crate) async fn write_outcome<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>, payload: Bytes) -> Written {
    match raft.client_write(Payload(payload)).await {
        Ok(done) => Written::Committed { index: done.log_id.index, reply: done.data.0 },
        Err(RaftError::APIError(e)) => refused(e),
        Err(RaftError::Fatal(e)) => Written::Unknown(e.to_string()),
    }
}

/// Hands a write to the group, in the order of calls, and returns what waits for its outcome.
pub(crate) async fn write_in_order<SM: StateMachine<TypeConfig>>(
    raft: &Raft<TypeConfig, SM>,
    payload: Bytes,
) -> BoxFuture<'static, Written> {
    let (responder, completed) = ProgressResponder::complete_only();
    if let Err(e) = raft.client_write_ff(Payload(payload), Some(responder)).await {
        let why = e.to_string();
        return Box::pin(async move { Written::Unknown(why) });
    }
    Box::pin(async move {
        match completed.await {
            Ok(Ok(done)) => Written::Committed { index: done.log_id.index, reply: done.data.0 },
            Ok(Err(e)) => refused(e),
            Err(_) => Written::Unknown("the group stopped".into()),
        }
    })
}

/// A read index whose quorum round starts after this call. Never the leader's lease (RAFT.md §1.3).
pub(crate) async fn read_index(raft: &ControlRaft, within: Duration) -> Result<u64, String> {
    if planted(Bug::ReadIndexUnconfirmed) {
        return Ok(applied(raft));
    }
    let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(within);
    let linearizer = raft.get_read_linearizer(option).await.map_err(|e| e.to_string())?;
    Ok(linearizer.read_log_id().index())
}

pub(crate) fn metrics<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>) -> RaftMetrics<TypeConfig> {
    // Copied: a borrow held across an await would stop the group.
    raft.metrics().borrow_watched().clone()
}

pub(crate) fn leader<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>) -> Option<NodeId> {
    raft.metrics().borrow_watched().current_leader.map(NodeId)
}

/// Returns when somebody else than `leader` leads, or nobody: who waits for an answer of `leader` may stop.
pub(crate) async fn leader_gone<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>, leader: NodeId) {
    let mut metrics = raft.server_metrics();
    while metrics.borrow_watched().current_leader == Some(leader.0) {
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the operator who leads, until the group stops. Server metrics, here as above: the others change with every entry.
pub(crate) async fn tell_leaders<SM: StateMachine<TypeConfig>>(raft: Raft<TypeConfig, SM>, group: u32) {
    let mut metrics = raft.server_metrics();
    let mut told = None;
    loop {
        let (leader, term) = {
            let now = metrics.borrow_watched();
            (now.current_leader, now.vote.leader_id.term)
        };
        if let Some(leader) = leader
            && told != Some((leader, term))
        {
            tracing::info!(group, leader, term, "leader");
            told = Some((leader, term));
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

pub(crate) fn term<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>) -> u64 {
    raft.metrics().borrow_watched().current_term
}

pub(crate) fn voters<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>) -> Vec<NodeId> {
    raft.metrics().borrow_watched().membership_config.membership().voter_ids().map(NodeId).collect()
}

pub(crate) fn applied<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>) -> u64 {
    raft.metrics().borrow_watched().last_applied.map_or(0, |id| id.index)
}

pub(crate) fn log_start<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>) -> u64 {
    raft.metrics().borrow_watched().purged.map_or(0, |id| id.index + 1)
}

/// Whether a node votes in the group, and whether the group knows it at all.
pub(crate) fn standing<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>, node: NodeId) -> (bool, bool) {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    (membership.voter_ids().any(|id| id == node.0), membership.get_node(&node.0).is_some())
}

/// Starts both groups with this node alone, unless they were started before.
pub(crate) async fn initialize(node: &Arc<Node>, address: &str) {
    let members = BTreeMap::from([(node.home.node.0, PeerNode { address: address.to_owned() })]);
    if !node.control.is_initialized().await.unwrap_or(true)
        && let Err(e) = node.control.initialize(members.clone()).await
    {
        tracing::error!(error = %e, "the control group cannot be started");
    }
    if !node.audit.is_initialized().await.unwrap_or(true)
        && let Err(e) = node.audit.initialize(members).await
    {
        tracing::error!(error = %e, "the audit group cannot be started");
    }
}

pub(crate) async fn stop_groups(node: &Node) {
    for stopped in [node.control.shutdown().await.map_err(|e| e.to_string()), node.audit.shutdown().await.map_err(|e| e.to_string())] {
        if let Err(why) = stopped {
            tracing::warn!(why, "a group did not stop cleanly");
        }
    }
}

/// One audit proposal.
pub(crate) fn record_batch(node: u64, boot: u64, first_sequence: u64, records: Vec<Vec<u8>>) -> Bytes {
    let records = records.into_iter().map(Bytes::from).collect();
    let batch = RecordBatch { node, boot, first_sequence, records };
    format::encode_audit(&AuditMessage { kind: Some(AuditKind::Records(batch)) })
}

pub(crate) async fn prune(raft: &AuditRaft, class: RecordClass, plan: &Plan) -> Result<(), String> {
    let leaves = plan.leaves.as_pairs().to_vec();
    let message = PruneMessage { plan: plan.index.0, class: class.as_str().into(), before: plan.before.0, leaves };
    match write_outcome(raft, format::encode_audit(&AuditMessage { kind: Some(AuditKind::Prune(message)) })).await {
        Written::Committed { reply, .. } => match format::decode_audit_reply(&reply) {
            Ok(reply) if reply.gap => Err(format!("the log has only {} leaves", reply.size)),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        },
        Written::NotLeader(not) => Err(not.why),
        Written::Unknown(why) => Err(why),
    }
}

pub(crate) enum BatchReply {
    /// Everything up to this sequence is in the log.
    Through(u64),
    Gap {
        expected: u64,
    },
}

pub(crate) fn batch_reply(bytes: &Bytes) -> Result<BatchReply, String> {
    let reply = format::decode_audit_reply(bytes).map_err(|e| e.to_string())?;
    Ok(if reply.gap { BatchReply::Gap { expected: reply.through + 1 } } else { BatchReply::Through(reply.through) })
}

/// What reads the logs, besides Raft.
#[derive(Clone)]
pub(crate) struct Readers {
    pub control: LeafReader,
    pub audit: LeafReader,
    pub heads: Heads,
    /// A write or sync of an audit engine failed: nothing is recorded here any more.
    pub audit_failed: Arc<AtomicBool>,
}

pub(crate) struct Stores {
    control_log: LogStore,
    audit_log: LogStore,
    control: ControlStore,
    audit: AuditStore,
    readers: Readers,
}

/// Names of the logs in checkpoints.
pub(crate) const CONTROL_LOG: &str = "control";
pub(crate) const AUDIT_LOG: &str = "audit/0";

/// Opens the three engines. Reads everything once, so it runs where blocking is allowed.
pub(crate) async fn open_stores(ground: &Ground, dir: &Path, publisher: Arc<Publisher>, heard: Heard) -> Result<Stores, StorageError> {
    let (ground, dir) = (ground.clone(), dir.to_owned());
    let opened = crate::tasks::blocking(move || open_blocking(&ground, &dir, publisher, heard)).await;
    opened.unwrap_or_else(|e| Err(unusable(Path::new("store"), e)))
}

fn unusable(path: &Path, e: impl std::fmt::Display) -> StorageError {
    StorageError::Unusable { path: path.into(), message: e.to_string() }
}

/// When the disk of the control engine fails, the process ends. Without an audit engine nothing is recorded here any more,
/// so nothing is done; but control goes on, because a full disk of records must not delay a revocation.
fn options(large: bool, audit_failed: &Arc<AtomicBool>) -> EngineOptions {
    if !large {
        return EngineOptions { large, ..EngineOptions::default() };
    }
    let failed = audit_failed.clone();
    let note = move |message: &str| {
        failed.store(true, Ordering::Release);
        tracing::error!(message, "an audit engine failed; this node records nothing until it is started again on a disk that works");
    };
    EngineOptions { large, on_disk_failure: Some(Box::new(note)), ..EngineOptions::default() }
}

fn open_blocking(ground: &Ground, dir: &Path, publisher: Arc<Publisher>, heard: Heard) -> Result<Stores, StorageError> {
    let audit_failed: Arc<AtomicBool> = Arc::default();
    let open = |name: &str, large: bool| ground.open(dir, name, options(large, &audit_failed));
    let failed = |e: std::io::Error| unusable(dir, e);
    let (control_engine, log_engine, data_engine) = (open("control", false)?, open("audit-log", true)?, open("audit-data", true)?);
    let control = ControlStore::open(&control_engine, CONTROL_GROUP, ControlMachine::new(publisher)).map_err(failed)?;
    let own: Arc<OnceLock<LeafReader>> = Arc::default();
    let (control_leaves, audit_leaves) = (control.leaves(), own.clone());
    let root_at = Box::new(move |log: &str, size: u64| {
        let reader = match log {
            CONTROL_LOG => &control_leaves,
            AUDIT_LOG => audit_leaves.get()?,
            _ => return None,
        };
        reader.root_at(size).ok()
    });
    let machine = AuditMachine::new(root_at).heard_by(heard);
    let heads = machine.heads();
    let audit = AuditStore::open(&data_engine, AUDIT_GROUP, machine).map_err(failed)?;
    // Set once, right here.
    let _ = own.set(audit.leaves());
    Ok(Stores {
        control_log: control_engine.log_store(CONTROL_GROUP).map_err(failed)?,
        audit_log: log_engine.log_store(AUDIT_GROUP).map_err(failed)?,
        readers: Readers { control: control.leaves(), audit: audit.leaves(), heads, audit_failed },
        control,
        audit,
    })
}

pub(crate) struct Groups {
    pub control: ControlRaft,
    pub audit: AuditRaft,
    pub readers: Readers,
}

/// Starts both groups: control on its own runtime, audit on the main one.
pub(crate) async fn start_groups(
    node: NodeId,
    runtimes: &Runtimes,
    stores: Stores,
    snapshot_after: u64,
    control_network: GroupNetwork,
    audit_network: GroupNetwork,
) -> Result<Groups, String> {
    let control_config = config("control", 100, (300, 600), 256, snapshot_after)?;
    let audit_config = config("audit", 100, (350, 700), 128, snapshot_after)?;
    let (log, machine) = (stores.control_log, stores.control);
    let starting = runtimes.control.spawn(async move { Raft::new(node.0, control_config, control_network, log, machine).await });
    let control = starting.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let audit = Raft::new(node.0, audit_config, audit_network, stores.audit_log, stores.audit).await.map_err(|e| e.to_string())?;
    Ok(Groups { control, audit, readers: stores.readers })
}
