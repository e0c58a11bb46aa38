//! The relay: one task, both directions, a closed set of events.
//!
//! ```text
//!            client_in ─► machine.on_client ──► outward ─[records]─[gate]─► target
//!  client                       │ judge, intent
//!            homeward ◄─[records]── machine.on_upstream ◄── upstream_in
//!
//!  other events: a knock on the gate (revoked, frozen, cancel, drain), an errand's answer, records committed, a deadline
//! ```
//! Back-pressure is not reading: a side is read only while what was read before has found room.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use domain::member::Cancelled;
use domain::refusal::Refusal;
use planted::{Point, reach};
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use crate::authority::Recorded;
use crate::gate::Stopped;
use crate::limits::{
    CANCEL_DEADLINE, FAREWELL_DEADLINE, LEASE_DEADLINE, PARTING_DEADLINE, READ_CHUNK_MAX, READ_CHUNK_MIN, RECORD_DEADLINE,
    TOWARDS_CLIENT_MAX, TOWARDS_UPSTREAM_MAX,
};
use crate::metrics::meters;
use crate::protocol::{Activity, Canceller, Connected, Machine};
use crate::records;
use crate::road::{End, Road};
use crate::tasks::Kind;
use socket::Stream;

/// How soon a write that found no lease is tried again.
const LEASE_POLL: Duration = Duration::from_millis(20);

pub(crate) struct Relay {
    client: Stream,
    upstream: Stream,
    machine: Box<dyn Machine>,
    canceller: Arc<dyn Canceller>,
    road: Road,
    recorded: watch::Receiver<Recorded>,
    timer: Pin<Box<Sleep>>,
    /// Since when releasable bytes wait for a lease.
    lease_missing: Option<Instant>,
    parting: Option<Instant>,
    client_ended: bool,
    /// The target is gone; what it said last still waits for a record.
    upstream_ended: bool,
    client_chunk: usize,
    upstream_chunk: usize,
}

/// What one round of looking at everything came to.
enum Round {
    Progress,
    Nothing,
    Over(End),
}

impl Relay {
    pub(crate) fn new(connected: Connected, mut road: Road) -> Self {
        road.client_in = connected.client_read;
        road.upstream_in = connected.upstream_read;
        Relay {
            client: connected.client,
            upstream: connected.upstream,
            machine: connected.machine,
            canceller: connected.canceller,
            recorded: road.parts.authority.recorded(),
            road,
            timer: Box::pin(tokio::time::sleep(RECORD_DEADLINE)),
            lease_missing: None,
            parting: None,
            client_ended: false,
            upstream_ended: false,
            client_chunk: READ_CHUNK_MIN,
            upstream_chunk: READ_CHUNK_MIN,
        }
    }

    /// Relays until somebody ends the session, and cleans up behind it.
    pub(crate) async fn run(mut self) -> End {
        self.machine.greet(&mut self.road);
        self.machine.on_client(&mut self.road);
        self.machine.on_upstream(&mut self.road);
        let end = self.pump().await;
        self.finish(end).await
    }

