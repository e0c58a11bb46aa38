//! A flipped bit in any file is found when the engine opens, or lies where nothing is served from.

use std::fs;
use std::path::{Path, PathBuf};

use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;
use raft_store::StateMachine;
use raft_store::format::VoteMessage;

use crate::ledger::Ledger;
use crate::restart::{append, apply, entry, open};

const FLIPS: usize = 120;

/// RocksDB's own diary and option dump; its identity and lock carry nothing.
fn carries_data(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    !(name.starts_with("LOG") || name.starts_with("OPTIONS") || matches!(name, "LOCK" | "IDENTITY"))
}

fn copy(from: &Path, to: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(to).expect("a folder");
    let mut files = Vec::new();
    for file in fs::read_dir(from).expect("reads").map(|f| f.expect("an entry").path()) {
        let target = to.join(file.file_name().expect("a name"));
        fs::copy(&file, &target).expect("copies");
        files.push(target);
    }
    files.sort();
    files
}

/// What a node would serve from this folder.
fn served(dir: &Path) -> Result<(usize, usize, [u8; 32]), String> {
    let engine = open(dir).map_err(|e| e.to_string())?;
    let mut log = engine.log_store(0).map_err(|e| e.to_string())?;
    let state = StateMachine::open(&engine, 0, Ledger::default()).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entries = runtime.block_on(log.try_get_log_entries(..)).map_err(|e| e.to_string())?;
    let vote = runtime.block_on(log.read_vote()).map_err(|e| e.to_string())?;
    if vote != Some(VoteMessage { term: 2, node: 1, committed: true }.into()) {
        return Err("served another vote".into());
    }
    let whole = entries.iter().zip(1..).all(|(found, n)| *found == entry(1, n));
    assert!(whole, "a changed entry was served");
    let size = state.leaves().size();
    Ok((entries.len(), state.machine().rows.len(), state.leaves().root_at(size).map_err(|e| e.to_string())?))
}

fn sweep(original: &Path) {
    let expected = served(original).expect("undamaged");
    let scratch = tempfile::tempdir().expect("a folder");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let (mut detected, mut harmless) = (0, 0);
    for flip in 0..FLIPS {
        let dir = scratch.path().join(flip.to_string());
        let files: Vec<PathBuf> =
            copy(original, &dir).into_iter().filter(|f| carries_data(f) && fs::metadata(f).expect("a file").len() > 0).collect();
        let file = &files[flip % files.len()];
        let mut bytes = fs::read(file).expect("reads");
        let at = usize::try_from(random(bytes.len() as u64)).expect("fits");
        bytes[at] ^= 1 << random(8);
        fs::write(file, bytes).expect("writes");
        match served(&dir) {
            Err(_) => detected += 1,
            Ok(found) => {
                assert_eq!(found, expected, "{} at {at} changed what is served", file.display());
                harmless += 1;
            }
        }
        fs::remove_dir_all(&dir).expect("removes");
    }
    // Padding and unread footers are the only harmless places.
    println!("{detected} of {FLIPS} flips detected at start, {harmless} changed nothing");
    assert!(detected * 10 >= FLIPS * 7, "{detected} of {FLIPS} were detected");
}

async fn fill(dir: &Path) {
    let engine = open(dir).expect("opens");
    let mut log = engine.log_store(0).expect("an empty log");
    let mut state = StateMachine::open(&engine, 0, Ledger::default()).expect("an empty state");
    log.save_vote(&VoteMessage { term: 2, node: 1, committed: true }.into()).await.expect("durable");
    for round in 0..40 {
        let entries: Vec<_> = (round * 10 + 1..=round * 10 + 10).map(|n| entry(1, n)).collect();
        append(&mut log, entries.clone()).await;
        apply(&mut state, entries).await;
    }
    engine.sync_blocking().expect("syncs");
}

/// Everything lies in the write-ahead log.
#[tokio::test]
async fn a_flipped_bit_in_the_write_ahead_log_is_found_at_start() {
    let dir = tempfile::tempdir().expect("a folder");
    fill(dir.path()).await;
    let original = dir.path().to_owned();
    tokio::task::spawn_blocking(move || sweep(&original)).await.expect("the sweep holds");
}
