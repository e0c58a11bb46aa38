//! Trigger: opens a review by itself when something happens.
//!
//! What happens is seen where it is applied, on every node alike, by comparing the state before and after. Those it
//! concerns gather for a while, so that a change of fifty agents is one review; then a tick opens it. Whom an open review
//! of the same trigger is about already waits for no second one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Risk, Terms};
use crate::id::{Index, Name, ReviewId};
use crate::limits::{TRIGGER_LOOK_MAX, TRIGGER_LOOK_MIN};
use crate::time::LogTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Also of the reviews it opens.
    pub name: Name,
    pub event: Event,
    /// Of the reviews it opens: their scope, cut down to those it happened to.
    pub terms: Terms,
    /// From the first event to the opening.
    pub gather: Duration,
    /// Who set it up: the reviews are opened in their name.
    pub by: Name,
    pub pending: Option<Pending>,
    /// Up to when it was looked for what only time tells.
    pub looked: LogTime,
    pub last: Option<Opening>,
    pub version: Index,
}

/// What a trigger waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The person who owns an agent, or its job, was switched off; or an agent got another owner.
    OwnerLeft,
    /// A job description changed, or an agent got another one.
    JobChanged,
    /// A principal that has a token got another one.
    TokenIssued,
    /// What the gateway logs in to a target with was replaced.
    CredentialChanged,
    /// A grant is of high risk that was not, or is new.
    HighRiskGrant,
    /// At one target, an agent was refused or held this many times, and each time as many more.
    Denials { every: u64 },
    /// A grant was not used for this long.
    Unused { span: Duration },
    /// Within a window of log time, an agent moved more than `factor` times the rows it moved on average in the windows
    /// before, of those in which it moved any; and `least` at least. See [`Volume`].
    Volume { window: Duration, factor: u32, least: u64 },
    /// A check of a target found something of this risk, or a higher one, that the check before did not.
    Finding { from: Risk },
}

/// What the names are that a trigger gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Principals,
    Targets,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The first of them.
    pub since: LogTime,
    /// By principal or target, as the event is [about](Event::about).
    pub causes: BTreeMap<Name, Cause>,
    /// There were more than find room: the review takes in the whole scope.
    pub more: bool,
}

/// What happened to one of them first. To be read with its event: [`Event::why`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub at: LogTime,
    /// The entry of the control log.
    pub index: Index,
    /// The person, job, token, credential, grant, target or finding.
    pub what: String,
    /// Denials, rows or findings.
    pub count: u64,
    /// Rows that are usual.
    pub usual: u64,
}

/// The last time a trigger had gathered enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub at: LogTime,
    /// `None`: nothing of theirs was in scope, or more than one review holds.
    pub review: Option<ReviewId>,
}

/// Why a review was opened by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggered {
    pub trigger: Name,
    pub event: Event,
    pub causes: BTreeMap<Name, Cause>,
    pub more: bool,
}

/// The rows one principal moves, as one trigger counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub trigger: Name,
    pub principal: Name,
    /// Number of the window, counted from the epoch.
    pub window: u64,
    pub rows: u64,
    /// This window has been an event already.
    pub told: bool,
    /// Of earlier windows with any rows, the newest last; at most [`VOLUME_PAST_MAX`](crate::limits::VOLUME_PAST_MAX).
    pub past: Vec<u64>,
}

/// What the last check of a target found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFindings {
    pub target: Name,
    pub at: LogTime,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub risk: Risk,
    /// E.g. `superuser`.
    pub code: String,
    pub text: String,
}

impl Event {
    pub fn about(&self) -> About {
        match self {
            Event::OwnerLeft
            | Event::JobChanged
            | Event::TokenIssued
            | Event::HighRiskGrant
            | Event::Denials { .. }
            | Event::Unused { .. }
            | Event::Volume { .. } => About::Principals,
            Event::CredentialChanged | Event::Finding { .. } => About::Targets,
        }
    }

