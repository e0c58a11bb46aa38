//! A flipped bit in any file is found when the engine opens, or lies where nothing is served from.

use std::fs;
use std::path::{Path, PathBuf};

use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;
use raft_store::StateMachine;
use raft_store::format::VoteMessage;

use crate::ledger::Ledger;
use crate::restart::{append, apply, entry, open};

/// Flips at random places of the large files; of the small ones every byte is tried.
const FLIPS: usize = 120;
const SMALL: usize = 64;

/// RocksDB's own diary and option dump; its identity and lock carry nothing.
fn carries_data(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    !(name.starts_with("LOG") || name.starts_with("OPTIONS") || matches!(name, "LOCK" | "IDENTITY"))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Vec<PathBuf> {
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

/// What a node would serve from this folder: entries, rows, leaves and their root.
#[derive(Debug, PartialEq)]
struct Served {
    entries: usize,
    rows: usize,
    leaves: u64,
    root: [u8; 32],
}

fn served(dir: &Path) -> Result<Served, String> {
    let engine = open(dir).map_err(|e| e.to_string())?;
    let mut log = engine.log_store(0).map_err(|e| e.to_string())?;
    let state = StateMachine::open(&engine, 0, Ledger::default()).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entries = runtime.block_on(log.try_get_log_entries(..)).map_err(|e| e.to_string())?;
    let vote = runtime.block_on(log.read_vote()).map_err(|e| e.to_string())?;
    assert_eq!(vote, Some(VoteMessage { term: 2, node: 1, committed: true }.into()), "a changed vote was served");
    let whole = entries.iter().zip(1..).all(|(found, n)| *found == entry(1, n));
    assert!(whole, "a changed entry was served");
    let leaves = state.leaves().size();
    let root = state.leaves().root_at(leaves).map_err(|e| e.to_string())?;
    Ok(Served { entries: entries.len(), rows: state.machine().rows.len(), leaves, root })
}

struct Sweep<'a> {
    original: &'a Path,
    scratch: tempfile::TempDir,
    expected: Served,
    tried: usize,
    harmless: Vec<String>,
}

impl Sweep<'_> {
    /// The original is only ever copied: opening it would move what lies in its write-ahead log into tables.
    fn of(original: &Path) -> Sweep<'_> {
        let scratch = tempfile::tempdir().expect("a folder");
        let undamaged = scratch.path().join("undamaged");
        copy(original, &undamaged);
        let expected = served(&undamaged).expect("a copy without damage opens");
        assert_eq!((expected.entries, expected.rows, expected.leaves), (400, 400, 400));
        Sweep { original, scratch, expected, tried: 0, harmless: Vec::new() }
    }

    fn files(&self) -> Vec<(String, usize)> {
        let mut files: Vec<(String, usize)> = fs::read_dir(self.original)
            .expect("reads")
            .map(|f| f.expect("an entry").path())
            .filter(|f| carries_data(f))
            .map(|f| (f.file_name().expect("a name").to_string_lossy().into_owned(), fs::metadata(&f).expect("a file").len() as usize))
            .filter(|(_, length)| *length > 0)
            .collect();
        files.sort();
        files
    }

    fn flip(&mut self, name: &str, at: usize, bit: u32) {
        self.tried += 1;
        let dir = self.scratch.path().join(self.tried.to_string());
        copy(self.original, &dir);
        let file = dir.join(name);
        let mut bytes = fs::read(&file).expect("reads");
        bytes[at] ^= 1 << bit;
        fs::write(&file, bytes).expect("writes");
        if let Ok(found) = served(&dir) {
            assert_eq!(found, self.expected, "bit {bit} of byte {at} of {name} changed what is served");
            self.harmless.push(format!("{name}:{at}.{bit}"));
        }
        fs::remove_dir_all(&dir).expect("removes");
    }

    fn run(mut self) -> Self {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).expect("fits")
        };
        let (small, large): (Vec<_>, Vec<_>) = self.files().into_iter().partition(|(_, length)| *length <= SMALL);
        for (name, length) in small {
            for at in 0..length {
                self.flip(&name, at, u32::try_from(random(8)).expect("small"));
            }
        }
        for n in 0..FLIPS {
            let (name, length) = &large[n % large.len()];
            self.flip(name, random(*length), u32::try_from(random(8)).expect("small"));
        }
        self
    }

    /// # Panics
    /// Unless every flip was detected: no place of these files may change unseen.
    fn all_detected(self) {
        println!("{} flips, {} not detected: {:?}", self.tried, self.harmless.len(), self.harmless);
        assert!(self.harmless.is_empty(), "not detected: {:?}", self.harmless);
    }
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
}

