//! Decides which bodies go. What was planned under other rules or holds than those of now is refused, so the log says of
//! every hold and every plan which came first.

use super::check::{invalid, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::Index;
use crate::limits::PRUNED_PER_PLAN_MAX;
use crate::retention::{Plan, Pruning, RecordClass, Runs};
use crate::time::LogTime;

pub(super) fn apply(
    step: &mut Step<'_>,
    class: RecordClass,
    seen: Index,
    before: LogTime,
    through: u64,
    leaves: Runs,
) -> Result<Reply, Rejection> {
    let current = step.state.retention.changed;
    if seen != current {
        return Err(Rejection::Conflict { what: "retention".into(), expected: seen, current });
    }
    let rule = step.state.retention_rules.get(&class).ok_or_else(|| not_found(format!("a retention rule for {class}")))?;
    let Some(keep) = rule.keep else { return Err(invalid("class", format!("{class} are kept for ever"))) };
    if before.after(keep) > step.now {
        return Err(invalid("before", format!("{class} are kept for longer")));
    }
    if leaves.count() > PRUNED_PER_PLAN_MAX {
        return Err(invalid("leaves", format!("are more than {PRUNED_PER_PLAN_MAX}")));
    }
    let old = step.state.retention.progress.get(&class);
    if leaves.end() > through || old.is_some_and(|old| through < old.through) {
        return Err(invalid("through", "is not as far as what goes, or as what was looked at before"));
    }
    let last = old.and_then(|old| old.last.clone());
    let pruned = old.map_or(0, |old| old.pruned) + leaves.count();
    let last = if leaves.is_empty() { last } else { Some(Plan { index: step.index, at: step.now, before, leaves }) };
    step.put_pruning(Pruning { class, through, pruned, last });
    Ok(step.done())
}
