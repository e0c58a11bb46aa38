//! The disk in memory: what a power loss takes, and what it leaves.

use openraft::RaftLogReader as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use raft_store::format::VoteMessage;
use raft_store::{Engine, EngineOptions, LogStore, MemoryDisk, TypeConfig, Vote};

use crate::restart::{append, entry};

fn open(disk: &MemoryDisk) -> LogStore {
    let options = EngineOptions { on_poison: Box::new(|_| {}), ..EngineOptions::default() };
    Engine::open_in_memory(disk, "control", options).log_store(0).expect("the log is whole")
}

fn vote() -> Vote {
    VoteMessage { term: 3, node: 1, committed: false }.into()
}

#[tokio::test]
pub(crate) async fn a_vote_is_durable_when_it_is_saved() {
    let disk = MemoryDisk::default();
    open(&disk).save_vote(&vote()).await.expect("synced");
    disk.power_off(0);
    assert_eq!(open(&disk).read_vote().await.expect("reads"), Some(vote()));
}

#[tokio::test]
async fn a_power_loss_takes_what_was_not_synced_and_nothing_else() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    log.save_vote(&vote()).await.expect("synced");
    append(&mut log, (1..=5).map(|n| entry(3, n)).collect()).await;
    let nobody_waits = || IOFlushed::signal(TypeConfig::oneshot().0);
    for index in 6..=9 {
        log.append([entry(3, index)], nobody_waits()).await.expect("written");
    }
    assert_eq!((log.last_index(), disk.unsynced()), (Some(9), 4), "readable at once");
    disk.power_off(2);
    log.append([entry(3, 10)], nobody_waits()).await.expect_err("the old process has no disk any more");
    let mut again = open(&disk);
    assert_eq!(again.last_index(), Some(7));
    assert_eq!(again.read_vote().await.expect("reads"), Some(vote()));
}

#[tokio::test]
async fn a_disk_that_lies_loses_what_it_said_it_had() {
    let disk = MemoryDisk::default();
    disk.lie();
    open(&disk).save_vote(&vote()).await.expect("it says so");
    disk.power_off(0);
    assert_eq!(open(&disk).read_vote().await.expect("reads"), None);
}
