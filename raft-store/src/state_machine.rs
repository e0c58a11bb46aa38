//! The replicated state of one group: a [`Machine`], its rows, and its Merkle log.
//!
//! Rows, leaves, hashes and the applied index go into one write batch, so they can never disagree. Nothing is synced
//! here: the log entry is durable on a quorum, and what is lost is applied again. Purging syncs first.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use domain::audit::merkle::Frontier;
use domain::audit::pruned;
use futures_util::{Stream, StreamExt as _};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use planted::{Bug, Point, planted, reach};

use crate::columns::{self, Group, MetaTag};
use crate::engine::{Batch, Engine};
use crate::format::Position;
use crate::leaves::LeafReader;
use crate::machine::{Machine, Prune, Row};
use crate::snapshot::{LeafSource, SnapshotData, Spool};
use crate::types::{LogId, Payload, Reply, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries applied in one write batch at most.
const APPLY_BATCH_MAX: usize = 256;
/// Leaves written in one batch while a snapshot is installed.
const INSTALL_BATCH_LEAVES: u64 = 4_096;

pub struct StateMachine<M> {
    engine: Engine,
    group: Group,
    machine: M,
    position: Position,
    reader: LeafReader,
    /// The last snapshot taken or installed since start.
    current: Arc<Mutex<Option<Taken>>>,
}

#[derive(Clone)]
struct Taken {
    meta: SnapshotMeta,
    rows: Arc<Vec<Row>>,
    frontier: Frontier,
}

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

impl<M: Machine> StateMachine<M> {
    /// Loads the state of `group` from `engine` into `machine`.
    ///
    /// # Errors
    /// When what lies there cannot be understood, or the Merkle log is not the one its frontier says.
    pub fn open(engine: &Engine, group: u32, mut machine: M) -> io::Result<Self> {
        let key = columns::meta(group, MetaTag::Applied);
        let stored = engine.get(columns::STATE_META, &key)?;
        let position = stored.map(|v| Position::decode(&v)).transpose()?.unwrap_or_default();
        machine.load(rows_of(engine, group)?).map_err(io::Error::other)?;
        let reader = LeafReader::new(engine.clone(), group, position.frontier.size());
        verify_leaves(&reader, &position.frontier)?;
        if let Some(last) = position.last {
            machine.published(last.index());
        }
        Ok(StateMachine { engine: engine.clone(), group, machine, position, reader, current: Arc::default() })
    }

    pub fn leaves(&self) -> LeafReader {
        self.reader.clone()
    }

    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Index of the last applied entry.
    pub fn applied_index(&self) -> Option<u64> {
        self.position.last.map(|id| id.index())
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.position.last, last_membership: self.position.membership.clone() }
    }

    fn apply_payload(&mut self, index: u64, payload: &Payload, batch: &mut Batch) -> io::Result<Reply> {
        let applied = self.machine.apply(index, self.position.frontier.size(), &payload.0).map_err(|error| {
            // Skipping what cannot be applied would fork this replica from the others.
            self.engine.poison(&format!("entry {index} cannot be applied: {error}"));
            io::Error::other(error)
        })?;
        reach(Point::EntryApplied);
        let prunes = self.prunes(applied.rows.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))))?;
        if !prunes.is_empty() {
            // What goes may have come with the entries before this one: it is read from the store.
            self.commit(std::mem::replace(batch, self.engine.batch()))?;
        }
        for prune in &prunes {
            self.let_go(prune, self.position.frontier.size(), batch)?;
        }
        let forgotten = planted(Bug::RowsForgotten);
        for (key, value) in applied.rows.into_iter().filter(|_| !forgotten) {
            let key = columns::row(self.group, &key);
            match value {
                Some(value) => self.engine.put(batch, columns::ROWS, key, value),
                None => self.engine.delete(batch, columns::ROWS, key),
            }
        }
        for leaf in &applied.leaves {
            append_leaf(&self.engine, self.group, &mut self.position.frontier, leaf, batch);
        }
        Ok(Reply(applied.reply))
    }

    fn prunes<'a>(&self, rows: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> io::Result<Vec<Prune>> {
        let mut prunes = Vec::new();
        for (key, value) in rows {
            prunes.extend(M::prune(key, value).map_err(io::Error::other)?);
        }
        Ok(prunes)
    }

    /// Replaces the bodies of those of the leaves that are below `size`; done once more, it changes nothing.
    fn let_go(&self, prune: &Prune, size: u64, batch: &mut Batch) -> io::Result<()> {
        for range in prune.leaves.ranges() {
            let (from, to) = (columns::numbered(self.group, range.start), columns::numbered(self.group, range.end.min(size)));
            if from >= to {
                continue;
            }
            self.engine.scan(columns::LEAVES, &from, &to, |key, body| {
                if let Some(stub) = pruned::prune(&body, &prune.terms) {
                    self.engine.put(batch, columns::LEAVES, key, stub);
                }
                Ok(true)
            })?;
            self.reader.emptied(range);
        }
        Ok(())
    }

    fn commit(&mut self, mut batch: Batch) -> io::Result<()> {
        let key = columns::meta(self.group, MetaTag::Applied);
        self.engine.put(&mut batch, columns::STATE_META, key, self.position.encode());
        reach(Point::RowsBeforeWrite);
        self.engine.write(batch)?;
        reach(Point::RowsWritten);
        self.reader.grown(self.position.frontier.size());
        if let Some(last) = self.position.last {
            self.machine.published(last.index());
        }
        Ok(())
    }
}

