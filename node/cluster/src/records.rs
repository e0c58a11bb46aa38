//! Records on their way into the audit log: one queue and one batcher per node.
//!
//! ```text
//! submit ─► queue ─► cut a batch (≤ 256 records, ≤ 128 KiB) ─► ordered stream to the audit leader ─► reply ─► recorded
//! ```
//! A batch costs its commit (two syncs and four messages) whatever is in it, so one is on its way at a time, and what
//! gathers meanwhile is the next; only full ones overtake, up to a bound. A record nobody waits for goes with the next
//! that somebody does, or after [`UNAWAITED_DELAY`].
//!
//! The state machine takes a node's sequences without gap and once: a batch that comes again is recognised by (node,
//! boot, first sequence), one that comes too early is refused. So after any doubt everything that is not acknowledged
//! is sent again, in order, to whoever leads then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::limits::{
    BACKLOG_BYTES_MAX, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCHES_IN_FLIGHT_MAX, PROPOSE_PAUSE, RECORDS_ATTEMPT, UNAWAITED_DELAY,
};
use crate::node::Node;
use crate::peer_transport::{Channel, Class, PeerError, memory};
use crate::raft::{self, BatchReply};
use crate::wire::{self, Batched, Kind, NotLeader, Open};

#[derive(Default)]
struct Queue {
    /// Sequence of the last record submitted; the first is 1.
    last: u64,
    /// … of the last that somebody waits for.
    awaited: u64,
    waiting: VecDeque<Vec<u8>>,
    /// Bytes not acknowledged, and those of them not cut into a batch.
    bytes: usize,
    waiting_bytes: usize,
    /// When the first of `waiting` came.
    since: Option<Instant>,
}

/// Whether to cut a batch now.
enum Due {
    Now,
    At(Instant),
    /// When something comes.
    Never,
}

impl Queue {
    fn due(&self, in_flight: usize) -> Due {
        let Some(since) = self.since else { return Due::Never };
        let is_full = self.waiting.len() >= BATCH_RECORDS_MAX || self.waiting_bytes >= BATCH_BYTES_MAX;
        let first = self.last - self.waiting.len() as u64 + 1;
        if is_full && in_flight < BATCHES_IN_FLIGHT_MAX || in_flight == 0 && self.awaited >= first {
            Due::Now
        } else if in_flight == 0 {
            let at = since + UNAWAITED_DELAY;
            if at <= Instant::now() { Due::Now } else { Due::At(at) }
        } else {
            // The acknowledgement of what is on its way comes first.
            Due::Never
        }
    }
}

/// Takes records in order and makes sure they are committed in that order.
pub struct Records {
    queue: Mutex<Queue>,
    arrived: Notify,
    recorded: watch::Sender<u64>,
}

/// A batch that was cut and is not acknowledged.
struct Cut {
    last: u64,
    bytes: usize,
    payload: Bytes,
}

