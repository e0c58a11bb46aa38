//! Putting a group's state into a fresh store, as the beginning of a log with one voter.

use std::path::Path;

use domain::id::{BootId, NodeId};
use futures_util::stream;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{LogId, Membership};
use raft_store::audit::AuditMachine;
use raft_store::{Engine, EngineOptions, LogStore, Machine, PeerNode, StateMachine as Store, StoredMembership, Vote};

use super::RecoveryError;
use crate::machine::ControlMachine;
use crate::publish::Publisher;
use crate::raft::{AUDIT_GROUP, CONTROL_GROUP, SnapshotOf};

fn failed(e: impl std::fmt::Display) -> RecoveryError {
    RecoveryError::Unavailable(e.to_string())
}

struct Engines {
    control: Engine,
    audit_log: Engine,
    audit_data: Engine,
}

fn engines(dir: &Path) -> Result<Engines, RecoveryError> {
    let open = |name: &str, large: bool| Engine::open(&dir.join(name), EngineOptions { large, ..EngineOptions::default() });
    Ok(Engines { control: open("control", false)?, audit_log: open("audit-log", true)?, audit_data: open("audit-data", true)? })
}

fn control_machine(node: NodeId) -> ControlMachine {
    ControlMachine::new(Publisher::new(node, BootId(0)))
}

/// Compares no roots: there is no other replica to differ from.
fn audit_machine() -> AuditMachine {
    AuditMachine::new(Box::new(|_, _| None))
}

/// Installs both groups for `node` alone. Without audit data that group begins anew.
pub(super) async fn groups(dir: &Path, node: NodeId, control: SnapshotOf, audit: Option<SnapshotOf>) -> Result<(), RecoveryError> {
    let engines = engines(dir)?;
    let log = engines.control.log_store(CONTROL_GROUP).map_err(failed)?;
    let store = Store::open(&engines.control, CONTROL_GROUP, control_machine(node)).map_err(failed)?;
    begin(store, log, node, control).await?;
    if let Some(audit) = audit {
        let log = engines.audit_log.log_store(AUDIT_GROUP).map_err(failed)?;
        let store = Store::open(&engines.audit_data, AUDIT_GROUP, audit_machine()).map_err(failed)?;
        begin(store, log, node, audit).await?;
    }
    engines
        .control
        .sync_blocking()
        .and_then(|()| engines.audit_log.sync_blocking())
        .and_then(|()| engines.audit_data.sync_blocking())
        .map_err(failed)
}

/// The log goes on after the snapshot's last entry, in a later term, with `node` as the only voter.
async fn begin<M: Machine>(mut store: Store<M>, mut log: LogStore, node: NodeId, snapshot: SnapshotOf) -> Result<(), RecoveryError> {
    let last = snapshot.meta.last_log_id.ok_or_else(|| RecoveryError::Damaged("there is nothing to recover".into()))?;
    let nodes = [(node.0, PeerNode { address: "recovered".into() })];
    let membership = Membership::new(vec![[node.0].into()], std::collections::BTreeMap::from(nodes)).map_err(failed)?;
    let mut meta = snapshot.meta;
    meta.last_membership = StoredMembership::new(Some(last), membership);
    store.install_snapshot(&meta, snapshot.snapshot).await.map_err(failed)?;
    let term = LogId::committed_leader_id(&last);
    log.save_vote(&Vote::new(**term, node.0)).await.map_err(failed)?;
    log.purge(last).await.map_err(failed)
}

/// Both groups of a node that does not run, with all that its logs hold, and the highest node id ever given.
/// The survivor itself stays as it is, should its quorum be found again: what it had not applied is applied to a copy
/// in `scratch`, a new folder on the same file system.
pub(super) async fn read_survivor(dir: &Path, node: NodeId, scratch: &Path) -> Result<(SnapshotOf, SnapshotOf, u64), RecoveryError> {
    copy(&engines(dir)?, scratch).map_err(failed)?;
    let engines = engines(scratch)?;
    let publisher = Publisher::new(node, BootId(0));
    let log = engines.control.log_store(CONTROL_GROUP).map_err(failed)?;
    let store = Store::open(&engines.control, CONTROL_GROUP, ControlMachine::new(publisher.clone())).map_err(failed)?;
    let control = drain(store, log).await?;
    let log = engines.audit_log.log_store(AUDIT_GROUP).map_err(failed)?;
    let store = Store::open(&engines.audit_data, AUDIT_GROUP, audit_machine()).map_err(failed)?;
    let audit = drain(store, log).await?;
    let last_node = publisher.state().members.keys().map(|n| n.0).max().unwrap_or(0);
    Ok((received(control, scratch).await?, received(audit, scratch).await?, last_node))
}

/// The engines are held open meanwhile: no node can be writing to them.
fn copy(engines: &Engines, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    engines.control.copy_to(&to.join("control"))?;
    engines.audit_log.copy_to(&to.join("audit-log"))?;
    engines.audit_data.copy_to(&to.join("audit-data"))
}

/// Applies what the log holds beyond the state, and takes a snapshot.
async fn drain<M: Machine>(mut store: Store<M>, mut log: LogStore) -> Result<SnapshotOf, RecoveryError> {
    let (applied, _) = store.applied_state().await.map_err(failed)?;
    let next = applied.map_or(0, |id| id.index + 1);
    let held = log.get_log_state().await.map_err(failed)?;
    if let Some(last) = held.last_log_id
        && last.index >= next
    {
        let entries = log.get_log_reader().await.try_get_log_entries(next..=last.index).await.map_err(failed)?;
        tracing::warn!(entries = entries.len(), "applying entries that the survivor had not applied");
        let entries = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
        store.apply(entries).await.map_err(failed)?;
    }
    store.get_snapshot_builder().await.build_snapshot().await.map_err(failed)
}

/// The same snapshot as it arrives elsewhere: read whole and verified, before anything is built on it.
async fn received(snapshot: SnapshotOf, dir: &Path) -> Result<SnapshotOf, RecoveryError> {
    let mut incoming = raft_store::Incoming::new(&dir.join("incoming-recovery")).map_err(failed)?;
    for frame in snapshot.snapshot.frames(0) {
        incoming.push(&frame.map_err(failed)?).map_err(failed)?;
    }
    Ok(SnapshotOf { meta: snapshot.meta, snapshot: incoming.finish().map_err(failed)? })
}
