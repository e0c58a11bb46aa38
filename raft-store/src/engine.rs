//! One RocksDB: one WAL, one sync thread, one fate.
//!
//! Writes go to the WAL unsynced and are readable at once; whoever needs them durable queues a [`Waiter`]. The sync
//! thread drains the queue, syncs the WAL once for all of them, and completes them in the order they came. When a sync
//! fails nobody can know what is on disk: every waiter gets the error, the engine is poisoned for good, and the
//! `on_disk_failure` hook (by default `on_poison`: the process ends) runs. A sync is never retried.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use openraft::storage::IOFlushed;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, DB, DBRecoveryMode, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};
use tokio::sync::oneshot;

use crate::columns;
use crate::types::TypeConfig;

mod floor;
mod manifest;

pub use floor::FloorError;

/// Version of the folder's layout; in the file `VERSION`.
pub const LAYOUT: u32 = 1;

/// Exit status of a process whose storage failed. Nothing after it may be trusted.
pub const EXIT_STORAGE_FAILED: i32 = 74;

/// Bytes of a memtable: control is small, audit is not.
const MEMTABLE_SMALL: usize = 8 << 20;
const MEMTABLE_LARGE: usize = 64 << 20;

type PoisonHook = Box<dyn Fn(&str) + Send + Sync>;

pub struct EngineOptions {
    /// For what is written much: larger buffers.
    pub large: bool,
    /// Called once when the engine fails: its disk, or this replica found itself different from the others.
    pub on_poison: PoisonHook,
    /// Called instead when a write or sync failed, where an engine's loss is not the process's.
    pub on_disk_failure: Option<PoisonHook>,
    /// Raises the sync thread's priority where the process may.
    pub sync_nice: i32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions { large: false, on_poison: Box::new(stop_process), on_disk_failure: None, sync_nice: -10 }
    }
}

fn stop_process(message: &str) {
    tracing::error!(message, "storage failed; the process ends");
    eprintln!("assize: storage failed: {message}");
    std::process::exit(EXIT_STORAGE_FAILED);
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: data of layout {found}; this release knows layout {LAYOUT} and touches no other")]
    UnknownLayout { path: PathBuf, found: String },
    #[error("{path}: damaged: {message}")]
    Damaged { path: PathBuf, message: String },
    #[error("{path}: {message}")]
    Unusable { path: PathBuf, message: String },
}

/// Handle to an open engine; the engine closes when the last one goes.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    syncer: Arc<Syncer>,
}

