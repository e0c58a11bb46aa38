use std::path::Path;

use bytes::Bytes;
use domain::audit::merkle;
use futures_util::stream;
use openraft::storage::{IOFlushed, RaftLogStorage as _, RaftStateMachine as _};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftLogReader as _, RaftSnapshotBuilder as _};
use raft_store::format::{LogIdMessage, VoteMessage};
use raft_store::{Engine, EngineOptions, Entry, Incoming, LogId, LogStore, OpenError, Payload, StateMachine, TypeConfig, Vote};

use crate::ledger::Ledger;

pub(crate) fn open(dir: &Path) -> Result<Engine, OpenError> {
    Engine::open(dir, EngineOptions { on_poison: Box::new(|message| eprintln!("poisoned: {message}")), ..EngineOptions::default() })
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogIdMessage { term, index }.into()
}

pub(crate) fn entry(term: u64, index: u64) -> Entry {
    let text = format!("payload {index}");
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(Payload(Bytes::from(text))) }
}

/// Appends and waits until it is durable.
pub(crate) async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    let (sender, receiver) = <TypeConfig as TypeConfigExt>::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await.expect("the append is taken");
    receiver.await.expect("the callback fires").expect("the sync succeeds");
}

pub(crate) async fn apply(state: &mut StateMachine<Ledger>, entries: Vec<Entry>) {
    state.apply(stream::iter(entries.into_iter().map(|e| Ok((e, None))))).await.expect("the entries apply");
}

#[tokio::test]
pub(crate) async fn vote_log_truncation_and_purge_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let vote: Vote = VoteMessage { term: 3, node: 2, committed: true }.into();
    {
        let engine = open(dir.path()).expect("opens");
        let mut log = engine.log_store(0).expect("an empty log");
        log.save_vote(&vote).await.expect("the vote is durable");
        append(&mut log, (1..=100).map(|n| entry(3, n)).collect()).await;
        log.truncate_after(Some(id(3, 80))).await.expect("truncates");
        append(&mut log, vec![entry(4, 81)]).await;
        log.purge(id(3, 40)).await.expect("purges");
    }
    let engine = open(dir.path()).expect("opens again");
    let mut log = engine.log_store(0).expect("the log is whole");
    assert_eq!(log.read_vote().await.expect("reads"), Some(vote));
    let state = log.get_log_state().await.expect("reads");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(3, 40)), Some(id(4, 81))));
    let entries = log.try_get_log_entries(..).await.expect("reads");
    assert_eq!(entries.len(), 41);
    assert_eq!(entries.last().map(|e| e.log_id), Some(id(4, 81)));
    assert_eq!(entries[0], entry(3, 41));
}

#[tokio::test]
async fn reads_are_bounded_in_bytes_but_never_empty() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let engine = open(dir.path()).expect("opens");
    let mut log = engine.log_store(0).expect("an empty log");
    let big = |n| Entry { log_id: id(1, n), payload: EntryPayload::Normal(Payload(Bytes::from(vec![7; 700 << 10]))) };
    append(&mut log, (1..=5).map(big).collect()).await;
    assert_eq!(log.limited_get_log_entries(1, 6).await.expect("reads").len(), 1);
    assert_eq!(log.try_get_log_entries(1..6).await.expect("reads").len(), 5);
}

#[tokio::test]
async fn state_and_merkle_log_survive_a_restart_together() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let root = {
        let engine = open(dir.path()).expect("opens");
        let mut state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
        apply(&mut state, (1..=57).map(|n| entry(1, n)).collect()).await;
        engine.sync_blocking().expect("syncs");
        state.leaves().root_at(57).expect("has a root")
    };
    let engine = open(dir.path()).expect("opens again");
    let mut state = StateMachine::open(&engine, 0, Ledger::default()).expect("the state is whole");
    assert_eq!(state.applied_state().await.expect("reads").0, Some(id(1, 57)));
    assert_eq!((state.machine().rows.len(), state.machine().published), (57, 57));
    let leaves = state.leaves();
    assert_eq!(leaves.root_at(57).expect("has a root"), root);
    let path = leaves.inclusion_proof(20, 57).expect("is proved");
    assert!(merkle::verify_inclusion(20, 57, &merkle::leaf_hash(b"payload 21"), &path, &root));
    let older = leaves.root_at(30).expect("has a root");
    let proof = leaves.consistency_proof(30, 57).expect("is proved");
    assert!(merkle::verify_consistency(30, 57, &older, &root, &proof));
    leaves.inclusion_proof(57, 57).expect_err("there is no leaf 57");
    leaves.root_at(58).expect_err("there are not so many leaves");
}

