//! Reading one group's Merkle log: leaves, roots, proofs. A leaf never changes but that its body goes
//! ([`domain::audit::pruned`]), and its hash not even then, so reading needs no lock.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use domain::audit::merkle::{self, Hash};
use parking_lot::Mutex;

use crate::columns::{self, Group};
use crate::engine::Engine;

/// Cheap to clone; sees leaves as they are applied.
#[derive(Clone)]
pub struct LeafReader {
    engine: Engine,
    group: Group,
    size: Arc<AtomicU64>,
    /// Where bodies went since their space was given back last.
    emptied: Arc<Mutex<Option<Range<u64>>>>,
}

impl LeafReader {
    pub(crate) fn new(engine: Engine, group: Group, size: u64) -> Self {
        LeafReader { engine, group, size: Arc::new(AtomicU64::new(size)), emptied: Arc::default() }
    }

    pub(crate) fn grown(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    pub(crate) fn emptied(&self, leaves: Range<u64>) {
        let mut emptied = self.emptied.lock();
        *emptied = Some(match emptied.take() {
            Some(known) => known.start.min(leaves.start)..known.end.max(leaves.end),
            None => leaves,
        });
    }

    /// Gives the space of bodies back to the disk that went since this was called last: until then they lie in files
    /// beside what stands for them now. `false` when there were none. Reads and writes those files anew, so it takes a
    /// while: never where a commit waits.
    ///
    /// # Errors
    /// When the store fails.
    pub fn reclaim(&self) -> io::Result<bool> {
        let Some(leaves) = self.emptied.lock().take() else { return Ok(false) };
        let (from, to) = (columns::numbered(self.group, leaves.start), columns::numbered(self.group, leaves.end));
        self.engine.compact(columns::LEAVES, &from, &to)?;
        Ok(true)
    }

    /// Applied leaves.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Leaf `index`; `None` beyond the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn leaf(&self, index: u64) -> io::Result<Option<Bytes>> {
        if index >= self.size() {
            return Ok(None);
        }
        let key = columns::numbered(self.group, index);
        let value = self.engine.get(columns::LEAVES, &key)?;
        value.map(|v| Some(Bytes::from(v))).ok_or_else(|| missing("leaf", index))
    }

    /// The leaves of `range` that there are, until about `bytes_max` bytes; at least one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn leaves(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Bytes>> {
        let end = range.end.min(self.size());
        let mut leaves = Vec::new();
        if range.start >= end {
            return Ok(leaves);
        }
        let (from, to) = (columns::numbered(self.group, range.start), columns::numbered(self.group, end));
        let (mut bytes, mut expected) = (0, range.start);
        self.engine.scan(columns::LEAVES, &from, &to, |key, value| {
            if columns::number_of(key) != Some(expected) {
                return Err(missing("leaf", expected));
            }
            expected += 1;
            bytes += value.len();
            leaves.push(Bytes::from(value));
            Ok(bytes < bytes_max)
        })?;
        if leaves.is_empty() { Err(missing("leaf", range.start)) } else { Ok(leaves) }
    }

    fn hash(&self, level: u8, index: u64) -> io::Result<Hash> {
        let key = columns::hash(self.group, level, index);
        let value = self.engine.get(columns::HASHES, &key)?;
        let value = value.ok_or_else(|| missing("hash", index))?;
        value.as_slice().try_into().map_err(|_| missing("hash", index))
    }

    /// Root of the first `size` leaves.
    ///
    /// # Errors
    /// When there are not so many, or the store cannot be read.
    pub fn root_at(&self, size: u64) -> io::Result<Hash> {
        self.within(size)?;
        merkle::root_at(size, |level, index| self.hash(level, index))
    }

    /// # Errors
    /// As [`LeafReader::root_at`]; also unless `index < size`.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> io::Result<Vec<Hash>> {
        self.within(size)?;
        if index >= size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("leaf {index} is not among the first {size}")));
        }
        merkle::inclusion_proof(index, size, |level, index| self.hash(level, index))
    }

    /// # Errors
    /// As [`LeafReader::root_at`]; also unless `old <= new`.
    pub fn consistency_proof(&self, old: u64, new: u64) -> io::Result<Vec<Hash>> {
        self.within(new)?;
        if old > new {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{old} leaves are no prefix of {new}")));
        }
        merkle::consistency_proof(old, new, |level, index| self.hash(level, index))
    }

    fn within(&self, size: u64) -> io::Result<()> {
        let there = self.size();
        if size <= there {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the log has {there} leaves here, not {size}")))
        }
    }
}

fn missing(what: &str, index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} {index} is missing from the Merkle log"))
}
