//! One sink, delivered to by the node that leads.

use std::sync::Arc;
use std::time::Duration;

use domain::command::{Advance, Command, Reply};
use domain::sink::{Cursor, Destination, Progress, Sink, StreamedLog};
use planted::{Point, reach};
use record_formats::{Formatter, RecordFormat};
use tokio::time::{Instant, sleep};

use crate::address::Allowed;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, BATCH_MESSAGES, PRIMED, SKIP_NOTED, TURN};
use crate::message::{Content, Delivery, Message};
use crate::metrics;
use crate::scan::{Scanned, scan};
use crate::sink::Receiver;
use crate::source::Source;

/// Delivers until the sink changes, this node leads no longer, or another one turns out to deliver. Whoever runs it
/// starts it again.
pub(crate) async fn work(source: Arc<dyn Source>, sink: Sink, allowed: Arc<Allowed>) {
    let name = sink.name.clone();
    if let Err(why) = Worker::run(source, sink, allowed).await {
        tracing::debug!(sink = %name, why, "delivering begins again");
    }
}

struct Worker {
    source: Arc<dyn Source>,
    sink: Sink,
    allowed: Arc<Allowed>,
    receiver: Receiver,
    /// As noted in the state.
    noted: Cursor,
    /// Beyond it by what needed no delivery.
    position: Cursor,
    /// What may have been sent by whoever delivered before: so many messages, and none beyond here.
    doubtful: (usize, Cursor),
    backoff: Duration,
}