    /// What happened, after the name of the principal or target.
    pub fn why(&self, cause: &Cause) -> String {
        let Cause { what, count, usual, .. } = cause;
        match self {
            Event::OwnerLeft => format!("{what} answers for it no more"),
            Event::JobChanged => format!("job {what} changed"),
            Event::TokenIssued => format!("{what} was issued beside another"),
            Event::CredentialChanged => format!("credential {what} was replaced"),
            Event::HighRiskGrant => format!("{what} is of high risk"),
            Event::Denials { .. } => format!("refused or held {count} times at {what}"),
            Event::Unused { span } => format!("{what} was not used for {} s", span.as_secs()),
            Event::Volume { window, .. } => format!("{count} rows within {} s, where {usual} are usual", window.as_secs()),
            Event::Finding { .. } => format!("{count} new findings, first {what}"),
        }
    }
}

impl Trigger {
    /// Something of it happens by time alone: it gathers, or looks every now and then.
    pub fn waits_for_time(&self) -> bool {
        self.pending.is_some() || matches!(self.event, Event::Unused { .. })
    }

    /// It has gathered long enough.
    pub(crate) fn is_ripe(&self, now: LogTime) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.since.after(self.gather) <= now)
    }

    /// Time alone may make it an event, and it was not looked for some time: a fraction of what it is about.
    pub(crate) fn looks(&self, now: LogTime) -> Option<Duration> {
        match self.event {
            Event::Unused { span } => {
                let every = (span / 24).clamp(TRIGGER_LOOK_MIN, TRIGGER_LOOK_MAX);
                (self.looked.after(every) <= now).then_some(span)
            }
            Event::OwnerLeft
            | Event::JobChanged
            | Event::TokenIssued
            | Event::CredentialChanged
            | Event::HighRiskGrant
            | Event::Denials { .. }
            | Event::Volume { .. }
            | Event::Finding { .. } => None,
        }
    }

    /// The terms of the review about what is pending.
    pub(crate) fn terms_about(&self, pending: &Pending) -> Terms {
        let mut terms = self.terms.clone();
        let scope = &mut terms.scope;
        match &self.event {
            Event::Unused { span } => scope.unused_for = scope.unused_for.or(Some(*span)),
            Event::HighRiskGrant => scope.risk_from = scope.risk_from.or(Some(Risk::High)),
            Event::OwnerLeft
            | Event::JobChanged
            | Event::TokenIssued
            | Event::CredentialChanged
            | Event::Denials { .. }
            | Event::Volume { .. }
            | Event::Finding { .. } => {}
        }
        if !pending.more {
            let names = pending.causes.keys().cloned().collect();
            match self.event.about() {
                About::Principals => scope.principals = names,
                About::Targets => scope.targets = names,
            }
        }
        terms
    }
}

impl Triggered {
    /// The review is about this principal or target.
    pub fn is_about(&self, name: &Name) -> bool {
        self.more || self.causes.contains_key(name)
    }
}

impl Volume {
    pub(crate) fn new(trigger: Name, principal: Name) -> Volume {
        Volume { trigger, principal, window: 0, rows: 0, told: false, past: Vec::new() }
    }

    /// Counts rows in the window that `now` lies in. What is usual, if it has become an event with them.
    pub(crate) fn add(&mut self, rows: u64, now: LogTime, window: Duration, factor: u32, least: u64) -> Option<u64> {
        use crate::limits::{VOLUME_PAST_MAX, VOLUME_PAST_MIN};
        let number = now.0 / u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        if number > self.window {
            if self.rows > 0 {
                self.past.push(self.rows);
            }
            if self.past.len() > VOLUME_PAST_MAX {
                self.past.remove(0);
            }
            (self.window, self.rows, self.told) = (number, 0, false);
        }
        self.rows = self.rows.saturating_add(rows);
        if self.told || self.past.len() < VOLUME_PAST_MIN || self.rows < least {
            return None;
        }
        let sum = self.past.iter().fold(0_u64, |sum, rows| sum.saturating_add(*rows));
        let usual = sum / self.past.len() as u64;
        self.told = self.rows > usual.saturating_mul(u64::from(factor));
        self.told.then_some(usual)
    }
}
