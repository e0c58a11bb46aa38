//! Reading one group's Merkle log: leaves, roots, proofs. Leaves never change, so reading needs no lock.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use domain::audit::merkle::{self, Hash};
use rocksdb::{Direction, IteratorMode, ReadOptions};

use crate::columns::{self, Group};
use crate::engine::Engine;

/// Cheap to clone; sees leaves as they are applied.
#[derive(Clone)]
pub struct LeafReader {
    engine: Engine,
    group: Group,
    size: Arc<AtomicU64>,
}

impl LeafReader {
    pub(crate) fn new(engine: Engine, group: Group, size: u64) -> Self {
        LeafReader { engine, group, size: Arc::new(AtomicU64::new(size)) }
    }

    pub(crate) fn grown(&self, size: u64) {
        self.size.store(size, Ordering::Release);
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
        let value = self.engine.db().get_cf(self.engine.family(columns::LEAVES), key).map_err(io::Error::other)?;
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
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(columns::numbered(self.group, end).to_vec());
        let start = columns::numbered(self.group, range.start);
        let family = self.engine.family(columns::LEAVES);
        let mut bytes = 0;
        let stored = self.engine.db().iterator_cf_opt(family, options, IteratorMode::From(&start, Direction::Forward));
        for (expected, item) in (range.start..).zip(stored) {
            let (key, value) = item.map_err(io::Error::other)?;
            if columns::number_of(&key) != Some(expected) {
                return Err(missing("leaf", expected));
            }
            bytes += value.len();
            leaves.push(Bytes::from(value));
            if bytes >= bytes_max {
                break;
            }
        }
        if leaves.is_empty() { Err(missing("leaf", range.start)) } else { Ok(leaves) }
    }

    fn hash(&self, level: u8, index: u64) -> io::Result<Hash> {
        let key = columns::hash(self.group, level, index);
        let value = self.engine.db().get_pinned_cf(self.engine.family(columns::HASHES), key).map_err(io::Error::other)?;
        let value = value.ok_or_else(|| missing("hash", index))?;
        value.as_ref().try_into().map_err(|_| missing("hash", index))
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
