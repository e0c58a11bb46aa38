//! Says how long the records of a class are kept. Keeping them shorter is for ever, so it takes a reason.

use std::time::Duration;

use planted::{Bug, planted};

use super::check::{invalid, long};
use super::step::Step;
use super::{Rejection, Reply};
use crate::limits::{DAY, RETENTION_MAX};
use crate::retention::{RecordClass, Rule};

pub(super) fn apply(step: &mut Step<'_>, class: RecordClass, keep: Option<Duration>, reason: String) -> Result<Reply, Rejection> {
    long("reason", &reason)?;
    let kept = |class: RecordClass| step.state.retention_rules.get(&class).and_then(|rule| rule.keep);
    let old = step.state.retention_rules.get(&class);
    if let Some(old) = old.filter(|old| old.keep == keep && (reason.is_empty() || old.reason == reason)) {
        return Ok(Reply::Done { version: old.version });
    }
    if let Some(keep) = keep {
        let least = class.keep_min();
        if keep < least && !planted(Bug::RetentionWithoutMinimum) {
            return Err(invalid("keep", format!("{class} are kept for at least {} days", least.as_secs() / DAY.as_secs())));
        }
        if keep > RETENTION_MAX || !keep.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(invalid("keep", format!("is in milliseconds, and at most {} days", RETENTION_MAX.as_secs() / DAY.as_secs())));
        }
        if kept(class).is_none_or(|before| keep < before) && reason.trim().is_empty() {
            return Err(invalid("reason", "must say why records are kept for a shorter time"));
        }
    }
    // Who acted is told by the admission: it must not go before what it explains.
    let with = |of: RecordClass| if of == class { keep } else { kept(of) };
    let outlives = |longer: Option<Duration>, shorter: Option<Duration>| match (longer, shorter) {
        (None, _) => true,
        (Some(longer), Some(shorter)) => longer >= shorter,
        (Some(_), None) => false,
    };
    for of in [RecordClass::Operations, RecordClass::Statements] {
        if !outlives(with(RecordClass::Sessions), with(of)) {
            return Err(invalid("keep", format!("sessions are kept at least as long as {of}, which are of them")));
        }
    }
    let rule = Rule { class, keep, reason, by: step.actor_name(), at: step.now, version: step.index };
    step.put_retention_rule(rule);
    step.retention_changed(true);
    Ok(step.done())
}
