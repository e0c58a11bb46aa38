//! openraft's log storage for one group on an engine.
//!
//! Entries are readable when `append` returns and durable when its callback fires. Vote and entries go into one WAL,
//! so they cannot be reordered. In steady state nothing is read from RocksDB: replication and apply read the tail.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use planted::{Bug, Point, planted, reach};

use crate::columns::{self, Group, MetaTag};
use crate::engine::{Batch, Engine, Waiter};
use crate::format;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Bytes of recent entries kept decoded in memory.
const TAIL_BYTES_MAX: usize = 16 << 20;
/// Bytes of entries sent to a peer in one message; at least one entry is.
const READ_BYTES_MAX: usize = 1 << 20;
/// Files below the purge point are dropped once so many entries were purged since the last time.
const DROP_FILES_EVERY: u64 = 65_536;

#[derive(Clone)]
pub struct LogStore {
    engine: Engine,
    group: Group,
    log: Arc<Mutex<Log>>,
}

/// What is known of the log without reading it.
struct Log {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    files_dropped_below: u64,
}

impl Log {
    fn next_index(&self) -> u64 {
        self.last.or(self.purged).map_or(0, |id| id.index() + 1)
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |id| id.index() + 1)
    }

    fn push(&mut self, entry: Entry) {
        self.last = Some(entry.log_id);
        self.tail_bytes += weight(&entry);
        self.tail.push_back(entry);
        while self.tail_bytes > TAIL_BYTES_MAX && self.tail.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.tail.pop_front() {
            self.tail_bytes -= weight(&entry);
        }
    }

    /// The entries `from..to` if the tail has all of them.
    fn cached(&self, from: u64, to: u64) -> Option<impl Iterator<Item = &Entry>> {
        let first = self.tail.front()?.log_id.index();
        let start = usize::try_from(from.checked_sub(first)?).ok()?;
        let count = usize::try_from(to - from).ok()?;
        (start + count <= self.tail.len()).then(|| self.tail.iter().skip(start).take(count))
    }
}

/// About how many bytes an entry occupies.
fn weight(entry: &Entry) -> usize {
    64 + match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(membership) => membership.nodes().count() * 64,
    }
}

impl Engine {
    /// The log of `group` on this engine. One handle a group; clones share it.
    ///
    /// # Errors
    /// When what lies there cannot be understood or has holes.
    pub fn log_store(&self, group: u32) -> io::Result<LogStore> {
        let stored = |tag| self.get(columns::LOG_META, &columns::meta(group, tag));
        let purged = stored(MetaTag::Purged)?.map(|v| format::decode_log_id(&v)).transpose()?;
        let mut log = Log {
            vote: stored(MetaTag::Vote)?.map(|v| format::decode_vote(&v)).transpose()?,
            committed: stored(MetaTag::Committed)?.map(|v| format::decode_log_id(&v)).transpose()?,
            purged,
            last: purged,
            tail: VecDeque::new(),
            tail_bytes: 0,
            files_dropped_below: 0,
        };
        self.scan_log(group, log.first_index(), u64::MAX, |entry| {
            // Logs start at 0 (or, told by their first writer, at 1); everything later follows something.
            let follows = if log.last.is_some() { entry.log_id.index() == log.next_index() } else { entry.log_id.index() <= 1 };
            if !follows {
                return Err(io::Error::other(format!(
                    "the log of group {group} has a hole: {} follows {:?}",
                    entry.log_id.index(),
                    log.last
                )));
            }
            log.push(entry);
            Ok(true)
        })?;
        Ok(LogStore { engine: self.clone(), group, log: Arc::new(Mutex::new(log)) })
    }

    /// Reads the stored entries `from..to` of a group until `see` says `false`. Starts at `from`, never at the group's
    /// first key: what was purged lies behind range tombstones.
    fn scan_log(&self, group: Group, from: u64, to: u64, mut see: impl FnMut(Entry) -> io::Result<bool>) -> io::Result<()> {
        let end = if to == u64::MAX { columns::bounds(group).1.to_vec() } else { columns::numbered(group, to).to_vec() };
        self.scan(columns::LOG, &columns::numbered(group, from), &end, |_, value| see(format::decode_entry(&value)?))
    }
}

impl LogStore {
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (from, to) = {
            let log = self.log.lock();
            let (from, to) = (from.max(log.first_index()), to.min(log.next_index()));
            if from >= to {
                return Ok(Vec::new());
            }
            if let Some(cached) = log.cached(from, to) {
                return Ok(bounded(cached.cloned(), bytes_max));
            }
            (from, to)
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        self.engine.scan_log(self.group, from, to, |entry| {
            bytes += weight(&entry);
            let fits = entries.is_empty() || bytes <= bytes_max;
            if fits {
                entries.push(entry);
            }
            Ok(fits)
        })?;
        Ok(entries)
    }

