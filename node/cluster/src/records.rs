//! Records on their way into the audit log: one queue and one batcher per node.
//!
//! ```text
//! submit ─► queue ─► cut a batch (≤ 256 records, ≤ 128 KiB) ─► ordered stream to the audit leader ─► reply ─► recorded
//! ```
//! A batch costs its commit (two syncs and four messages) whatever is in it, so one is on its way at a time, and what
//! gathers meanwhile is the next, with those that the last one let go ([`Pace`]); only full ones
//! overtake, up to a bound. A record nobody waits for goes with the next that somebody does, or after
//! [`UNAWAITED_DELAY`].
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
use planted::{Bug, Point, planted, reach};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::limits::{
    BACKLOG_BYTES_MAX, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCHES_IN_FLIGHT_MAX, GATHER_MAX, GATHER_MIN, PROPOSE_PAUSE, RECORDS_ATTEMPT,
    UNAWAITED_DELAY,
};
use crate::node::Node;
use crate::peer_transport::{Channel, Class, PeerError, memory};
use crate::raft::{self, BatchReply};
use crate::wire::{self, Batched, Kind, NotLeader, Open};

#[derive(Default)]
struct Queue {
    /// Sequence of the last record submitted; the first is 1.
    last: u64,
    waiting: VecDeque<Waiting>,
    /// How many of `waiting` somebody waits for.
    awaited: usize,
    /// When the first of `waiting` came.
    since: Option<Instant>,
    /// All of it is awaited now.
    hurried: bool,
    /// Bytes not acknowledged, and those of them not cut into a batch.
    bytes: usize,
    waiting_bytes: usize,
    pace: Pace,
}

struct Waiting {
    record: Vec<u8>,
    awaited: bool,
}

/// Who waits for a commit comes back with the next record soon after it. As many as usually do are waited for, so that
/// they share a commit with those that came meanwhile: else two halves would take turns for ever, each with half the
/// records a commit could carry.
#[derive(Default)]
struct Pace {
    /// How long a commit takes, of late.
    commit: Duration,
    /// The part of those a commit let go that is back within [`Self::patience`], of late.
    returning: f32,
    /// The last commit: when returns stop counting, how many it let go, how many of them came back, and how many others
    /// stood there already.
    until: Option<Instant>,
    released: usize,
    returned: usize,
    present: usize,
}

impl Pace {
    fn committed(&mut self, released: usize, present: usize, took: Duration, now: Instant) {
        self.commit = if self.commit.is_zero() { took } else { (self.commit * 7 + took) / 8 };
        if self.released > 0 {
            let part = self.returned.min(self.released) as f32 / self.released as f32;
            self.returning += (part - self.returning) / 4.0;
        }
        *self = Self { until: Some(now + self.patience()), released, returned: 0, present, ..*self };
    }

    fn came(&mut self, now: Instant) {
        self.returned += usize::from(self.until.is_some_and(|until| now <= until));
    }

    fn expected(&self) -> usize {
        self.present + (self.released as f32 * self.returning).round() as usize
    }

    /// No longer than the commit that is shared. The runtime's timers know no less than a millisecond, which is too much
    /// beside a commit of half of one.
    fn patience(&self) -> Duration {
        if self.commit < GATHER_MIN / 2 { Duration::ZERO } else { self.commit.clamp(GATHER_MIN, GATHER_MAX) }
    }
}

/// Whether to cut a batch now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(Instant),
    /// When something comes.
    Never,
}

impl Queue {
    fn push(&mut self, record: Vec<u8>, awaited: bool, now: Instant) {
        self.bytes += record.len();
        self.waiting_bytes += record.len();
        self.waiting.push_back(Waiting { record, awaited });
        self.since.get_or_insert(now);
        if awaited {
            self.awaited += 1;
            self.pace.came(now);
        }
    }

    fn due(&self, in_flight: usize, now: Instant) -> Due {
        let Some(since) = self.since else { return Due::Never };
        if self.is_full() && in_flight < BATCHES_IN_FLIGHT_MAX {
            return Due::Now;
        }
        if in_flight > 0 {
            // The acknowledgement of what is on its way comes first.
            return Due::Never;
        }
        let at = if self.hurried || (self.awaited > 0 && self.awaited >= self.pace.expected()) {
            now
        } else if self.awaited > 0 {
            self.pace.until.unwrap_or(now)
        } else {
            since + UNAWAITED_DELAY
        };
        if at <= now { Due::Now } else { Due::At(at) }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH_RECORDS_MAX || self.waiting_bytes >= BATCH_BYTES_MAX
    }

