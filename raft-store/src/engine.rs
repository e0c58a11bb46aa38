//! One engine: one RocksDB, one WAL, one sync thread, one fate.
//!
//! Writes go to the WAL unsynced and are readable at once; whoever needs them durable queues a [`Waiter`]. The sync
//! thread drains the queue, syncs the WAL once for all of them, and completes them in the order they came. When a sync
//! fails nobody can know what is on disk: every waiter gets the error, the engine is poisoned for good, and the
//! `on_disk_failure` hook (by default `on_poison`: the process ends) runs. A sync is never retried.
//!
//! Everything above speaks to it in the few verbs here, so that a simulation can put a [`MemoryDisk`] below.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use openraft::storage::IOFlushed;
use planted::{Bug, Point, planted, reach};
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use crate::types::TypeConfig;

mod floor;
mod manifest;
mod memory;
mod rocks;

pub use floor::FloorError;
pub use memory::{MemoryDisk, MemoryDisks};

/// Version of the folder's layout; in the file `VERSION`.
pub const LAYOUT: u32 = 1;

/// Exit status of a process whose storage failed. Nothing after it may be trusted.
pub const EXIT_STORAGE_FAILED: i32 = 74;

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
    /// Not for a disk in memory, which syncs on the runtime.
    syncer: Option<Arc<Syncer>>,
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
    medium: Medium,
    dir: PathBuf,
    poisoned: AtomicBool,
    on_poison: PoisonHook,
    on_disk_failure: Option<PoisonHook>,
}

enum Medium {
    Rocks(Box<rocks::Rocks>),
    Memory(memory::Plugged),
}

