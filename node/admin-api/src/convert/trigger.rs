use std::collections::BTreeMap;

use domain::command::{Command, Expect};
use domain::escape::show;
use domain::id::Name;
use domain::review::Risk;
use domain::review::trigger::{Cause, Event, Finding, Trigger, Triggered};
use proto::admin as pb;
use proto::admin::trigger_event::Event as Wire;

use super::fields::Fields;
use super::review::{needed_span, read_risk, read_terms, risk_to_wire, terms_to_wire};
use super::{etag, span, timestamp};

pub(crate) fn to_wire(trigger: &Trigger) -> pb::ReviewTrigger {
    let pending = trigger.pending.as_ref();
    let last = trigger.last.as_ref();
    pb::ReviewTrigger {
        name: trigger.name.to_string(),
        event: Some(event_to_wire(&trigger.event)),
        terms: Some(terms_to_wire(&trigger.terms)),
        gather: Some(span(trigger.gather)),
        by: trigger.by.to_string(),
        pending: pending.map(|pending| causes(&trigger.event, &pending.causes)).unwrap_or_default(),
        pending_more: pending.is_some_and(|pending| pending.more),
        pending_since: pending.map(|pending| timestamp(pending.since)),
        last_opened: last.map(|opening| timestamp(opening.at)),
        last_review: last.and_then(|opening| opening.review).map(|review| review.to_string()).unwrap_or_default(),
        etag: etag(trigger.version),
    }
}

pub(crate) fn triggered(why: &Triggered) -> pb::Triggered {
    pb::Triggered {
        trigger: why.trigger.to_string(),
        event: Some(event_to_wire(&why.event)),
        causes: causes(&why.event, &why.causes),
        more: why.more,
    }
}

fn causes(event: &Event, causes: &BTreeMap<Name, Cause>) -> Vec<pb::TriggerCause> {
    let cause = |(about, cause): (&Name, &Cause)| pb::TriggerCause {
        about: about.to_string(),
        why: show(&event.why(cause)).text,
        at: Some(timestamp(cause.at)),
        index: cause.index.0,
    };
    causes.iter().map(cause).collect()
}

fn event_to_wire(event: &Event) -> pb::TriggerEvent {
    use pb::trigger_event as wire;
    let event = match event {
        Event::OwnerLeft => Wire::OwnerLeft(wire::OwnerLeft {}),
        Event::JobChanged => Wire::JobChanged(wire::JobChanged {}),
        Event::TokenIssued => Wire::TokenIssued(wire::TokenIssued {}),
        Event::CredentialChanged => Wire::CredentialChanged(wire::CredentialChanged {}),
        Event::HighRiskGrant => Wire::HighRiskGrant(wire::HighRiskGrant {}),
        Event::Denials { every } => Wire::Denials(wire::Denials { every: *every }),
        Event::Unused { span: unused } => Wire::Unused(wire::Unused { span: Some(span(*unused)) }),
        Event::Volume { window, factor, least } => {
            Wire::Volume(wire::Volume { window: Some(span(*window)), factor: *factor, least: *least })
        }
        Event::Finding { from } => Wire::Finding(wire::Finding { from: risk_to_wire(Some(*from)).into() }),
    };
    pb::TriggerEvent { event: Some(event) }
}

pub(crate) fn put(f: &mut Fields, trigger: pb::ReviewTrigger, expect: Option<Expect>) -> Option<Command> {
    let name = f.parse("trigger.name", &trigger.name);
    let event = f.present("trigger.event", trigger.event.and_then(|event| event.event));
    let event = event.and_then(|event| read_event(f, event));
    let terms = f.present("trigger.terms", trigger.terms).and_then(|terms| read_terms(f, terms));
    let gather = f.span("trigger.gather", trigger.gather.as_ref());
    Some(Command::PutTrigger { name: name?, event: event?, terms: terms?, gather: gather?.unwrap_or_default(), expect: expect? })
}

fn read_event(f: &mut Fields, event: Wire) -> Option<Event> {
    let event = match event {
        Wire::OwnerLeft(_) => Event::OwnerLeft,
        Wire::JobChanged(_) => Event::JobChanged,
        Wire::TokenIssued(_) => Event::TokenIssued,
        Wire::CredentialChanged(_) => Event::CredentialChanged,
        Wire::HighRiskGrant(_) => Event::HighRiskGrant,
        Wire::Denials(denials) => Event::Denials { every: denials.every },
        Wire::Unused(unused) => Event::Unused { span: needed_span(f, "trigger.event.unused.span", unused.span.as_ref())? },
        Wire::Volume(volume) => Event::Volume {
            window: needed_span(f, "trigger.event.volume.window", volume.window.as_ref())?,
            factor: volume.factor,
            least: volume.least,
        },
        Wire::Finding(finding) => {
            let from = read_risk(f, "trigger.event.finding.from", finding.from)?;
            Event::Finding { from: f.present("trigger.event.finding.from", from)? }
        }
    };
    Some(event)
}

/// What a check found, as it goes into the log: cut to what an entry may hold.
pub(crate) fn findings(found: &[pb::TargetFinding]) -> Vec<Finding> {
    let finding = |finding: &pb::TargetFinding| {
        let risk = match finding.severity.as_str() {
            "high" => Risk::High,
            "medium" => Risk::Medium,
            _ => Risk::Low,
        };
        let text = finding.finding.chars().take(crate::limits::FINDING_TEXT_MAX).collect();
        Finding { risk, code: finding.code.clone(), text }
    };
    let mut all: Vec<Finding> = found.iter().map(finding).collect();
    all.sort_by_key(|finding| std::cmp::Reverse(finding.risk));
    all.truncate(domain::limits::FINDINGS_MAX);
    all
}