    fn put_meta(&self, batch: &mut Batch, tag: MetaTag, value: Vec<u8>) {
        self.engine.put(batch, columns::LOG_META, columns::meta(self.group, tag), value);
    }

    /// Index of the last entry, for tests and status.
    pub fn last_index(&self) -> Option<u64> {
        self.log.lock().last.map(|id| id.index())
    }
}

fn bounded(entries: impl Iterator<Item = Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0;
    entries
        .enumerate()
        .take_while(|(n, entry)| {
            bytes += weight(entry);
            *n == 0 || bytes <= bytes_max
        })
        .map(|(_, entry)| entry)
        .collect()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(&mut self, range: RB) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(n) => n + 1,
            Bound::Excluded(n) => *n,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let log = self.log.lock();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last.or(log.purged) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let mut batch = self.engine.batch();
        self.put_meta(&mut batch, MetaTag::Vote, format::encode_vote(vote));
        self.engine.write(batch)?;
        self.log.lock().vote = Some(*vote);
        reach(Point::VoteWritten);
        if planted(Bug::VoteNotSynced) {
            return Ok(());
        }
        self.engine.synced().await?;
        reach(Point::VoteSynced);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut batch = self.engine.batch();
        match &committed {
            Some(id) => self.put_meta(&mut batch, MetaTag::Committed, format::encode_log_id(id)),
            None => self.engine.delete(&mut batch, columns::LOG_META, columns::meta(self.group, MetaTag::Committed)),
        }
        self.engine.write(batch)?;
        self.log.lock().committed = committed;
        reach(Point::CommittedWritten);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = self.engine.batch();
        {
            let mut log = self.log.lock();
            for entry in entries {
                let index = entry.index();
                assert!(log.last.or(log.purged).is_none() || index == log.next_index(), "entry {index} does not follow {:?}", log.last);
                self.engine.put(&mut batch, columns::LOG, columns::numbered(self.group, index), format::encode_entry(&entry));
                log.push(entry);
            }
        }
        reach(Point::EntriesReceived);
        self.engine.write(batch)?;
        reach(Point::EntriesWritten);
        self.engine.queue(Waiter::Append(callback));
        reach(Point::EntriesQueued);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index() + 1);
        if from >= self.log.lock().next_index() {
            return Ok(());
        }
        let mut batch = self.engine.batch();
        self.engine.delete_range(&mut batch, columns::LOG, &columns::numbered(self.group, from), &columns::bounds(self.group).1);
        let mut log = self.log.lock();
        while log.tail.back().is_some_and(|entry| entry.log_id.index() >= from) {
            if let Some(entry) = log.tail.pop_back() {
                log.tail_bytes -= weight(&entry);
            }
        }
        log.last = last.or(log.purged);
        drop(log);
        if planted(Bug::TruncationForgotten) {
            return Ok(());
        }
        self.engine.write(batch)
    }

    /// The state machine's rows up to here are made durable first: they lie in the same WAL or, for audit, were synced
    /// by the caller of purge through [`crate::StateMachine`]'s own engine.
    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        let from = self.log.lock().first_index();
        if id.index() < from {
            return Ok(());
        }
        self.engine.synced().await?;
        let mut batch = self.engine.batch();
        self.put_meta(&mut batch, MetaTag::Purged, format::encode_log_id(&id));
        // Adjacent ranges, never from the group's start: overlapping tombstones tax every later read.
        let (start, end) = (columns::numbered(self.group, from), columns::numbered(self.group, id.index() + 1));
        self.engine.delete_range(&mut batch, columns::LOG, &start, &end);
        self.engine.write(batch)?;
        let drop_files = {
            let mut log = self.log.lock();
            while log.tail.front().is_some_and(|entry| entry.log_id.index() <= id.index()) {
                log.drop_oldest();
            }
            log.purged = Some(id);
            if log.last.is_none_or(|last| last.index() < id.index()) {
                log.last = Some(id);
            }
            let due = id.index() >= log.files_dropped_below + DROP_FILES_EVERY;
            if due {
                log.files_dropped_below = id.index();
            }
            due
        };
        if drop_files {
            self.engine.drop_files(columns::LOG, &columns::numbered(self.group, 0), &end)?;
        }
        Ok(())
    }
}