    /// The next batch: sequence of its first record, its records, and how many of them are awaited.
    fn cut(&mut self, now: Instant) -> Option<(u64, Vec<Vec<u8>>, usize)> {
        let mut count = 0;
        let mut bytes = 0;
        for Waiting { record, .. } in self.waiting.iter().take(BATCH_RECORDS_MAX) {
            if count > 0 && bytes + record.len() > BATCH_BYTES_MAX {
                break;
            }
            bytes += record.len();
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let first = self.last - self.waiting.len() as u64 + 1;
        let cut: Vec<Waiting> = self.waiting.drain(..count).collect();
        let awaited = cut.iter().filter(|w| w.awaited).count();
        self.waiting_bytes -= bytes;
        self.awaited -= awaited;
        let rest = !self.waiting.is_empty();
        self.hurried &= rest;
        self.since = rest.then_some(now);
        Some((first, cut.into_iter().map(|w| w.record).collect(), awaited))
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
    awaited: usize,
    since: Instant,
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
        let record = encode(queue.last);
        let was_quiet = queue.since.is_none();
        queue.push(record, awaited, Instant::now());
        (queue.last, was_quiet || queue.is_full())
    }

    /// From now on somebody waits for everything submitted so far.
    fn hurry(&self) -> u64 {
        let last = {
            let mut queue = self.queue.lock();
            queue.hurried = true;
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
        self.queue.lock().due(in_flight, Instant::now())
    }

    fn cut(&self, node: u64, boot: u64) -> Option<Cut> {
        let since = Instant::now();
        let (first, records, awaited) = self.queue.lock().cut(since)?;
        let last = first + records.len() as u64 - 1;
        let bytes = records.iter().map(Vec::len).sum();
        Some(Cut { last, bytes, awaited, since, payload: raft::record_batch(node, boot, first, records) })
    }

    fn acknowledge(&self, cut: &Cut) {
        let mut queue = self.queue.lock();
        queue.bytes -= cut.bytes;
        let (now, present) = (Instant::now(), queue.awaited);
        queue.pace.committed(cut.awaited, present, now - cut.since, now);
        drop(queue);
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
            let (ours, theirs) = memory::pair();
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
            let due_at = loop {
                match self.records.due(in_flight.len()) {
                    Due::Now => {}
                    Due::At(at) => break Some(at),
                    Due::Never => break None,
                }
                let Some(cut) = self.records.cut(self.home.node.0, self.boot.0) else { break None };
                if in_flight.is_empty() {
                    deadline = Instant::now() + RECORDS_ATTEMPT;
                }
                reach(Point::BatchCut);
                let sent = send_batch(&mut channel, &cut).await;
                reach(Point::BatchSent);
                if planted(Bug::RecordedWhenSent) {
                    self.records.recorded.send_replace(cut.last);
                }
                in_flight.push_back(cut);
                if let Err(e) = sent {
                    return Break::Lost(e);
                }
            };
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
                reach(Point::BatchBeforeAcknowledged);
                self.records.acknowledge(&cut);
                reach(Point::BatchAcknowledged);
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
                    reach(Point::BatchReceived);
                    pending.push_back(raft::write_in_order(&self.audit(), batch.payload).await);
                }
                Some(outcome) = pending.next(), if !pending.is_empty() => {
                    let result = match outcome {
                        raft::Written::Committed { reply, .. } => Batched::Reply(reply),
                        raft::Written::NotLeader(not) => Batched::Again(not),
                        raft::Written::Unknown(why) => Batched::Again(NotLeader { leader: None, why }),
                    };
                    reach(Point::BatchBeforeAnswer);
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

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_millis(4);

    fn queue(awaited: usize, unawaited: usize, at: Instant) -> Queue {
        let mut queue = Queue::default();
        for number in 0..awaited + unawaited {
            queue.last += 1;
            queue.push(vec![0; 10], number < awaited, at);
        }
        queue
    }

    #[test]
    fn a_batch_is_cut_for_who_waits_and_alone() {
        let now = Instant::now();
        assert_eq!(Queue::default().due(0, now), Due::Never);
        assert_eq!(queue(1, 0, now).due(0, now), Due::Now);
        assert_eq!(queue(1, 0, now).due(1, now), Due::Never, "one is on its way");
        assert_eq!(queue(0, 3, now).due(0, now), Due::At(now + UNAWAITED_DELAY));
        assert_eq!(queue(0, 3, now).due(0, now + UNAWAITED_DELAY), Due::Now);
        let hurried = Queue { hurried: true, ..queue(0, 3, now) };
        assert_eq!(hurried.due(0, now), Due::Now);
    }

    #[test]
    fn full_batches_overtake_up_to_a_bound() {
        let now = Instant::now();
        let full = queue(BATCH_RECORDS_MAX, 0, now);
        assert_eq!(full.due(BATCHES_IN_FLIGHT_MAX - 1, now), Due::Now);
        assert_eq!(full.due(BATCHES_IN_FLIGHT_MAX, now), Due::Never);
    }

    /// A commit lets `released` go while `present` wait; what came before counts as `returning` of the last.
    fn after_commit(queue: &mut Queue, released: usize, returning: f32, at: Instant) {
        queue.pace = Pace { returning, ..Pace::default() };
        let present = queue.awaited;
        queue.pace.committed(released, present, COMMIT, at);
    }

    fn arrive(queue: &mut Queue, at: Instant) {
        queue.last += 1;
        queue.push(vec![0; 10], true, at);
    }

    #[test]
    fn who_was_let_go_is_waited_for_while_that_costs_no_more_than_a_commit() {
        let now = Instant::now();
        let mut few = queue(3, 5, now);
        after_commit(&mut few, 2, 1.0, now);
        assert_eq!(few.due(0, now), Due::At(now + COMMIT), "two more will come");
        arrive(&mut few, now);
        assert_eq!(few.due(0, now), Due::At(now + COMMIT));
        assert_eq!(few.due(0, now + COMMIT), Due::Now, "one does not");
        arrive(&mut few, now);
        assert_eq!(few.due(0, now), Due::Now, "all are here");
        few.pace.commit = Duration::ZERO;
        few.pace.committed(2, 5, GATHER_MIN / 4, now);
        assert_eq!(few.due(0, now), Due::Now, "a commit is cheaper than waiting");
    }

    #[test]
    fn who_comes_alone_waits_for_nobody() {
        let now = Instant::now();
        let mut late = Queue::default();
        after_commit(&mut late, 8, 1.0, now);
        arrive(&mut late, now + GATHER_MAX * 2);
        assert_eq!(late.due(0, now + GATHER_MAX * 2), Due::Now);
    }

    #[test]
    fn two_halves_that_take_turns_become_one_batch() {
        let mut now = Instant::now();
        let mut queue = queue(4, 0, now);
        let mut sizes = Vec::new();
        let mut in_flight = 4;
        for _ in 0..12 {
            // The commit of some lets them go, and each comes back within 100 us; nobody else is there.
            now += COMMIT;
            let present = queue.awaited;
            queue.pace.committed(in_flight, present, COMMIT, now);
            let mut coming = in_flight;
            while queue.due(0, now) != Due::Now {
                now += Duration::from_micros(100);
                arrive(&mut queue, now);
                coming -= 1;
            }
            let (_, records, _) = queue.cut(now).expect("it is due");
            in_flight = records.len();
            sizes.push(in_flight);
            for _ in 0..coming {
                arrive(&mut queue, now);
            }
        }
        assert_eq!(sizes.last(), Some(&8), "{sizes:?}");
    }

    #[test]
    fn nobody_is_waited_for_who_does_not_come_back() {
        let now = Instant::now();
        let mut queue = queue(1, 0, now);
        queue.pace.returning = 1.0;
        for _ in 0..12 {
            queue.pace.committed(4, 1, COMMIT, now);
        }
        assert_eq!(queue.due(0, now), Due::Now);
    }

    #[test]
    fn a_cut_takes_records_in_order_up_to_the_bounds() {
        let now = Instant::now();
        let mut queue = queue(BATCH_RECORDS_MAX, 2, now);
        let (first, records, awaited) = queue.cut(now).expect("there is something");
        assert_eq!((first, records.len(), awaited), (1, BATCH_RECORDS_MAX, BATCH_RECORDS_MAX));
        assert_eq!(queue.due(0, now), Due::At(now + UNAWAITED_DELAY));
        let (first, records, awaited) = queue.cut(now).expect("there is more");
        assert_eq!((first, records.len(), awaited), (BATCH_RECORDS_MAX as u64 + 1, 2, 0));
        assert!(queue.cut(now).is_none());
        assert_eq!(queue.waiting_bytes, 0);
    }
}