/// What one node sends, another installs, though it has some of the leaves already.
#[tokio::test]
async fn a_snapshot_carries_rows_and_the_missing_leaves() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let source = open(here.path()).expect("opens");
    let mut leader = StateMachine::open(&source, 0, Ledger::default()).expect("an empty state");
    apply(&mut leader, (1..=1000).map(|n| entry(1, n)).collect()).await;
    let engine = open(there.path()).expect("opens");
    let mut follower = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
    apply(&mut follower, (1..=10).map(|n| entry(1, n)).collect()).await;

    let snapshot = leader.get_snapshot_builder().await.build_snapshot().await.expect("builds");
    apply(&mut leader, vec![entry(1, 1001)]).await;
    let mut incoming = Incoming::new(there.path()).expect("spools");
    for frame in snapshot.snapshot.frames(follower.leaves().size()) {
        incoming.push(&frame.expect("the leader reads its leaves")).expect("the frame fits");
    }
    let received = incoming.finish().expect("is complete");
    follower.install_snapshot(&snapshot.meta, received).await.expect("installs");

    assert_eq!(follower.leaves().size(), 1000);
    assert_eq!(follower.leaves().root_at(1000).expect("a root"), leader.leaves().root_at(1000).expect("a root"));
    assert_eq!(follower.applied_state().await.expect("reads").0, Some(id(1, 1000)));
    drop(follower);
    drop(engine);
    let engine = open(there.path()).expect("opens again");
    let again = StateMachine::open(&engine, 0, Ledger::default()).expect("what was installed is whole");
    assert_eq!(again.machine().rows.len(), 1000);
}

#[tokio::test]
async fn a_changed_or_cut_snapshot_is_not_installed() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = open(dir.path()).expect("opens");
    let mut state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
    apply(&mut state, (1..=100).map(|n| entry(1, n)).collect()).await;
    let snapshot = state.get_snapshot_builder().await.build_snapshot().await.expect("builds");
    let frames: Vec<Bytes> = snapshot.snapshot.frames(0).collect::<Result<_, _>>().expect("reads");

    let mut cut = Incoming::new(dir.path()).expect("spools");
    for frame in &frames[..frames.len() - 1] {
        cut.push(frame).expect("fits so far");
    }
    assert!(cut.finish().is_err(), "the trailer is missing");

    let mut changed = Incoming::new(dir.path()).expect("spools");
    let refused = frames.iter().enumerate().any(|(n, frame)| {
        let mut bytes = frame.to_vec();
        if n == 1 {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        changed.push(&bytes).is_err()
    });
    assert!(refused, "the hash does not fit");
}

#[tokio::test]
async fn what_cannot_be_applied_stops_the_replica() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = open(dir.path()).expect("opens");
    let mut state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
    let unknown = Entry { log_id: id(1, 1), payload: EntryPayload::Normal(Payload(Bytes::from_static(b"unknown"))) };
    state.apply(stream::iter([Ok((unknown, None))])).await.expect_err("it is not skipped");
    let mut log = engine.log_store(0).expect("an empty log");
    log.save_vote(&VoteMessage { term: 1, node: 1, committed: false }.into()).await.expect_err("the engine takes nothing more");
}

#[test]
fn an_unknown_layout_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(open(dir.path()).expect("opens"));
    std::fs::write(dir.path().join("VERSION"), "assize layout 2\n").expect("writes");
    let error = open(dir.path()).err().expect("refused").to_string();
    assert!(error.contains("layout 2") && error.contains("layout 1"), "{error}");
    assert_eq!(std::fs::read_to_string(dir.path().join("VERSION")).expect("reads"), "assize layout 2\n");
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let _first = open(dir.path()).expect("opens");
    let error = open(dir.path()).err().expect("refused").to_string();
    assert!(error.contains("another process"), "{error}");
}

