//! A disk in memory, for simulation: what was not synced is gone when the power is.
//!
//! It keeps RocksDB's promises to [`super::Engine`] and no more: batches are atomic, readable at once, durable in the
//! order they were written, and after a power loss some first part of them is there. Syncing takes time, which is the
//! runtime's; one sync at a time covers whoever waits.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Waiter, poisoned};

/// A sync of a disk that nobody made slow.
const SYNC: Duration = Duration::from_millis(2);

type Tables = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

pub(crate) enum Change {
    Put(&'static str, Vec<u8>, Vec<u8>),
    Delete(&'static str, Vec<u8>),
    DeleteRange(&'static str, Vec<u8>, Vec<u8>),
}

/// The disks of one machine by name; they outlive the processes that use them.
#[derive(Clone, Default)]
pub struct MemoryDisks(Arc<Mutex<BTreeMap<String, MemoryDisk>>>);

impl MemoryDisks {
    pub fn disk(&self, name: &str) -> MemoryDisk {
        self.0.lock().entry(name.to_owned()).or_default().clone()
    }

    pub fn all(&self) -> Vec<MemoryDisk> {
        self.0.lock().values().cloned().collect()
    }
}

/// One disk. Clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    /// What a reader sees.
    current: Tables,
    /// What is left when the power goes.
    durable: Tables,
    unsynced: VecDeque<Vec<Change>>,
    /// Batches written in all.
    written: u64,
    /// Counts power losses: who opened the disk before one has no access any more.
    life: u64,
    waiters: Vec<Waiter>,
    syncing: bool,
    slower: Duration,
    lying: bool,
}

impl MemoryDisk {
    /// Whoever uses the disk now never reaches it again. Of the batches that were not synced the first `kept` survive.
    pub fn power_off(&self, kept: usize) {
        let waiters = {
            let mut platter = self.0.lock();
            let kept = (platter.written - platter.unsynced.len() as u64).saturating_add(kept as u64);
            platter.harden(kept);
            platter.unsynced.clear();
            platter.written = platter.written.min(kept);
            platter.current = platter.durable.clone();
            platter.life += 1;
            platter.syncing = false;
            std::mem::take(&mut platter.waiters)
        };
        waiters.into_iter().for_each(|waiter| waiter.complete(Err(gone())));
    }

    /// Batches that a power loss would take.
    pub fn unsynced(&self) -> usize {
        self.0.lock().unsynced.len()
    }

    /// Every sync from now on takes so much longer.
    pub fn slow(&self, by: Duration) {
        self.0.lock().slower = by;
    }

    /// From now on syncs say they are done and do nothing.
    pub fn lie(&self) {
        self.0.lock().lying = true;
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().current.values().all(BTreeMap::is_empty)
    }

    pub(super) fn plug_in(&self) -> Plugged {
        Plugged { life: self.0.lock().life, disk: self.clone() }
    }
}

impl Platter {
    /// The first `through` batches ever written are durable.
    fn harden(&mut self, through: u64) {
        while self.written - (self.unsynced.len() as u64) < through
            && let Some(batch) = self.unsynced.pop_front()
        {
            batch.into_iter().for_each(|change| apply(&mut self.durable, change));
        }
    }
}

fn apply(tables: &mut Tables, change: Change) {
    match change {
        Change::Put(family, key, value) => drop(tables.entry(family).or_default().insert(key, value)),
        Change::Delete(family, key) => drop(tables.entry(family).or_default().remove(&key)),
        Change::DeleteRange(family, from, to) => {
            let table = tables.entry(family).or_default();
            let keys: Vec<Vec<u8>> = table.range(from..to).map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| drop(table.remove(key)));
        }
    }
}

/// A disk as one process sees it.
pub(super) struct Plugged {
    disk: MemoryDisk,
    life: u64,
}

impl Plugged {
    fn platter(&self) -> io::Result<parking_lot::MutexGuard<'_, Platter>> {
        let platter = self.disk.0.lock();
        if platter.life == self.life { Ok(platter) } else { Err(gone()) }
    }

    pub(super) fn write(&self, batch: Vec<Change>) -> io::Result<()> {
        let mut platter = self.platter()?;
        for change in &batch {
            let change = match change {
                Change::Put(family, key, value) => Change::Put(family, key.clone(), value.clone()),
                Change::Delete(family, key) => Change::Delete(family, key.clone()),
                Change::DeleteRange(family, from, to) => Change::DeleteRange(family, from.clone(), to.clone()),
            };
            apply(&mut platter.current, change);
        }
        platter.unsynced.push_back(batch);
        platter.written += 1;
        Ok(())
    }

    pub(super) fn get(&self, family: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.platter()?.current.get(family).and_then(|table| table.get(key)).cloned())
    }

    /// What lies in `from..to` now; the caller may write while it looks.
    pub(super) fn range(&self, family: &str, from: &[u8], to: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let platter = self.platter()?;
        let Some(table) = platter.current.get(family).filter(|_| from < to) else { return Ok(Vec::new()) };
        Ok(table.range(from.to_vec()..to.to_vec()).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    pub(super) fn queue(&self, waiter: Waiter) {
        let mut platter = match self.platter() {
            Ok(platter) => platter,
            Err(error) => return waiter.complete(Err(error)),
        };
        platter.waiters.push(waiter);
        if !std::mem::replace(&mut platter.syncing, true) {
            tokio::spawn(sync(self.disk.clone(), self.life));
        }
    }

    /// For those who cannot wait on the runtime: durable at once.
    pub(super) fn sync_now(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        let through = platter.written;
        platter.harden(through);
        Ok(())
    }
}

async fn sync(disk: MemoryDisk, life: u64) {
    loop {
        let (waiters, covered, takes) = {
            let mut platter = disk.0.lock();
            if platter.life != life {
                return;
            }
            if platter.waiters.is_empty() {
                platter.syncing = false;
                return;
            }
            (std::mem::take(&mut platter.waiters), platter.written, SYNC + platter.slower)
        };
        tokio::time::sleep(takes).await;
        let done = {
            let mut platter = disk.0.lock();
            let here = platter.life == life;
            if here && !platter.lying {
                platter.harden(covered);
            }
            here
        };
        waiters.into_iter().for_each(|waiter| waiter.complete(if done { Ok(()) } else { Err(poisoned()) }));
    }
}

fn gone() -> io::Error {
    io::Error::other("the disk lost its power")
}
