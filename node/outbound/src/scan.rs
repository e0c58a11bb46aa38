//! From the cursor on: what a sink is to be sent.

use domain::audit::leaf::ControlLeaf;
use domain::sink::{Cursor, Selection, Sink, StreamedLog};

use crate::event;
use crate::limits::{BATCH_MESSAGES, SCAN_LEAVES};
use crate::message::{Content, Message, id};
use crate::source::Source;

/// What was found, and how far was looked.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) messages: Vec<Message>,
    pub(crate) position: Cursor,
}

/// The next messages of a sink from `at` on, at most a batch. The same leaves give the same messages, whoever scans.
///
/// # Errors
/// When a log cannot be read.
pub(crate) async fn scan(source: &dyn Source, sink: &Sink, at: Cursor) -> Result<Scanned, String> {
    let mut scanned = Scanned { messages: Vec::new(), position: at };
    let selection = &sink.terms.selection;
    let identity = source.identity();
    passed(source, selection, &identity, &mut scanned);
    if !selection.events.is_empty() || selection.logs.contains(&StreamedLog::Control) {
        control(source, selection, &identity, &mut scanned).await?;
    } else {
        scanned.position.control = source.size(StreamedLog::Control).max(at.control);
    }
    if selection.logs.contains(&StreamedLog::Audit) {
        audit(source, &identity, &mut scanned).await?;
    } else {
        scanned.position.audit = source.size(StreamedLog::Audit).max(at.audit);
    }
    Ok(scanned)
}

/// What time alone brought. Of several at one time, only the last moves the cursor to that time.
fn passed(source: &dyn Source, selection: &Selection, identity: &(String, u64), scanned: &mut Scanned) {
    let now = source.now();
    let state = source.state();
    // What the sweep of that time has not been applied for yet is told in the next turn.
    let until = now.min(state.now);
    if selection.events.is_empty() {
        scanned.position.time = scanned.position.time.max(until);
        return;
    }
    let found = event::by_time(&state, scanned.position.time, until);
    let found: Vec<_> = found.into_iter().filter(|(_, kind, _)| selection.events.contains(kind)).collect();
    let times: Vec<_> = found.iter().map(|(_, _, event)| event.at).collect();
    for (n, (place, _, event)) in found.into_iter().enumerate() {
        if scanned.messages.len() >= BATCH_MESSAGES {
            return;
        }
        let last_of_its_time = times.get(n + 1) != Some(&event.at);
        if last_of_its_time {
            scanned.position.time = event.at;
        } else {
            scanned.position.time.0 = scanned.position.time.0.max(event.at.0.saturating_sub(1));
        }
        let id = id("evt", identity, &place);
        scanned.messages.push(Message { id, content: Content::Event(event), after: scanned.position, redelivered: false });
    }
    scanned.position.time = scanned.position.time.max(until);
}

async fn control(source: &dyn Source, selection: &Selection, identity: &(String, u64), scanned: &mut Scanned) -> Result<(), String> {
    let room = BATCH_MESSAGES.saturating_sub(scanned.messages.len());
    if room == 0 {
        return Ok(());
    }
    // Before the leaves are read: an event is told with what was known when it happened or later.
    let leaves = source.leaves(StreamedLog::Control, scanned.position.control, SCAN_LEAVES).await?;
    let state = source.state();
    for leaf in leaves {
        // An entry may be two messages: the notification, and the record of a stream.
        if scanned.messages.len() + 2 > BATCH_MESSAGES {
            return Ok(());
        }
        let number = scanned.position.control;
        let found = ControlLeaf::decode(&leaf).ok().and_then(|leaf| event::of_leaf(&leaf, &state));
        let streamed = selection.logs.contains(&StreamedLog::Control);
        if let Some((_, event)) = found.filter(|(kind, _)| selection.events.contains(kind)) {
            if !streamed {
                scanned.position.control = number + 1;
            }
            let id = id("evt", identity, &format!("control-{number}"));
            scanned.messages.push(Message { id, content: Content::Event(event), after: scanned.position, redelivered: false });
        }
        scanned.position.control = number + 1;
        if streamed {
            record(source, StreamedLog::Control, number, &leaf, identity, scanned);
        }
    }
    Ok(())
}

async fn audit(source: &dyn Source, identity: &(String, u64), scanned: &mut Scanned) -> Result<(), String> {
    let room = BATCH_MESSAGES.saturating_sub(scanned.messages.len());
    let leaves = source.leaves(StreamedLog::Audit, scanned.position.audit, room as u64).await?;
    for leaf in leaves {
        let number = scanned.position.audit;
        scanned.position.audit = number + 1;
        record(source, StreamedLog::Audit, number, &leaf, identity, scanned);
    }
    Ok(())
}

fn record(source: &dyn Source, log: StreamedLog, number: u64, leaf: &[u8], identity: &(String, u64), scanned: &mut Scanned) {
    let record = source.describe(log, number, leaf);
    let id = id("rec", identity, &format!("{}-{number}", log.as_str()));
    scanned.messages.push(Message { id, content: Content::Record(Box::new(record)), after: scanned.position, redelivered: false });
}