fn append_leaf(engine: &Engine, group: Group, frontier: &mut Frontier, leaf: &Bytes, batch: &mut Batch) {
    engine.put(batch, columns::LEAVES, columns::numbered(group, frontier.size()), leaf);
    frontier.append(pruned::stored_hash(leaf), |level, index, hash| {
        engine.put(batch, columns::HASHES, columns::hash(group, level, index), hash)
    });
}

fn rows_of(engine: &Engine, group: Group) -> io::Result<Vec<Row>> {
    let (start, end) = columns::bounds(group);
    let mut rows = Vec::new();
    engine.scan(columns::ROWS, &start, &end, |key, value| {
        rows.push((key[4..].to_vec(), value));
        Ok(true)
    })?;
    Ok(rows)
}

/// Hashes every leaf again: what is served later is what was hashed when it was committed.
fn verify_leaves(reader: &LeafReader, expected: &Frontier) -> io::Result<()> {
    let mut frontier = Frontier::default();
    while frontier.size() < expected.size() {
        for leaf in reader.leaves(frontier.size()..expected.size(), 4 << 20)? {
            frontier.append(pruned::stored_hash(&leaf), |_, _, _| {});
        }
    }
    if frontier == *expected {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the leaves of the Merkle log do not hash to its root"))
    }
}

