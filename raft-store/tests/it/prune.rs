//! Bodies that go: every replica comes to the same bytes, however it learned of it, and every proof holds.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use domain::audit::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use domain::audit::pruned;
use domain::audit::record::{Event, Header, LateSend, StatementText, encode};
use domain::id::{BootId, Index, NodeId};
use domain::retention::Runs;
use domain::time::LogTime;
use openraft::storage::RaftStateMachine as _;
use openraft::{EntryPayload, RaftSnapshotBuilder as _};
use raft_store::audit::AuditMachine;
use raft_store::format::{AuditKind, AuditMessage, PruneMessage, RecordBatch, encode_audit};
use raft_store::{Engine, Entry, Incoming, Payload, StateMachine};

use crate::restart::{id, open};

type Audit = StateMachine<AuditMachine>;

fn state(engine: &Engine) -> Audit {
    StateMachine::open(engine, 1, AuditMachine::new(Box::new(|_, _| None))).expect("the state is whole")
}

/// Every third record is a text of `size` bytes, the others are operations.
fn record(sequence: u64, size: usize) -> Bytes {
    let header =
        Header { node: NodeId(1), boot: BootId(7), sequence, control_index: Index(5), time: LogTime(sequence), session: None, run: None };
    // Text that no compression makes small: xorshift.
    let mut x = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    let part: Vec<u8> = (0..size).map(|_| noise()).collect();
    let text = StatementText { operation: 1, salt: &[7; 16], length: size as u64, offset: 0, part: &part };
    let event =
        if sequence.is_multiple_of(3) { Event::StatementText(text) } else { Event::LateSend(LateSend { operation: 1, late_us: 2 }) };
    encode(&header, &event).into()
}

fn entry(index: u64, kind: AuditKind) -> Entry {
    Entry { log_id: id(1, index), payload: EntryPayload::Normal(Payload(encode_audit(&AuditMessage { kind: Some(kind) }))) }
}

fn records(index: u64, first: u64, count: u64, size: usize) -> Entry {
    let records = (first..first + count).map(|sequence| record(sequence, size)).collect();
    entry(index, AuditKind::Records(RecordBatch { node: 1, boot: 7, first_sequence: first, records }))
}

/// Lets the texts among `leaves` go that are not younger than `before`.
fn prune(index: u64, plan: u64, leaves: std::ops::Range<u64>, before: u64) -> Entry {
    let mut runs = Runs::default();
    leaves.for_each(|leaf| runs.push(leaf));
    entry(index, AuditKind::Prune(PruneMessage { plan, class: "statements".into(), before, leaves: runs.as_pairs().to_vec() }))
}

async fn apply(state: &mut Audit, entries: Vec<Entry>) {
    let entries = entries.into_iter().map(|entry| Ok((entry, None)));
    state.apply(futures_util::stream::iter(entries)).await.expect("applies");
}

fn leaves(state: &Audit) -> Vec<Bytes> {
    let reader = state.leaves();
    (0..reader.size()).map(|n| reader.leaf(n).expect("reads").expect("is there")).collect()
}

fn gone(state: &Audit) -> Vec<u64> {
    (0..).zip(leaves(state)).filter(|(_, leaf)| pruned::read(leaf).is_some()).map(|(n, _)| n).collect()
}

#[tokio::test]
async fn every_proof_over_a_pruned_log_holds() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let engine = open(dir.path()).expect("opens");
    let mut state = state(&engine);
    apply(&mut state, vec![records(1, 1, 20, 300)]).await;
    let (reader, whole) = (state.leaves(), leaves(&state));
    let (old, root) = (reader.root_at(11).expect("a root"), reader.root_at(20).expect("a root"));
    // Of the leaves that the plan names, those of another class and the younger ones stay. In one batch with records.
    apply(&mut state, vec![records(2, 21, 4, 300), prune(3, 90, 0..24, 20)]).await;
    assert_eq!(gone(&state), [2, 5, 8, 11, 14, 17]);
    assert_eq!(reader.root_at(20).expect("a root"), root);
    for (number, body) in (0..).zip(&whole) {
        let path = reader.inclusion_proof(number, 20).expect("is proved");
        assert!(verify_inclusion(number, 20, &leaf_hash(body), &path, &root), "{number}");
        assert_eq!(pruned::stored_hash(&reader.leaf(number).expect("reads").expect("is there")), leaf_hash(body));
    }
    assert!(verify_consistency(11, 20, &old, &root, &reader.consistency_proof(11, 20).expect("is proved")));
    let before = leaves(&state);
    apply(&mut state, vec![prune(4, 90, 0..24, 20), prune(5, 91, 0..24, 20), prune(6, 92, 0..25, 20)]).await;
    assert_eq!(leaves(&state), before, "once more changes nothing; nor does a plan for leaves that are not there");
}

