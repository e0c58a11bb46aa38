//! A process that dies while it installs a snapshot leaves the old state or the new one, never a mixture.

use std::fs;
use std::path::{Path, PathBuf};

use openraft::RaftSnapshotBuilder as _;
use openraft::storage::RaftStateMachine as _;
use raft_store::{Incoming, SnapshotData, SnapshotMeta, StateMachine};

use crate::damage::copy;
use crate::ledger::Ledger;
use crate::restart::{apply, entry, id, open};

/// More than one batch of leaves, so that a crash can fall between two.
const LEAVES: u64 = 10_000;
const BEFORE: u64 = 10;
/// Places of the write-ahead log at which the process dies.
const DEATHS: usize = 48;

async fn taken(leader: &mut StateMachine<Ledger>, have: u64, spool: &Path) -> (SnapshotMeta, SnapshotData) {
    let snapshot = leader.get_snapshot_builder().await.build_snapshot().await.expect("builds");
    let mut incoming = Incoming::new(spool).expect("spools");
    for frame in snapshot.snapshot.frames(have) {
        incoming.push(&frame.expect("reads")).expect("fits");
    }
    (snapshot.meta, incoming.finish().expect("is whole"))
}

/// The one write-ahead log of a folder whose memtables were never flushed.
fn write_ahead_log(dir: &Path) -> PathBuf {
    let mut logs: Vec<PathBuf> = fs::read_dir(dir)
        .expect("reads")
        .map(|f| f.expect("an entry").path())
        .filter(|f| f.extension().is_some_and(|e| e == "log") && fs::metadata(f).expect("a file").len() > 0)
        .collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

#[tokio::test]
async fn a_death_while_installing_leaves_the_old_state_or_the_new() {
    let (here, there, spool) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let source = open(here.path()).expect("opens");
    let mut leader = StateMachine::open(&source, 0, Ledger::default()).expect("an empty state");
    apply(&mut leader, (1..=LEAVES).map(|n| entry(1, n)).collect()).await;
    let root = leader.leaves().root_at(LEAVES).expect("a root");

    // The follower before the installation, and after it.
    {
        let engine = open(there.path()).expect("opens");
        let mut follower = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
        apply(&mut follower, (1..=BEFORE).map(|n| entry(1, n)).collect()).await;
        engine.sync_blocking().expect("syncs");
        let floor = fs::read(there.path().join("FLOOR")).expect("reads");
        let begins = fs::metadata(write_ahead_log(there.path())).expect("a file").len();
        let (meta, received) = taken(&mut leader, BEFORE, spool.path()).await;
        follower.install_snapshot(&meta, received).await.expect("installs");
        drop((follower, engine));

        // Nothing of the installation was durable yet: the floor is that of before.
        let ends = fs::metadata(write_ahead_log(there.path())).expect("a file").len();
        let (mut old, mut new) = (0, 0);
        for death in 0..=DEATHS {
            let at = begins + (ends - begins) * death as u64 / DEATHS as u64;
            let dead = tempfile::tempdir().expect("a folder");
            copy(there.path(), dead.path());
            fs::write(dead.path().join("FLOOR"), &floor).expect("writes");
            let log = fs::File::options().write(true).open(write_ahead_log(dead.path())).expect("opens");
            log.set_len(at).expect("cuts");
            drop(log);
            let engine = open(dead.path()).expect("opens after a death");
            let mut follower = StateMachine::open(&engine, 0, Ledger::default()).expect("is the old state or the new");
            let found = (follower.leaves().size(), follower.machine().rows.len() as u64, follower.applied_index());
            if found == (BEFORE, BEFORE, Some(BEFORE)) {
                old += 1;
                // The second attempt installs over what the first left behind.
                let (meta, received) = taken(&mut leader, BEFORE, spool.path()).await;
                follower.install_snapshot(&meta, received).await.expect("installs again");
            } else {
                assert_eq!(found, (LEAVES, LEAVES, Some(LEAVES)), "died at {at} of {begins}..{ends}");
                new += 1;
            }
            assert_eq!(follower.leaves().root_at(LEAVES).expect("a root"), root);
            assert_eq!(follower.applied_state().await.expect("reads").0, Some(id(1, LEAVES)));
        }
        println!("{old} deaths left the old state, {new} the new");
        assert!(old >= DEATHS / 2 && new >= 1, "{old} old, {new} new");
    }
}

/// What was applied here after the sender was told a size comes along once more, and must be the same.
#[tokio::test]
async fn a_snapshot_of_another_history_is_not_installed() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let source = open(here.path()).expect("opens");
    let mut leader = StateMachine::open(&source, 0, Ledger::default()).expect("an empty state");
    apply(&mut leader, (1..=100).map(|n| entry(1, n)).collect()).await;
    let engine = open(there.path()).expect("opens");
    let mut follower = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
    apply(&mut follower, (41..=50).map(|n| entry(1, n)).collect()).await;
    let (meta, received) = taken(&mut leader, 10, there.path()).await;
    let error = follower.install_snapshot(&meta, received).await.expect_err("other leaves were here");
    assert!(error.to_string().contains("do not continue"), "{error}");
    drop((follower, engine));
    let engine = open(there.path()).expect("opens");
    let again = StateMachine::open(&engine, 0, Ledger::default()).expect("the old state");
    assert_eq!((again.leaves().size(), again.machine().rows.len()), (10, 10));
}