impl<M: Machine> RaftStateMachine<TypeConfig> for StateMachine<M> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.position.last, self.position.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_BATCH_MAX);
        while let Some(chunk) = chunks.next().await {
            let mut batch = self.engine.batch();
            let mut answers = Vec::with_capacity(chunk.len());
            for item in chunk {
                let (entry, responder) = item?;
                let reply = match &entry.payload {
                    EntryPayload::Blank => Reply::default(),
                    EntryPayload::Normal(payload) => self.apply_payload(entry.index(), payload, &mut batch)?,
                    EntryPayload::Membership(membership) => {
                        self.position.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                        Reply::default()
                    }
                };
                self.position.last = Some(entry.log_id);
                answers.extend(responder.map(|responder| (responder, reply)));
            }
            self.commit(batch)?;
            reach(Point::AppliedBeforeAnswer);
            answers.into_iter().for_each(|(responder, reply)| responder.send(reply));
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: self.meta(),
            // The state does not move while this runs, so rows and position agree.
            rows: rows_of(&self.engine, self.group).map(Arc::new),
            frontier: self.position.frontier.clone(),
            reader: self.reader.clone(),
            engine: self.engine.clone(),
            current: self.current.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let mut frontier = self.position.frontier.clone();
        let had = frontier.size();
        if let LeafSource::Spooled { from, file } = snapshot.leaves {
            if from > frontier.size() {
                return Err(io::Error::other(format!("the snapshot starts at leaf {from}, this log ends at {}", frontier.size())));
            }
            // Leaves beyond the recorded size do not exist for any reader until the batch below.
            let mut spool = Spool::new(file);
            // What was applied here since this node told the sender its size came along once more.
            for _ in from..frontier.size() {
                spool.next()?;
            }
            while frontier.size() < snapshot.frontier.size() {
                let mut batch = self.engine.batch();
                for _ in 0..INSTALL_BATCH_LEAVES.min(snapshot.frontier.size() - frontier.size()) {
                    append_leaf(&self.engine, self.group, &mut frontier, &spool.next()?, &mut batch);
                }
                self.engine.write(batch)?;
            }
        }
        if frontier != snapshot.frontier {
            self.engine.poison("a snapshot's leaves do not continue this node's log");
            return Err(io::Error::other("a snapshot's leaves do not continue this node's log"));
        }
        // The leaves that were here before the snapshot came lose the bodies that went meanwhile. To a reader that is as
        // good before the batch below as after it.
        for row in snapshot.rows.iter() {
            let Some(prune) = M::prune(&row.0, &row.1).map_err(io::Error::other)? else { continue };
            if self.engine.get(columns::ROWS, &columns::row(self.group, &row.0))?.is_none() {
                let mut batch = self.engine.batch();
                self.let_go(&prune, had, &mut batch)?;
                self.engine.write(batch)?;
            }
        }
        let mut batch = self.engine.batch();
        let (start, end) = columns::bounds(self.group);
        self.engine.delete_range(&mut batch, columns::ROWS, &start, &end);
        for (key, value) in snapshot.rows.iter() {
            self.engine.put(&mut batch, columns::ROWS, columns::row(self.group, key), value);
        }
        if !planted(Bug::SnapshotNotLoaded) {
            self.machine.load(snapshot.rows.to_vec()).map_err(io::Error::other)?;
        }
        self.position = Position { last: meta.last_log_id, membership: meta.last_membership.clone(), frontier };
        self.commit(batch)?;
        *self.current.lock() = Some(Taken { meta: meta.clone(), rows: snapshot.rows, frontier: self.position.frontier.clone() });
        // The log below the snapshot may be purged from now on.
        self.engine.synced().await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let taken = self.current.lock().clone();
        Ok(taken.map(|taken| Snapshot {
            meta: taken.meta,
            snapshot: SnapshotData { rows: taken.rows, frontier: taken.frontier, leaves: LeafSource::Stored(self.reader.clone()) },
        }))
    }
}

/// Takes a snapshot of the state as it was when the builder was made.
pub struct Builder {
    meta: SnapshotMeta,
    rows: io::Result<Arc<Vec<Row>>>,
    frontier: Frontier,
    reader: LeafReader,
    engine: Engine,
    current: Arc<Mutex<Option<Taken>>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let rows = match &self.rows {
            Ok(rows) => rows.clone(),
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        // Once openraft has a snapshot it purges the log below it, which may lie in another engine than the state.
        reach(Point::SnapshotBeforeSync);
        self.engine.synced().await?;
        reach(Point::SnapshotSynced);
        *self.current.lock() = Some(Taken { meta: self.meta.clone(), rows: rows.clone(), frontier: self.frontier.clone() });
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: SnapshotData { rows, frontier: self.frontier.clone(), leaves: LeafSource::Stored(self.reader.clone()) },
        })
    }
}