    async fn pump(&mut self) -> End {
        let mut commits = self.recorded.clone();
        loop {
            let mut changed = std::pin::pin!(commits.changed());
            let end = poll_fn(|cx| {
                loop {
                    match self.round(cx) {
                        Round::Over(end) => return Poll::Ready(Some(end)),
                        Round::Progress => {}
                        Round::Nothing if self.waits_for_records() => {
                            // Ready means `changed` is used up: begin anew with a fresh one.
                            return changed.as_mut().poll(cx).map(|_| None);
                        }
                        Round::Nothing => return Poll::Pending,
                    }
                }
            })
            .await;
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn waits_for_records(&self) -> bool {
        let through = self.recorded.borrow().through;
        self.road.ledger.is_waiting(through) && (self.road.outward.waits(through) || self.road.homeward.waits(through))
    }

    /// Looks at every source once. Order matters: what stops the session comes before what moves it.
    fn round(&mut self, cx: &mut Context<'_>) -> Round {
        let mut progress = false;
        if self.road.live.gate.poll_knocked(cx).is_ready() {
            progress = true;
            if let Some(end) = self.knocked() {
                return Round::Over(end);
            }
        }
        if let Some(errand) = &mut self.road.errand
            && let Poll::Ready(answer) = errand.as_mut().poll(cx)
        {
            self.road.errand = None;
            self.machine.on_answer(answer, &mut self.road);
            self.machine.on_client(&mut self.road);
            progress = true;
        }
        let through = self.recorded.borrow().through;
        if let Some(waited) = self.road.ledger.committed(through, Instant::now) {
            meters().record_wait.record(waited.as_secs_f64());
        }
        for step in [Self::read_client, Self::write_upstream, Self::read_upstream, Self::write_client] {
            match step(self, cx, through) {
                Round::Progress => progress = true,
                Round::Nothing => {}
                Round::Over(end) => return Round::Over(end),
            }
            if let Some(end) = self.road.end.take() {
                return Round::Over(end);
            }
        }
        self.road.live.gate.set_activity(self.activity());
        if self.road.live.gate.is_draining() && self.is_quiet() {
            return Round::Over(End::Us(Refusal::Draining));
        }
        match self.deadlines(cx, through) {
            Round::Nothing if progress => Round::Progress,
            other => other,
        }
    }

    fn activity(&self) -> Activity {
        self.machine.activity(self.road.outward.written())
    }

    fn is_quiet(&self) -> bool {
        self.activity() == Activity::Idle && self.road.outward.is_empty() && self.road.homeward.is_empty() && !self.road.has_errand()
    }

    fn knocked(&mut self) -> Option<End> {
        if let Some(refusal) = self.road.live.gate.shut_reason() {
            return Some(End::Policy(refusal));
        }
        if self.road.live.gate.take_cancel() && !self.machine.on_cancel(&mut self.road) && self.activity() != Activity::Idle {
            self.cancel_upstream();
        }
        None
    }

    fn cancel_upstream(&self) {
        let canceller = self.canceller.clone();
        self.road.parts.tasks.spawn(Kind::Cancel, async move {
            if !matches!(tokio::time::timeout(CANCEL_DEADLINE, canceller.cancel()).await, Ok(Ok(()))) {
                tracing::info!("a cancel request did not reach the target");
            }
        });
    }

    fn read_client(&mut self, cx: &mut Context<'_>, _through: u64) -> Round {
        let queued = self.road.client_in.len() + self.road.outward.len();
        if self.client_ended || self.machine.is_parting() || queued >= TOWARDS_UPSTREAM_MAX {
            return Round::Nothing;
        }
        match read(&mut self.client, &mut self.road.client_in, &mut self.client_chunk, cx) {
            Poll::Pending => Round::Nothing,
            Poll::Ready(Ok(true)) => {
                self.machine.on_client(&mut self.road);
                Round::Progress
            }
            Poll::Ready(Ok(false)) => {
                self.client_ended = true;
                self.machine.on_client_end(&mut self.road);
                Round::Progress
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "reading from the client failed");
                Round::Over(End::Client)
            }
        }
    }

    fn read_upstream(&mut self, cx: &mut Context<'_>, through: u64) -> Round {
        if self.upstream_ended {
            return if self.road.homeward.waits(through) { Round::Nothing } else { Round::Over(End::Upstream) };
        }
        if self.road.upstream_in.len() + self.road.homeward.len() >= TOWARDS_CLIENT_MAX {
            return Round::Nothing;
        }
        match read(&mut self.upstream, &mut self.road.upstream_in, &mut self.upstream_chunk, cx) {
            Poll::Pending => Round::Nothing,
            Poll::Ready(Ok(true)) => {
                self.machine.on_upstream(&mut self.road);
                // Replies may be what the machine stopped reading its client for.
                self.machine.on_client(&mut self.road);
                Round::Progress
            }
            Poll::Ready(Ok(false)) => self.upstream_end(),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "reading from the target failed");
                self.upstream_end()
            }
        }
    }

    fn upstream_end(&mut self) -> Round {
        if self.machine.is_parting() {
            return Round::Over(End::Client);
        }
        self.upstream_ended = true;
        Round::Progress
    }

    /// Everything that goes to a target goes through here, and each write through the gate.
    fn write_upstream(&mut self, cx: &mut Context<'_>, through: u64) -> Round {
        let mut progress = false;
        self.road.live.gate.set_activity(self.activity());
        if self.upstream_ended {
            return Round::Nothing;
        }
        loop {
            let bytes = self.road.outward.releasable(through);
            let flush_only = bytes.is_empty();
            if flush_only && !self.upstream.has_unsent() {
                break;
            }
            let upstream = &mut self.upstream;
            let written = self.road.live.gate.forward(self.road.parts.authority.as_ref(), || {
                let written = if flush_only {
                    Pin::new(&mut *upstream).poll_flush(cx).map_ok(|()| 0)
                } else {
                    Pin::new(&mut *upstream).poll_write(cx, bytes)
                };
                (written, upstream.has_unsent())
            });
            match written {
                Ok(Poll::Ready(Ok(count))) => {
                    self.lease_missing = None;
                    self.road.outward.advance(count);
                    progress = true;
                    if flush_only {
                        break;
                    }
                }
                Ok(Poll::Pending) => break,
                Ok(Poll::Ready(Err(error))) => {
                    tracing::debug!(%error, "writing to the target failed");
                    return Round::Over(End::Upstream);
                }
                Err(stopped) => match self.stopped(&stopped) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(end) => return Round::Over(end),
                },
            }
        }
        if !progress {
            return Round::Nothing;
        }
        if self.road.outward.is_empty() {
            self.road.forwarded_all();
        }
        // There is room again, which the machine may have stopped for.
        if !self.road.client_in.is_empty() {
            self.machine.on_client(&mut self.road);
        }
        Round::Progress
    }

    /// The gate let nothing through. `Ok(true)`: try again now.
    fn stopped(&mut self, stopped: &Stopped) -> Result<bool, End> {
        match stopped {
            Stopped::Shut(refusal) => Err(End::Policy(refusal.clone())),
            Stopped::Stale => self.road.renew_stale().map(|()| true).map_err(End::Policy),
            Stopped::NoLease => {
                self.lease_missing.get_or_insert_with(Instant::now);
                Ok(false)
            }
            Stopped::Late(late) => {
                meters().late_sends.increment(1);
                records::late_send(&self.road.parts, &self.road.live, self.road.operations(), *late);
                Err(End::Us(Refusal::NoLease))
            }
        }
    }

    fn write_client(&mut self, cx: &mut Context<'_>, through: u64) -> Round {
        let mut progress = false;
        loop {
            let bytes = self.road.homeward.releasable(through);
            if bytes.is_empty() {
                break;
            }
            match Pin::new(&mut self.client).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Round::Over(End::Client),
                Poll::Ready(Ok(count)) => {
                    self.road.homeward.advance(count);
                    progress = true;
                }
                Poll::Pending => break,
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "writing to the client failed");
                    return Round::Over(End::Client);
                }
            }
        }
        if self.client.has_unsent()
            && let Poll::Ready(Err(_)) = Pin::new(&mut self.client).poll_flush(cx)
        {
            return Round::Over(End::Client);
        }
        if progress && !self.road.upstream_in.is_empty() {
            self.machine.on_upstream(&mut self.road);
        }
        if progress { Round::Progress } else { Round::Nothing }
    }

    /// Acts on deadlines that are over, and arms the timer for the next one.
    fn deadlines(&mut self, cx: &mut Context<'_>, through: u64) -> Round {
        if self.machine.is_parting() && self.parting.is_none() {
            self.parting = Some(Instant::now() + PARTING_DEADLINE);
        }
        let Some(next) = self.next_deadline(through) else { return Round::Nothing };
        // Timers are armed seldom: one that is early is looked at again, one that is late is moved.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Round::Nothing;
        }
        let now = Instant::now();
        if self.parting.is_some_and(|end| end <= now) {
            return Round::Over(End::Client);
        }
        if self.lease_missing.is_some_and(|since| since + LEASE_DEADLINE <= now) {
            self.lease_missing = None;
            return self.not_forwarded(&Refusal::NoLease, through);
        }
        if self.record_deadline(through).is_some_and(|end| end <= now) {
            meters().not_recorded.increment(1);
            return self.not_forwarded(&Refusal::NotRecorded, through);
        }
        Round::Progress
    }

    fn next_deadline(&self, through: u64) -> Option<Instant> {
        let lease = self.lease_missing.map(|since| (Instant::now() + LEASE_POLL).min(since + LEASE_DEADLINE));
        [lease, self.record_deadline(through), self.parting].into_iter().flatten().min()
    }

    fn record_deadline(&self, through: u64) -> Option<Instant> {
        let waits = self.road.outward.waits(through) || self.road.homeward.waits(through);
        self.road.ledger.oldest().filter(|_| waits).map(|since| since + RECORD_DEADLINE)
    }

    /// What waits in `outward` will not be forwarded. The session goes on only if nothing else is under way.
    fn not_forwarded(&mut self, refusal: &Refusal, through: u64) -> Round {
        let torn = !self.road.outward.is_at_boundary() || self.upstream.has_unsent();
        self.road.outward.discard();
        self.road.forwarded_all();
        let can_go_on = !torn && !self.road.homeward.waits(through) && self.machine.on_not_forwarded(refusal, &mut self.road);
        self.road.ledger.forget();
        if can_go_on { Round::Progress } else { Round::Over(End::Us(refusal.clone())) }
    }

    /// The session is over: nothing more is forwarded, the target is cancelled, the client told.
    async fn finish(mut self, end: End) -> End {
        let gate = &self.road.live.gate;
        gate.set_activity(self.activity());
        let through = self.recorded.borrow().through;
        match &end {
            End::Client if self.machine.is_parting() => {
                gate.detach();
                let _ = socket2::SockRef::from(self.upstream.tcp()).set_linger(None);
                let _ = poll_fn(|cx| Pin::new(&mut self.upstream).poll_shutdown(cx)).await;
                self.say(through).await;
            }
            End::Client => {}
            End::Upstream => {
                if self.road.homeward.cut(through) {
                    self.machine.on_upstream_lost(&mut self.road);
                }
                self.say(through).await;
            }
            End::Policy(refusal) | End::Us(refusal) => {
                gate.shut(refusal.clone());
                let cancelling = self.cancel_at_end();
                if self.road.homeward.cut(through) {
                    self.machine.farewell(refusal, &mut self.road);
                }
                tokio::join!(cancelling, async { self.say(through).await });
            }
        }
        self.machine.close(&mut self.road);
        records::session_end(&self.road.parts, &self.road.live, &end, self.road.operations());
        end
    }

    /// Cancels what runs at the target and says in the receipt whether that worked.
    fn cancel_at_end(&self) -> impl Future<Output = ()> + use<> {
        let busy = self.activity() != Activity::Idle;
        let (canceller, live) = (self.canceller.clone(), self.road.live.clone());
        async move {
            if !busy {
                live.gate.set_cancelled(Cancelled::Idle);
                return;
            }
            reach(Point::CancelBefore);
            let outcome = match tokio::time::timeout(CANCEL_DEADLINE, canceller.cancel()).await {
                Ok(Ok(())) => Cancelled::Cancelled,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the target could not be told to cancel");
                    Cancelled::Unknown
                }
                Err(_late) => Cancelled::Unknown,
            };
            live.gate.set_cancelled(outcome);
            reach(Point::CancelSettled);
        }
    }

    /// Writes what may leave to the client, for as long as a farewell may take.
    async fn say(&mut self, through: u64) {
        let (client, homeward) = (&mut self.client, &mut self.road.homeward);
        let saying = poll_fn(|cx| {
            loop {
                let bytes = homeward.releasable(through);
                if bytes.is_empty() {
                    return Pin::new(&mut *client).poll_flush(cx).map(|_| ());
                }
                match Pin::new(&mut *client).poll_write(cx, bytes) {
                    Poll::Ready(Ok(count)) if count > 0 => homeward.advance(count),
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = tokio::time::timeout(FAREWELL_DEADLINE, saying).await;
        let _ = tokio::time::timeout(FAREWELL_DEADLINE, poll_fn(|cx| Pin::new(&mut self.client).poll_shutdown(cx))).await;
    }
}

/// One read. `Ok(false)` is the end of the stream. `chunk` follows the traffic; who has nothing to say holds no buffer.
fn read(stream: &mut Stream, into: &mut BytesMut, chunk: &mut usize, cx: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
    into.reserve(*chunk);
    let room = into.capacity() - into.len();
    let count = match poll_read_buf(Pin::new(stream), cx, into) {
        Poll::Ready(count) => count?,
        Poll::Pending => {
            if into.is_empty() {
                *into = BytesMut::new();
            }
            return Poll::Pending;
        }
    };
    if count == room {
        *chunk = (*chunk * 2).min(READ_CHUNK_MAX);
    } else if count < *chunk / 4 {
        *chunk = (*chunk / 2).max(READ_CHUNK_MIN);
    }
    Poll::Ready(Ok(count > 0))
}