/// The sync thread. Ends, and has let go of the database, when the last handle goes.
struct Syncer {
    queue: Option<mpsc::Sender<Waiter>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Shared {
    db: DB,
    dir: PathBuf,
    floor: floor::Floor,
    poisoned: AtomicBool,
    on_poison: PoisonHook,
    on_disk_failure: Option<PoisonHook>,
}

/// Somebody who waits until all that was written before it queued is durable.
pub(crate) enum Waiter {
    Append(IOFlushed<TypeConfig>),
    One(oneshot::Sender<io::Result<()>>),
    Blocking(mpsc::Sender<io::Result<()>>),
}

impl Waiter {
    fn complete(self, result: io::Result<()>) {
        match self {
            Waiter::Append(flushed) => flushed.io_completed(result),
            // The asker may have gone; then nobody needs to know.
            Waiter::One(sender) => drop(sender.send(result)),
            Waiter::Blocking(sender) => drop(sender.send(result)),
        }
    }
}

impl Engine {
    /// Opens the engine in `dir`, which is made if it is not there. Reads everything once, so that damage is found now
    /// and not when it is needed.
    ///
    /// # Errors
    /// When the layout is unknown, another process has it open, or anything in it is damaged.
    pub fn open(dir: &Path, options: EngineOptions) -> Result<Engine, OpenError> {
        std::fs::create_dir_all(dir).map_err(|source| OpenError::Io { path: dir.into(), source })?;
        check_layout(dir)?;
        let damaged = |message: String| OpenError::Damaged { path: dir.into(), message };
        let unusable = |error: rocksdb::Error| match error.kind() {
            rocksdb::ErrorKind::IOError if error.as_ref().contains("lock") => {
                OpenError::Unusable { path: dir.into(), message: format!("in use by another process ({error})") }
            }
            _ => damaged(error.to_string()),
        };
        let floor = floor::Floor::open(dir).map_err(|e| damaged(e.to_string()))?;
        manifest::check(dir).map_err(|e| damaged(e.to_string()))?;
        let mut database = database_options();
        // A family that is missing where something was durable has been lost; it is not begun anew.
        database.create_missing_column_families(floor.value() == 0);
        let db = DB::open_cf_descriptors(&database, dir, families(options.large)).map_err(unusable)?;
        let recovered = db.latest_sequence_number();
        if recovered < floor.value() {
            return Err(damaged(format!(
                "the log ends at write {recovered}, but write {} had been made durable: something after it is lost",
                floor.value()
            )));
        }
        read_everything(&db).map_err(|e| damaged(e.to_string()))?;
        let EngineOptions { on_poison, on_disk_failure, .. } = options;
        let shared = Arc::new(Shared { db, dir: dir.into(), floor, poisoned: AtomicBool::new(false), on_poison, on_disk_failure });
        let (sender, queue) = mpsc::channel();
        let synced = shared.clone();
        let thread = thread::Builder::new()
            .name("assize-sync".into())
            .spawn(move || {
                raise_priority(options.sync_nice);
                sync_loop(&synced, &queue);
            })
            .map_err(|source| OpenError::Io { path: dir.into(), source })?;
        Ok(Engine { shared, syncer: Arc::new(Syncer { queue: Some(sender), thread: Some(thread) }) })
    }

    /// A copy of everything written so far, in a folder that does not exist yet, on the same file system: table files
    /// are shared with this engine by hard links, and neither sees what is written to the other later.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn copy_to(&self, dir: &Path) -> io::Result<()> {
        let covered = self.shared.db.latest_sequence_number();
        let copied = Checkpoint::new(&self.shared.db).and_then(|checkpoint| checkpoint.create_checkpoint(dir));
        copied.map_err(io::Error::other)?;
        floor::Floor::note(dir, covered)?;
        std::fs::copy(self.shared.dir.join("VERSION"), dir.join("VERSION")).map(drop)
    }

    pub(crate) fn db(&self) -> &DB {
        &self.shared.db
    }

    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub(crate) fn family(&self, name: &str) -> &rocksdb::ColumnFamily {
        self.shared.db.cf_handle(name).expect("all families are opened together")
    }

    /// Writes to the WAL, unsynced.
    pub(crate) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.check()?;
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.shared.db.write_opt(batch, &options).map_err(|error| {
            self.shared.disk_failed(&format!("a write failed: {error}"));
            io::Error::other(error)
        })
    }

    pub(crate) fn queue(&self, waiter: Waiter) {
        let queue = self.syncer.queue.as_ref().expect("the queue is there while a handle is");
        if let Err(mpsc::SendError(waiter)) = queue.send(waiter) {
            waiter.complete(Err(poisoned()));
        }
    }

    /// Everything written so far is durable when this returns.
    pub(crate) async fn synced(&self) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.queue(Waiter::One(sender));
        receiver.await.unwrap_or_else(|_| Err(poisoned()))
    }

    /// As [`Engine::synced`], for threads that may wait.
    ///
    /// # Errors
    /// When the sync failed, now or before.
    pub fn sync_blocking(&self) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel();
        self.queue(Waiter::Blocking(sender));
        receiver.recv().unwrap_or_else(|_| Err(poisoned()))
    }

    fn check(&self) -> io::Result<()> {
        if self.shared.poisoned.load(Ordering::Acquire) { Err(poisoned()) } else { Ok(()) }
    }

    /// Declares this engine unusable and runs the hook. For what must stop a replica: a state that differs from the others'.
    pub fn poison(&self, message: &str) {
        self.shared.poison(message);
    }
}

impl Shared {
    fn poison(&self, message: &str) {
        self.poison_and(&self.on_poison, message);
    }