/// Changes that are made together or not at all; filled through the engine they are for.
pub(crate) enum Batch {
    Rocks(WriteBatch),
    Memory(Vec<memory::Change>),
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
        let rocks = rocks::Rocks::open(dir, options.large)?;
        let nice = options.sync_nice;
        let shared = shared(Medium::Rocks(Box::new(rocks)), dir, options);
        let (sender, queue) = mpsc::channel();
        let synced = shared.clone();
        let thread = thread::Builder::new()
            .name("assize-sync".into())
            .spawn(move || {
                raise_priority(nice);
                sync_loop(&synced, &queue);
            })
            .map_err(|source| OpenError::Io { path: dir.into(), source })?;
        Ok(Engine { shared, syncer: Some(Arc::new(Syncer { queue: Some(sender), thread: Some(thread) })) })
    }

    /// The same on a disk in memory. Must be used inside a tokio runtime.
    pub fn open_in_memory(disk: &MemoryDisk, name: &str, options: EngineOptions) -> Engine {
        Engine { shared: shared(Medium::Memory(disk.plug_in()), Path::new(name), options), syncer: None }
    }

    /// A copy of everything written so far, in a folder that does not exist yet, on the same file system: table files
    /// are shared with this engine by hard links, and neither sees what is written to the other later.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn copy_to(&self, dir: &Path) -> io::Result<()> {
        match &self.shared.medium {
            Medium::Rocks(rocks) => rocks.copy_to(dir),
            Medium::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn batch(&self) -> Batch {
        match &self.shared.medium {
            Medium::Rocks(_) => Batch::Rocks(WriteBatch::default()),
            Medium::Memory(_) => Batch::Memory(Vec::new()),
        }
    }

    pub(crate) fn put(&self, batch: &mut Batch, family: &'static str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        match (&self.shared.medium, batch) {
            (Medium::Rocks(rocks), Batch::Rocks(batch)) => batch.put_cf(rocks.family(family), key, value),
            (_, Batch::Memory(batch)) => batch.push(memory::Change::Put(family, key.as_ref().into(), value.as_ref().into())),
            (Medium::Memory(_), Batch::Rocks(_)) => unreachable!("a batch is for the engine that made it"),
        }
    }

    pub(crate) fn delete(&self, batch: &mut Batch, family: &'static str, key: impl AsRef<[u8]>) {
        match (&self.shared.medium, batch) {
            (Medium::Rocks(rocks), Batch::Rocks(batch)) => batch.delete_cf(rocks.family(family), key),
            (_, Batch::Memory(batch)) => batch.push(memory::Change::Delete(family, key.as_ref().into())),
            (Medium::Memory(_), Batch::Rocks(_)) => unreachable!("a batch is for the engine that made it"),
        }
    }

    /// Deletes the keys in `from..to`.
    pub(crate) fn delete_range(&self, batch: &mut Batch, family: &'static str, from: &[u8], to: &[u8]) {
        match (&self.shared.medium, batch) {
            (Medium::Rocks(rocks), Batch::Rocks(batch)) => batch.delete_range_cf(rocks.family(family), from.to_vec(), to.to_vec()),
            (_, Batch::Memory(batch)) => batch.push(memory::Change::DeleteRange(family, from.into(), to.into())),
            (Medium::Memory(_), Batch::Rocks(_)) => unreachable!("a batch is for the engine that made it"),
        }
    }

    /// Writes to the WAL, unsynced.
    pub(crate) fn write(&self, batch: Batch) -> io::Result<()> {
        self.check()?;
        let written = match (&self.shared.medium, batch) {
            (Medium::Rocks(rocks), Batch::Rocks(batch)) => rocks.write(batch),
            (Medium::Memory(disk), Batch::Memory(batch)) => disk.write(batch),
            _ => unreachable!("a batch is for the engine that made it"),
        };
        written.inspect_err(|error| self.shared.disk_failed(&format!("a write failed: {error}")))
    }

    pub(crate) fn get(&self, family: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match &self.shared.medium {
            Medium::Rocks(rocks) => rocks.get(family, key),
            Medium::Memory(disk) => disk.get(family, key),
        }
    }

    /// Shows what lies in `from..to`, in key order, until `see` says `false`.
    pub(crate) fn scan(
        &self,
        family: &str,
        from: &[u8],
        to: &[u8],
        mut see: impl FnMut(&[u8], Vec<u8>) -> io::Result<bool>,
    ) -> io::Result<()> {
        match &self.shared.medium {
            Medium::Rocks(rocks) => rocks.scan(family, from, to, see),
            Medium::Memory(disk) => {
                for (key, value) in disk.range(family, from, to)? {
                    if !see(&key, value)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Gives the space of files back that hold nothing but keys in `from..to`, which were deleted.
    pub(crate) fn drop_files(&self, family: &str, from: &[u8], to: &[u8]) -> io::Result<()> {
        match &self.shared.medium {
            Medium::Rocks(rocks) => rocks.drop_files(family, from, to),
            Medium::Memory(_) => Ok(()),
        }
    }

    /// Rewrites the files that hold keys in `from..to`, so that what was overwritten or deleted there is gone.
    pub(crate) fn compact(&self, family: &str, from: &[u8], to: &[u8]) -> io::Result<()> {
        match &self.shared.medium {
            Medium::Rocks(rocks) => rocks.compact(family, from, to),
            Medium::Memory(_) => Ok(()),
        }
    }

    pub(crate) fn queue(&self, waiter: Waiter) {
        if planted(Bug::SyncSkipped) {
            return waiter.complete(Ok(()));
        }
        if let Medium::Memory(disk) = &self.shared.medium {
            return disk.queue(waiter);
        }
        let queue = self.syncer.as_ref().and_then(|syncer| syncer.queue.as_ref()).expect("the queue is there while a handle is");
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
        if let Medium::Memory(disk) = &self.shared.medium {
            return disk.sync_now();
        }
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

fn shared(medium: Medium, dir: &Path, options: EngineOptions) -> Arc<Shared> {
    let EngineOptions { on_poison, on_disk_failure, .. } = options;
    Arc::new(Shared { medium, dir: dir.into(), poisoned: AtomicBool::new(false), on_poison, on_disk_failure })
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
        reach(Point::WalBeforeSync);
        match sync(shared) {
            Ok(()) => {
                reach(Point::WalSynced);
                waiters.into_iter().for_each(|w| w.complete(Ok(())));
                reach(Point::WaitersTold);
            }
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
    match &shared.medium {
        Medium::Rocks(rocks) => rocks.sync(),
        Medium::Memory(disk) => disk.sync_now().map_err(|e| e.to_string()),
    }
}

fn raise_priority(nice: i32) {
    // Not permitted for everybody; the thread then keeps the ordinary priority.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "the sync thread keeps its priority");
    }
}