impl Records {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), arrived: Notify::new(), recorded: watch::channel(0).0 })
    }

    /// Queues a record and returns its sequence on this node and boot, which `encode` was given. Order of calls is order
    /// of sequences. Never blocks; callers stop when [`Self::backlog_full`].
    pub fn submit(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64 {
        let (sequence, _) = self.push(encode, true);
        self.arrived.notify_one();
        sequence
    }

    /// As [`Self::submit`], for a record that nobody waits for: it may lie for [`UNAWAITED_DELAY`].
    pub fn submit_unawaited(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64 {
        let (sequence, is_news) = self.push(encode, false);
        if is_news {
            self.arrived.notify_one();
        }
        sequence
    }

    /// The sequence, and whether the batcher has to look because of it.
    fn push(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>, awaited: bool) -> (u64, bool) {
        let mut queue = self.queue.lock();
        queue.last += 1;
        if awaited {
            queue.awaited = queue.last;
        }
        let record = encode(queue.last);
        queue.bytes += record.len();
        queue.waiting_bytes += record.len();
        queue.waiting.push_back(record);
        let is_first = queue.since.is_none();
        if is_first {
            queue.since = Some(Instant::now());
        }
        (queue.last, is_first || queue.waiting.len() == BATCH_RECORDS_MAX || queue.waiting_bytes >= BATCH_BYTES_MAX)
    }

    /// From now on somebody waits for everything submitted so far.
    fn hurry(&self) -> u64 {
        let last = {
            let mut queue = self.queue.lock();
            queue.awaited = queue.last;
            queue.last
        };
        self.arrived.notify_one();
        last
    }

    /// All records up to this sequence are committed by a quorum and applied.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// Sequence of the last record submitted; 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.queue.lock().last
    }

    /// Bytes of records that are not committed yet.
    pub fn backlog(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Whoever reads from clients must stop while this is true.
    pub fn backlog_full(&self) -> bool {
        self.backlog() > BACKLOG_BYTES_MAX
    }

    fn due(&self, in_flight: usize) -> Due {
        self.queue.lock().due(in_flight)
    }

    fn cut(&self, node: u64, boot: u64) -> Option<Cut> {
        let mut queue = self.queue.lock();
        let mut count = 0;
        let mut bytes = 0;
        for record in queue.waiting.iter().take(BATCH_RECORDS_MAX) {
            if count > 0 && bytes + record.len() > BATCH_BYTES_MAX {
                break;
            }
            bytes += record.len();
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let first = queue.last - queue.waiting.len() as u64 + 1;
        let records: Vec<Vec<u8>> = queue.waiting.drain(..count).collect();
        queue.waiting_bytes -= bytes;
        queue.since = (!queue.waiting.is_empty()).then(Instant::now);
        drop(queue);
        let last = first + count as u64 - 1;
        Some(Cut { last, bytes, payload: raft::record_batch(node, boot, first, records) })
    }

    fn acknowledge(&self, cut: &Cut) {
        self.queue.lock().bytes -= cut.bytes;
        self.recorded.send_replace(cut.last);
    }
}

/// Why the batcher has to find the leader anew.
enum Break {
    Lost(PeerError),
    Refused(String),
    Late,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Break::Lost(e) => e.fmt(f),
            Break::Refused(why) => f.write_str(why),
            Break::Late => f.write_str("no acknowledgement in time"),
        }
    }
}

impl Node {
    /// Moves records into the log, for ever.
    pub(crate) async fn batch_records(self: Arc<Self>) {
        let mut in_flight: VecDeque<Cut> = VecDeque::new();
        loop {
            // With nothing to say there is no need for a leader either.
            if in_flight.is_empty() {
                let arrived = self.records.arrived.notified();
                if matches!(self.records.due(0), Due::Never) {
                    arrived.await;
                }
            }
            let broken = match self.open_records().await {
                Ok(channel) => self.run_records(channel, &mut in_flight).await,
                Err(e) => Break::Lost(e),
            };
            tracing::debug!(why = %broken, unacknowledged = in_flight.len(), "records go to the leader anew");
            sleep(PROPOSE_PAUSE).await;
        }
    }

    async fn open_records(self: &Arc<Self>) -> Result<Channel, PeerError> {
        let leader = self.audit_leader().ok_or_else(|| PeerError::Lost("no audit leader is known".into()))?;
        if leader == self.home.node {
            let (ours, theirs) = memory::pair(leader);
            let this = self.clone();
            self.tasks.once(&self.runtimes.main, async move { this.serve_records(theirs).await });
            return Ok(ours);
        }
        let opening = self.transport();
        let mut channel =
            tokio::time::timeout(RECORDS_ATTEMPT, opening.open(leader, Class::Audit)).await.map_err(|_| PeerError::Timeout)??;
        channel.tx.send(wire::encode(&Open { kind: Kind::Records.into(), group: raft::AUDIT_GROUP })).await?;
        Ok(channel)
    }