    fn disk_failed(&self, message: &str) {
        self.poison_and(self.on_disk_failure.as_ref().unwrap_or(&self.on_poison), message);
    }

    fn poison_and(&self, hook: &PoisonHook, message: &str) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            hook(&format!("{}: {message}", self.dir.display()));
        }
    }
}

fn poisoned() -> io::Error {
    io::Error::other("this storage engine failed before and takes nothing more")
}

fn sync_loop(shared: &Shared, queue: &mpsc::Receiver<Waiter>) {
    while let Ok(first) = queue.recv() {
        let mut waiters = vec![first];
        waiters.extend(queue.try_iter());
        match sync(shared) {
            Ok(()) => waiters.into_iter().for_each(|w| w.complete(Ok(()))),
            Err(message) => {
                waiters.into_iter().for_each(|w| w.complete(Err(io::Error::other(message.clone()))));
                shared.disk_failed(&format!("a sync failed: {message}"));
            }
        }
    }
    // The engine closes. Nobody waits any more; the floor then covers all that was written.
    if let Err(message) = sync(shared) {
        tracing::warn!(message, "the last writes before closing may not be durable");
    }
}

fn sync(shared: &Shared) -> Result<(), String> {
    if shared.poisoned.load(Ordering::Acquire) {
        return Err(poisoned().to_string());
    }
    // Read before the sync: all of it is covered by it.
    let covered = shared.db.latest_sequence_number();
    shared.db.flush_wal(true).map_err(|e| e.to_string())?;
    if let Err(error) = shared.floor.raise(covered) {
        tracing::warn!(%error, "the durable floor could not be noted");
    }
    Ok(())
}

fn raise_priority(nice: i32) {
    // Not permitted for everybody; the thread then keeps the ordinary priority.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "the sync thread keeps its priority");
    }
}

fn check_layout(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("VERSION");
    let expected = format!("assize layout {LAYOUT}\n");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(OpenError::UnknownLayout { path, found: found.trim().chars().take(64).collect() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.join("CURRENT").exists() {
                return Err(OpenError::Damaged { path, message: "missing beside existing data".into() });
            }
            // Renamed into place when whole: a crash here must not leave a folder that no start understands.
            let write = || {
                let whole = dir.join("VERSION.tmp");
                std::fs::write(&whole, &expected)?;
                std::fs::File::open(&whole)?.sync_all()?;
                std::fs::rename(&whole, &path)?;
                std::fs::File::open(dir)?.sync_all()
            };
            write().map_err(|source| OpenError::Io { path: path.clone(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(OpenError::UnknownLayout { path, found: "no text".into() }),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    // A torn tail that was never made durable may go; damage elsewhere refuses to open. What the tail must not lose is
    // kept by the floor.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(512 << 20);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_open_files(-1);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options
}

fn families(large: bool) -> Vec<ColumnFamilyDescriptor> {
    let memtable = if large { MEMTABLE_LARGE } else { MEMTABLE_SMALL };
    let options_of = |name: &str| {
        let mut options = Options::default();
        let mut table = BlockBasedOptions::default();
        table.set_block_size(16 << 10);
        match name {
            columns::LOG => {
                // Entries purged before a flush then never reach a table file.
                options.set_min_write_buffer_number_to_merge(2);
                options.set_max_write_buffer_number(4);
            }
            columns::LEAVES => options.set_compression_type(rocksdb::DBCompressionType::Lz4),
            columns::HASHES => table.set_bloom_filter(10.0, false),
            _ => {}
        }
        options.set_write_buffer_size(memtable);
        options.set_block_based_table_factory(&table);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    };
    columns::ALL.iter().map(|name| ColumnFamilyDescriptor::new(*name, options_of(name))).collect()
}

/// Reads every block of every family with its checksum.
fn read_everything(db: &DB) -> Result<(), rocksdb::Error> {
    for name in columns::ALL {
        let family = db.cf_handle(name).expect("all families are opened together");
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.fill_cache(false);
        for item in db.iterator_cf_opt(family, options, IteratorMode::Start) {
            item?;
        }
    }
    Ok(())
}
