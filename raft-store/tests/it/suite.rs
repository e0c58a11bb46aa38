use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use raft_store::{Engine, EngineOptions, LogStore, MemoryDisk, StateMachine, TypeConfig};
use tempfile::TempDir;

use crate::ledger::Ledger;

/// Control: log and state in one engine.
struct Together;

/// Audit: log and state in two.
struct Apart;

fn engine(dir: &TempDir, name: &str, large: bool) -> Engine {
    let options = EngineOptions { large, on_poison: Box::new(|message| panic!("{message}")), ..EngineOptions::default() };
    Engine::open(&dir.path().join(name), options).expect("a new folder opens")
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine<Ledger>, TempDir> for Together {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine<Ledger>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let engine = engine(&dir, "control", false);
        let log = engine.log_store(0).expect("an empty log");
        let state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
        Ok((dir, log, state))
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine<Ledger>, TempDir> for Apart {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine<Ledger>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = engine(&dir, "audit-log", true).log_store(7).expect("an empty log");
        let state = StateMachine::open(&engine(&dir, "audit-data", true), 7, Ledger::default()).expect("an empty state");
        Ok((dir, log, state))
    }
}

/// What simulations put below: a disk in memory.
struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, StateMachine<Ledger>, MemoryDisk> for InMemory {
    async fn build(&self) -> Result<(MemoryDisk, LogStore, StateMachine<Ledger>), StorageError<TypeConfig>> {
        let disk = MemoryDisk::default();
        let engine = Engine::open_in_memory(&disk, "control", EngineOptions::default());
        let log = engine.log_store(0).expect("an empty log");
        let state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
        Ok((disk, log, state))
    }
}

#[tokio::test]
async fn openrafts_suite_holds_on_a_disk_in_memory() {
    Suite::test_all(InMemory).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_holds_with_log_and_state_together() {
    Suite::test_all(Together).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_holds_with_log_and_state_apart() {
    Suite::test_all(Apart).await.expect("the suite passes");
}
