//! Notes how far a sink was delivered to. Compared and set: of two nodes that both think they deliver, one finds out.

use super::check::{invalid, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Index, Name};
use crate::limits::SHORT_TEXT_MAX;
use crate::sink::{Cursor, Failing};

/// What the deliverer reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    pub sink: Name,
    /// Of the sink that was delivered to.
    pub created: Index,
    pub from: Cursor,
    pub to: Cursor,
    /// Messages delivered, and passed over, between the two.
    pub delivered: u64,
    pub abandoned: u64,
    /// Why the message at `to` was not delivered.
    pub error: Option<String>,
}

pub(super) fn apply(step: &mut Step<'_>, advance: Advance) -> Result<Reply, Rejection> {
    let gone = || not_found(format!("sink {}", advance.sink));
    let mut progress = step.state.sink_progress.get(&advance.sink).cloned().ok_or_else(gone)?;
    if progress.created != advance.created {
        return Err(gone());
    }
    if progress.cursor != advance.from {
        return Err(invalid("from", "the cursor stands elsewhere: another node delivers"));
    }
    if !advance.to.is_beyond(&advance.from) {
        return Err(invalid("to", "a cursor does not go back"));
    }
    let moved = advance.to != advance.from;
    let before = progress.failing.take().filter(|_| !moved);
    progress.failing = advance.error.map(|error| {
        let error = error.chars().take(SHORT_TEXT_MAX).collect();
        let (since, attempts) = before.map_or((step.now, 0), |failing| (failing.since, failing.attempts));
        Failing { since, attempts: attempts.saturating_add(1), error }
    });
    progress.cursor = advance.to;
    progress.delivered = progress.delivered.saturating_add(advance.delivered);
    progress.abandoned = progress.abandoned.saturating_add(advance.abandoned);
    if advance.delivered > 0 {
        progress.last_delivered = Some(step.now);
    }
    step.put_progress(progress);
    Ok(step.done())
}