/// Everything lies in the write-ahead log.
#[tokio::test]
async fn t013_every_flipped_bit_of_the_write_ahead_log_is_found_at_start() {
    let dir = tempfile::tempdir().expect("a folder");
    fill(dir.path()).await;
    let original = dir.path().to_owned();
    let sweep = move || {
        let sweep = Sweep::of(&original);
        let files = sweep.files();
        assert!(files.iter().any(|(name, length)| name.ends_with(".log") && *length > 10_000), "{files:?}");
        sweep.run().all_detected();
    };
    tokio::task::spawn_blocking(sweep).await.expect("the sweep holds");
}

/// Everything lies in tables: opening moved it there.
#[tokio::test]
async fn t013_every_flipped_bit_of_the_tables_is_found_at_start() {
    let dir = tempfile::tempdir().expect("a folder");
    fill(dir.path()).await;
    drop(open(dir.path()).expect("opens"));
    let original = dir.path().to_owned();
    let sweep = move || {
        let sweep = Sweep::of(&original);
        let files = sweep.files();
        assert!(files.iter().filter(|(name, _)| name.ends_with(".sst")).count() >= 5, "{files:?}");
        sweep.run().all_detected();
    };
    tokio::task::spawn_blocking(sweep).await.expect("the sweep holds");
}

/// A disk writes pages in any order: of what was never synced a later page may be there and an earlier one not.
#[tokio::test]
async fn what_was_never_synced_may_be_there_in_pieces() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = open(dir.path()).expect("opens");
    let mut log = engine.log_store(0).expect("an empty log");
    append(&mut log, (1..=50).map(|n| entry(1, n)).collect()).await;
    let (floor, (journal, synced)) = (fs::read(dir.path().join("FLOOR")).expect("reads"), journal(dir.path()));
    for n in 51..=150 {
        append(&mut log, vec![entry(1, n)]).await;
    }
    let (_, written) = self::journal(dir.path());
    let mut lengths = Vec::new();
    for part in 1..8 {
        let torn = tempfile::tempdir().expect("a folder");
        copy(dir.path(), torn.path());
        fs::write(torn.path().join("FLOOR"), &floor).expect("writes");
        let mut bytes = fs::read(torn.path().join(&journal)).expect("reads");
        let at = synced + (written - synced) * part / 8;
        bytes[at..at + 64].fill(0);
        fs::write(torn.path().join(&journal), bytes).expect("writes");
        let again = open(torn.path()).expect("opens with what was durable");
        let found = again.log_store(0).expect("a log").try_get_log_entries(..).await.expect("reads");
        assert!(found.iter().zip(1..).all(|(found, n)| *found == entry(1, n)), "a first part of what was written");
        assert!((50..150).contains(&found.len()), "{}", found.len());
        lengths.push(found.len());
    }
    assert!(lengths.is_sorted() && lengths[0] < lengths[6], "{lengths:?}");
}

/// The write-ahead log that is written, and its length.
fn journal(dir: &Path) -> (String, usize) {
    let logs = fs::read_dir(dir).expect("reads").map(|file| file.expect("an entry").path());
    let last = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().expect("a log");
    (last.file_name().expect("a name").to_string_lossy().into_owned(), fs::metadata(&last).expect("a file").len() as usize)
}

#[tokio::test]
async fn a_folder_that_lost_a_file_is_not_begun_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    fill(dir.path()).await;
    for lost in ["CURRENT", "FLOOR", "VERSION"] {
        let copied = tempfile::tempdir().expect("a folder");
        copy(dir.path(), copied.path());
        fs::remove_file(copied.path().join(lost)).expect("removes");
        let error = open(copied.path()).err().expect("refused").to_string();
        assert!(error.contains(lost) && error.contains("missing"), "{error}");
    }
}
