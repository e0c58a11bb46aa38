//! Sets up, or changes, what opens reviews by itself.

use std::time::Duration;

use super::check::{expected, invalid};
use super::open_review;
use super::step::Step;
use super::{Expect, Rejection, Reply};
use crate::id::{Index, Name};
use crate::limits::{REVIEW_CERTIFIES_MAX, REVIEW_LENGTH_MIN, TRIGGER_GATHER_MAX, TRIGGERS_MAX};
use crate::review::Terms;
use crate::review::trigger::{Event, Trigger};
use crate::time::LogTime;

pub(super) fn apply(
    step: &mut Step<'_>,
    name: Name,
    event: Event,
    terms: Terms,
    gather: Duration,
    expect: Expect,
) -> Result<Reply, Rejection> {
    let old = step.state.triggers.get(&name).cloned();
    expected(expect, old.as_ref().map(|trigger| trigger.version), || format!("trigger {name}"))?;
    if old.is_none() && step.state.triggers.len() >= TRIGGERS_MAX {
        return Err(Rejection::TooMany { limit: TRIGGERS_MAX as u32, scope: "triggers".into() });
    }
    open_review::check(step, &terms)?;
    check(&event, &terms, gather)?;
    let by = step.actor_name();
    let mut new =
        Trigger { name, event, terms, gather, by, pending: None, looked: LogTime::default(), last: None, version: Index::default() };
    if let Some(old) = old {
        if (&old.event, &old.terms, old.gather) == (&new.event, &new.terms, new.gather) {
            return Ok(Reply::Done { version: old.version });
        }
        new.last = old.last;
        // What it waited for before is what it waits for: nothing of that is lost.
        if old.event == new.event {
            (new.pending, new.looked) = (old.pending, old.looked);
        } else {
            step.forget_volumes(|(trigger, _)| *trigger == old.name);
        }
    }
    new.version = step.index;
    step.put_trigger(new);
    step.begin_usage();
    Ok(step.done())
}

fn check(event: &Event, terms: &Terms, gather: Duration) -> Result<(), Rejection> {
    if terms.repeats.is_some() {
        return Err(invalid("terms.repeats", "is not for reviews that a trigger opens"));
    }
    if gather > TRIGGER_GATHER_MAX {
        return Err(invalid("gather", format!("is longer than {} seconds", TRIGGER_GATHER_MAX.as_secs())));
    }
    let span = |field: &str, span: Duration| {
        let whole = span.subsec_nanos().is_multiple_of(1_000_000);
        if whole && (REVIEW_LENGTH_MIN..=REVIEW_CERTIFIES_MAX).contains(&span) {
            return Ok(());
        }
        let (min, max) = (REVIEW_LENGTH_MIN.as_secs(), REVIEW_CERTIFIES_MAX.as_secs());
        Err(invalid(field, format!("is in milliseconds, and between {min} and {max} seconds")))
    };
    match event {
        Event::Denials { every: 0 } => Err(invalid("event.denials.every", "is at least 1")),
        Event::Unused { span: unused } => span("event.unused.span", *unused),
        Event::Volume { factor: 0, .. } => Err(invalid("event.volume.factor", "is at least 1")),
        Event::Volume { window, .. } => span("event.volume.window", *window),
        Event::OwnerLeft
        | Event::JobChanged
        | Event::TokenIssued
        | Event::CredentialChanged
        | Event::HighRiskGrant
        | Event::Denials { .. }
        | Event::Finding { .. } => Ok(()),
    }
}