/// The state may be ahead of the durable log: a leader applies what a quorum of others has on disk.
#[tokio::test]
async fn a_state_ahead_of_the_log_is_caught_up_with() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let engine = open(dir.path()).expect("opens");
        let mut log = engine.log_store(0).expect("an empty log");
        append(&mut log, (1..=5).map(|n| entry(1, n)).collect()).await;
        log.purge(id(1, 9)).await.expect("purges beyond its end");
        let state = log.get_log_state().await.expect("reads");
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 9)), Some(id(1, 9))));
        append(&mut log, vec![entry(2, 10)]).await;
    }
    let engine = open(dir.path()).expect("opens again");
    let mut log = engine.log_store(0).expect("the log is whole");
    let state = log.get_log_state().await.expect("reads");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 9)), Some(id(2, 10))));
    assert_eq!(log.try_get_log_entries(..).await.expect("reads"), [entry(2, 10)]);
}

#[tokio::test]
async fn groups_of_one_engine_do_not_touch_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = open(dir.path()).expect("opens");
    let (mut one, mut two) = (engine.log_store(1).expect("empty"), engine.log_store(2).expect("empty"));
    append(&mut one, (1..=20).map(|n| entry(1, n)).collect()).await;
    append(&mut two, (1..=20).map(|n| entry(1, n)).collect()).await;
    one.truncate_after(Some(id(1, 10))).await.expect("truncates");
    one.purge(id(1, 10)).await.expect("purges");
    drop((one, two, engine));
    let engine = open(dir.path()).expect("opens again");
    let (one, mut two) = (engine.log_store(1).expect("whole"), engine.log_store(2).expect("whole"));
    assert_eq!(one.last_index(), Some(10));
    assert_eq!(two.try_get_log_entries(..).await.expect("reads").len(), 20);
}

#[tokio::test]
async fn a_copy_holds_what_was_written_and_goes_its_own_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = open(&dir.path().join("one")).expect("opens");
    let mut log = engine.log_store(0).expect("empty");
    append(&mut log, (1..=20).map(|n| entry(1, n)).collect()).await;
    engine.copy_to(&dir.path().join("two")).expect("copied");
    let copy = open(&dir.path().join("two")).expect("opens while the other is open");
    let mut copied = copy.log_store(0).expect("whole");
    assert_eq!(copied.try_get_log_entries(..).await.expect("reads").len(), 20);
    append(&mut copied, vec![entry(1, 21)]).await;
    drop((log, engine));
    let engine = open(&dir.path().join("one")).expect("opens again");
    assert_eq!(engine.log_store(0).expect("whole").last_index(), Some(20));
    assert_eq!(copied.last_index(), Some(21));
}

/// Whoever waits learns of the failure, the hook runs once, and nothing is taken any more.
#[tokio::test]
async fn a_poisoned_engine_takes_and_promises_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let (sender, hook) = std::sync::mpsc::channel();
    let options =
        EngineOptions { on_poison: Box::new(move |message| sender.send(message.to_owned()).expect("heard")), ..EngineOptions::default() };
    let engine = Engine::open(dir.path(), options).expect("opens");
    let mut log = engine.log_store(0).expect("an empty log");
    append(&mut log, vec![entry(1, 1)]).await;
    engine.poison("a disk that lies");
    engine.poison("again");
    engine.sync_blocking().expect_err("nothing is durable from here on");
    let (done, callback) = <TypeConfig as TypeConfigExt>::oneshot();
    log.append(vec![entry(1, 2)], IOFlushed::signal(done)).await.expect_err("is not taken");
    assert!(!matches!(callback.await, Ok(Ok(()))), "is not called durable");
    let heard: Vec<String> = hook.try_iter().collect();
    assert!(heard.len() == 1 && heard[0].contains("a disk that lies"), "{heard:?}");
}