impl Worker {
    async fn run(source: Arc<dyn Source>, sink: Sink, allowed: Arc<Allowed>) -> Result<(), String> {
        let noted = progress(&*source, &sink)?.cursor;
        let secret = source.open(&sink)?;
        let receiver = Receiver::new(&sink, secret, formatter(&*source, &sink, noted.audit).await?);
        let end = Cursor { control: source.size(StreamedLog::Control), audit: source.size(StreamedLog::Audit), time: source.now() };
        let position = Cursor { control: noted.control.min(end.control), audit: noted.audit.min(end.audit), time: noted.time };
        let doubtful = (BATCH_MESSAGES, end);
        let mut worker = Worker { source, sink, allowed, receiver, noted, position, doubtful, backoff: BACKOFF_MIN };
        while worker.source.leads() {
            worker.turn().await?;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), String> {
        let Scanned { mut messages, position } = scan(&*self.source, &self.sink, self.position).await?;
        self.show(false);
        if messages.is_empty() {
            self.position = position;
            if position.control.saturating_sub(self.noted.control) + position.audit.saturating_sub(self.noted.audit) > SKIP_NOTED {
                self.note(Delivery::default(), 0).await?;
            }
            sleep(TURN).await;
            return Ok(());
        }
        for message in &mut messages {
            message.redelivered = self.doubtful.0 > 0 && was_there(&self.doubtful.1, message);
            self.doubtful.0 = self.doubtful.0.saturating_sub(1);
        }
        self.deliver(messages, position).await
    }

    /// Delivers a batch whole, however long it takes.
    async fn deliver(&mut self, mut messages: Vec<Message>, end: Cursor) -> Result<(), String> {
        while !messages.is_empty() {
            if !self.source.leads() {
                return Ok(());
            }
            reach(Point::SinkBeforeDelivery);
            let delivery = self.receiver.deliver(&*self.source, &messages, &self.allowed).await;
            let last = messages.drain(..delivery.delivered.min(messages.len())).next_back();
            if let Some(last) = last {
                self.position = last.after;
                self.backoff = BACKOFF_MIN;
            }
            if messages.is_empty() {
                self.position = end;
            }
            metrics::delivered(self.sink.name.as_str(), delivery.delivered as u64);
            let failed = delivery.error.is_some();
            if failed {
                metrics::failed(self.sink.name.as_str());
                tracing::warn!(sink = %self.sink.name, error = delivery.error, "a delivery failed; it is tried again");
            }
            self.show(failed);
            reach(Point::SinkDelivered);
            self.note(delivery, 0).await?;
            reach(Point::SinkCursorMoved);
            if failed {
                // The receiver may have got it although we were not told so.
                messages.iter_mut().take(1).for_each(|message| message.redelivered = true);
                self.wait_or_give_up(&mut messages, end).await?;
            }
        }
        Ok(())
    }

    async fn wait_or_give_up(&mut self, messages: &mut Vec<Message>, end: Cursor) -> Result<(), String> {
        let failing = progress(&*self.source, &self.sink)?.failing;
        let overdue = failing.zip(self.sink.terms.give_up).is_some_and(|(failing, after)| self.source.now() >= failing.since.after(after));
        if overdue && !messages.is_empty() {
            let given_up = messages.remove(0);
            tracing::error!(sink = %self.sink.name, message = given_up.id, "a message is given up");
            metrics::abandoned(self.sink.name.as_str(), 1);
            self.position = if messages.is_empty() { end } else { given_up.after };
            self.note(Delivery::default(), 1).await?;
            return Ok(());
        }
        let until = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        while Instant::now() < until && self.source.leads() {
            sleep(TURN.min(until - Instant::now())).await;
        }
        Ok(())
    }

    /// Moves the replicated cursor to where this worker is. When that does not work somebody else may deliver: the state
    /// says where to go on.
    async fn note(&mut self, delivery: Delivery, abandoned: u64) -> Result<(), String> {
        let advance = Advance {
            sink: self.sink.name.clone(),
            created: self.sink.created,
            from: self.noted,
            to: self.position,
            delivered: delivery.delivered as u64,
            abandoned: abandoned + delivery.rejected,
            error: delivery.error,
        };
        match self.source.propose(Command::AdvanceSink(advance)).await? {
            Reply::Rejected(why) => Err(why.to_string()),
            _ => {
                self.noted = self.position;
                Ok(())
            }
        }
    }

    fn show(&self, failing: bool) {
        let lag = |log, at: u64| self.source.size(log).saturating_sub(at);
        let behind = lag(StreamedLog::Control, self.position.control) + lag(StreamedLog::Audit, self.position.audit);
        metrics::stands(self.sink.name.as_str(), behind, failing);
    }
}

/// Whether there was anything to send already when the logs ended there.
fn was_there(end: &Cursor, message: &Message) -> bool {
    let at = match &message.content {
        Content::Event(event) => event.at,
        Content::Record(_) => end.time,
    };
    message.after.control <= end.control && message.after.audit <= end.audit && at <= end.time
}

fn progress(source: &dyn Source, sink: &Sink) -> Result<Progress, String> {
    let state = source.state();
    let found = state.sink_progress.get(&sink.name).filter(|progress| progress.created == sink.created);
    found.cloned().ok_or_else(|| "the sink is gone".to_owned())
}

/// What writes the sink's records, knowing the sessions that were open at `before`.
async fn formatter(source: &dyn Source, sink: &Sink, before: u64) -> Result<Formatter, String> {
    let format = match &sink.terms.destination {
        Destination::Syslog { format, .. } => *format,
        Destination::Webhook { .. } | Destination::Otlp { .. } | Destination::Slack | Destination::Teams | Destination::Mail { .. } => {
            RecordFormat::Json
        }
    };
    let mut formatter = Formatter::new(format);
    if sink.terms.selection.logs.contains(&StreamedLog::Audit) {
        let mut from = before.saturating_sub(PRIMED);
        while from < before {
            let leaves = source.leaves(StreamedLog::Audit, from, before - from).await?;
            if leaves.is_empty() {
                break;
            }
            for leaf in leaves {
                formatter.line(&source.describe(StreamedLog::Audit, from, &leaf));
                from += 1;
            }
        }
    }
    Ok(formatter)
}

impl Content {
    /// What a stream holds; `None` for a notification.
    pub(crate) fn record(&self) -> Option<&proto::admin::AuditRecord> {
        match self {
            Content::Record(record) => Some(record),
            Content::Event(_) => None,
        }
    }
}