    /// Sends on one stream until it breaks. `in_flight` holds what the stream's end leaves unacknowledged.
    async fn run_records(&self, mut channel: Channel, in_flight: &mut VecDeque<Cut>) -> Break {
        for cut in in_flight.iter() {
            if let Err(e) = send_batch(&mut channel, cut).await {
                return Break::Lost(e);
            }
        }
        let mut deadline = Instant::now() + RECORDS_ATTEMPT;
        loop {
            let due = loop {
                let due = self.records.due(in_flight.len());
                if !matches!(due, Due::Now) {
                    break due;
                }
                let Some(cut) = self.records.cut(self.home.node.0, self.boot.0) else { break Due::Never };
                if in_flight.is_empty() {
                    deadline = Instant::now() + RECORDS_ATTEMPT;
                }
                let sent = send_batch(&mut channel, &cut).await;
                in_flight.push_back(cut);
                if let Err(e) = sent {
                    return Break::Lost(e);
                }
            };
            let due_at = if let Due::At(at) = due { Some(at) } else { None };
            tokio::select! {
                answer = channel.rx.expect() => match answer.and_then(wire::decode::<wire::BatchResponse>) {
                    Ok(answer) => match self.acknowledged(answer, in_flight) {
                        Ok(()) => deadline = Instant::now() + RECORDS_ATTEMPT,
                        Err(why) => return Break::Refused(why),
                    },
                    Err(e) => return Break::Lost(e),
                },
                () = self.records.arrived.notified() => {}
                () = sleep_until(due_at.unwrap_or(deadline)), if due_at.is_some() => {}
                () = sleep_until(deadline), if !in_flight.is_empty() => return Break::Late,
            }
        }
    }

    fn acknowledged(&self, answer: wire::BatchResponse, in_flight: &mut VecDeque<Cut>) -> Result<(), String> {
        let reply = match answer.result {
            Some(Batched::Reply(reply)) => raft::batch_reply(&reply)?,
            Some(Batched::Again(not)) => return Err(not.why),
            None => return Err("an empty answer".into()),
        };
        match reply {
            BatchReply::Through(through) => {
                let cut = in_flight.pop_front().ok_or("an answer nobody asked for")?;
                if through < cut.last {
                    let last = cut.last;
                    in_flight.push_front(cut);
                    return Err(format!("record {last} was sent, the log ends at {through}"));
                }
                self.records.acknowledge(&cut);
                Ok(())
            }
            BatchReply::Gap { expected } => Err(format!("the log expects record {expected} next")),
        }
    }

    /// The audit leader's side: writes batches in the order they come, answers in the same order.
    pub(crate) async fn serve_records(self: Arc<Self>, mut channel: Channel) {
        let mut pending = FuturesOrdered::new();
        loop {
            tokio::select! {
                frame = channel.rx.next(), if pending.len() < BATCHES_IN_FLIGHT_MAX * 2 => {
                    let batch = match frame {
                        Ok(Some(frame)) => wire::decode::<wire::Batch>(frame),
                        Ok(None) | Err(_) => return,
                    };
                    let Ok(batch) = batch else { return };
                    pending.push_back(raft::write_in_order(&self.audit(), batch.payload).await);
                }
                Some(outcome) = pending.next(), if !pending.is_empty() => {
                    let result = match outcome {
                        raft::Written::Committed { reply, .. } => Batched::Reply(reply),
                        raft::Written::NotLeader(not) => Batched::Again(not),
                        raft::Written::Unknown(why) => Batched::Again(NotLeader { leader: None, why }),
                    };
                    if channel.tx.send(wire::encode(&wire::BatchResponse { result: Some(result) })).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until everything submitted so far is committed; used when draining.
    pub(crate) async fn flush_records(&self, within: Duration) -> bool {
        let last = self.records.hurry();
        let mut recorded = self.records.recorded();
        matches!(tokio::time::timeout(within, recorded.wait_for(|r| *r >= last)).await, Ok(Ok(_)))
    }
}

async fn send_batch(channel: &mut Channel, cut: &Cut) -> Result<(), PeerError> {
    channel.tx.send(wire::encode(&wire::Batch { payload: cut.payload.clone() })).await
}