#[tokio::test]
async fn a_pruned_log_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let before = {
        let engine = open(dir.path()).expect("opens");
        let mut state = state(&engine);
        apply(&mut state, vec![records(1, 1, 20, 300), prune(2, 90, 0..20, 20)]).await;
        engine.sync_blocking().expect("syncs");
        leaves(&state)
    };
    let engine = open(dir.path()).expect("opens again");
    let mut state = state(&engine);
    assert_eq!(leaves(&state), before);
    apply(&mut state, vec![records(3, 21, 1, 300)]).await;
    assert_eq!(state.leaves().size(), 21);
}

/// One replica applied the plan, one got the whole log by snapshot, one had some of the leaves and missed the plan.
#[tokio::test]
async fn every_replica_holds_the_same_bytes_however_it_learned_of_the_plan() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let engines: Vec<Engine> = dirs.iter().map(|dir| open(dir.path()).expect("opens")).collect();
    let mut leader = state(&engines[0]);
    let all = || vec![records(1, 1, 20, 300), prune(2, 90, 0..20, 12), records(3, 21, 9, 300), prune(4, 91, 9..29, 29)];
    apply(&mut leader, all()).await;
    for (engine, dir, some) in [(&engines[1], &dirs[1], vec![]), (&engines[2], &dirs[2], vec![records(1, 1, 20, 300)])] {
        let mut follower = state(engine);
        apply(&mut follower, some).await;
        let snapshot = leader.get_snapshot_builder().await.build_snapshot().await.expect("builds");
        let mut incoming = Incoming::new(dir.path()).expect("spools");
        for frame in snapshot.snapshot.frames(follower.leaves().size()) {
            incoming.push(&frame.expect("reads")).expect("fits");
        }
        follower.install_snapshot(&snapshot.meta, incoming.finish().expect("is whole")).await.expect("installs");
        assert_eq!(leaves(&follower), leaves(&leader));
        assert_eq!(gone(&follower), [2, 5, 8, 11, 14, 17, 20, 23, 26]);
        // What comes once more, by the log, changes nothing.
        apply(&mut follower, vec![prune(5, 90, 0..20, 12)]).await;
        assert_eq!(leaves(&follower), leaves(&leader));
    }
}

fn bytes_of(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).expect("reads").map(|file| file.expect("an entry").path());
    files.filter(|file| file.extension().is_some_and(|e| e == "sst")).map(|file| fs::metadata(file).expect("a file").len()).sum()
}

#[tokio::test]
async fn the_space_of_bodies_is_given_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    {
        let engine = open(dir.path()).expect("opens");
        let batches = (0..30).map(|n| records(n + 1, n * 100 + 1, 100, 8 << 10)).collect();
        apply(&mut state(&engine), batches).await;
        engine.sync_blocking().expect("syncs");
    }
    // A start writes what was only in the write-ahead log to files.
    let engine = open(dir.path()).expect("opens again");
    let mut state = state(&engine);
    let reader = state.leaves();
    assert!(!reader.reclaim().expect("there is nothing to do"));
    let before = bytes_of(dir.path());
    let began = std::time::Instant::now();
    apply(&mut state, vec![prune(31, 90, 0..3000, 3000)]).await;
    let took = began.elapsed();
    assert!(reader.reclaim().expect("compacts"));
    let after = bytes_of(dir.path());
    eprintln!("1000 of 3000 bodies went in {took:?}; table files: {before} bytes before, {after} after");
    assert!(before > 7 << 20 && after < before / 8, "{before} bytes before, {after} after");
    assert_eq!(gone(&state).len(), 1000);
}
