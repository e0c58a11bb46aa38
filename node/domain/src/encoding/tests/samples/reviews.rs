//! Of reviews and of what opens them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{grants, labels, name, names, permissions};
use crate::command::{Command, Decide, Expect};
use crate::id::{Digest, Index, Name, ReviewId, TokenId};
use crate::operation::Verb;
use crate::principal::TokenUse;
use crate::review::trigger::{Cause, Event, Finding, Opening, Pending, TargetFindings, Trigger, Triggered, Volume};
use crate::review::{
    Choice, Chunk, Handed, History, Item, ItemDecision, Overdue, Review, ReviewStatus, Reviewers, Risk, Scope, Subject, Terms,
};
use crate::state::State;
use crate::time::LogTime;

fn choices() -> [Choice; 4] {
    let access = crate::review::Access { permissions: permissions(), roles: names(["client"]) };
    [Choice::Approve, Choice::Modify { access, expires: Some(LogTime(9)) }, Choice::Revoke, Choice::Abstain]
}

fn terms() -> Terms {
    Terms {
        basis: "PCI DSS 7.2.5.1, TRA-12".into(),
        scope: Scope {
            grants: true,
            tokens: true,
            principals: names(["billing-loop"]),
            owners: names(["ana"]),
            targets: names(["shop"]),
            labels: labels(),
            verbs: BTreeSet::from([Verb::Select, Verb::Delete]),
            risk_from: Some(Risk::Medium),
            unused_for: None,
        },
        stages: vec![Reviewers::Named(names(["ana", "bo"])), Reviewers::TargetOwner, Reviewers::ByRight],
        fallback: names(["bo"]),
        escalates: Some(Duration::from_secs(86_400)),
        length: Duration::from_secs(14 * 86_400),
        overdue: Overdue::Suspend,
        certifies: Duration::from_secs(90 * 86_400),
        rationale_from: Some(Risk::High),
        repeats: Some(Duration::from_secs(90 * 86_400)),
    }
}

pub(super) fn commands() -> Vec<Command> {
    let decide = |(item, choice): (usize, Choice)| Decide { item: item as u32, seen: Index(1042), choice, rationale: "needed".into() };
    let mut commands = vec![
        Command::OpenReview { name: name("quarterly"), terms: terms() },
        Command::OpenReview {
            name: name("once"),
            terms: Terms {
                scope: Scope { grants: true, ..Scope::default() },
                fallback: BTreeSet::new(),
                escalates: None,
                overdue: Overdue::Keep,
                rationale_from: None,
                repeats: None,
                ..terms()
            },
        },
        Command::DecideItems { review: ReviewId(1070), decisions: choices().into_iter().enumerate().map(decide).collect() },
        Command::HandItems { review: ReviewId(1070), items: vec![0, 7], to: name("bo"), reason: "on leave".into() },
        Command::CloseReview { review: ReviewId(1070), digest: Digest([10; 32]), statement: "signed".into(), ends_series: true },
        Command::DeleteTrigger { name: name("leavers"), expect: Expect::Any },
        Command::ReportFindings { target: name("shop"), findings: findings() },
    ];
    commands.extend(events().map(|event| Command::PutTrigger {
        name: name("leavers"),
        event,
        terms: Terms { repeats: None, ..terms() },
        gather: Duration::from_secs(60),
        expect: Expect::Absent,
    }));
    commands
}

fn reviews() -> Vec<Review> {
    let closed =
        ReviewStatus::Closed { by: name("ana"), at: LogTime(5), index: Index(1080), digest: Digest([10; 32]), statement: "signed".into() };
    let review = |(i, status): (usize, ReviewStatus)| Review {
        id: ReviewId(1070 + i as u64),
        name: name("quarterly"),
        terms: Terms { overdue: [Overdue::Keep, Overdue::Suspend, Overdue::Revoke][i], ..terms() },
        opened_by: name("ana"),
        opened: LogTime(4),
        items: 2,
        undecided: 1,
        worked: 2,
        repeats_at: (i == 0).then_some(LogTime(6)),
        status,
        version: Index(1070 + i as u64),
        trigger: (i == 2).then(|| Arc::new(triggered())),
    };
    [ReviewStatus::Open, ReviewStatus::Due, closed].into_iter().enumerate().map(review).collect()
}

fn chunk() -> Chunk {
    let item = |subject, risk| Item { subject, principal: name("billing-loop"), conflicted: names(["ana", "bo"]), risk };
    let grant = grants().swap_remove(0);
    let token = Subject::Token {
        id: TokenId(21),
        usage: TokenUse::Gateway,
        label: "ci".into(),
        issued_by: name("ana"),
        issued: LogTime(6),
        expires: Some(LogTime(7)),
    };
    Chunk { review: ReviewId(1070), number: 0, items: vec![item(Subject::Grant(Box::new(grant)), Risk::High), item(token, Risk::Low)] }
}

fn history() -> History {
    let before = crate::review::Access { permissions: permissions(), roles: BTreeSet::new() };
    let decision = |(stage, choice): (usize, Choice)| ItemDecision {
        by: name("bo"),
        at: LogTime(8),
        index: Index(1075),
        stage: stage as u32,
        seen: Index(1042),
        choice,
        before: (stage == 1).then(|| before.clone()),
        rationale: "needed".into(),
    };
    History {
        decisions: choices().into_iter().enumerate().map(decision).collect(),
        handed: vec![Handed { stage: 1, to: name("bo"), by: name("ana"), at: LogTime(7), index: Index(1074), reason: "on leave".into() }],
        ended: Some(Index(1079)),
    }
}

fn events() -> [Event; 9] {
    let span = Duration::from_secs(3600);
    [
        Event::OwnerLeft,
        Event::JobChanged,
        Event::TokenIssued,
        Event::CredentialChanged,
        Event::HighRiskGrant,
        Event::Denials { every: 50 },
        Event::Unused { span },
        Event::Volume { window: span, factor: 10, least: 1000 },
        Event::Finding { from: Risk::Medium },
    ]
}

fn causes() -> BTreeMap<Name, Cause> {
    let cause = |what: &str| Cause { at: LogTime(20), index: Index(1075), what: what.into(), count: 7, usual: 3 };
    BTreeMap::from([(name("billing-loop"), cause("grant-1044")), (name("other-loop"), cause("bo"))])
}

fn triggered() -> Triggered {
    Triggered { trigger: name("leavers"), event: Event::OwnerLeft, causes: causes(), more: true }
}

fn triggers() -> Vec<Trigger> {
    let waiting = Pending { since: LogTime(20), causes: causes(), more: true };
    let opening = |review| Opening { at: LogTime(19), review };
    let parts = [(Some(waiting), None), (None, Some(opening(None))), (None, Some(opening(Some(ReviewId(1072)))))];
    let trigger = |(i, (pending, last)): (usize, (Option<Pending>, Option<Opening>))| Trigger {
        name: name(&format!("trigger-{i}")),
        event: events()[i + 5].clone(),
        terms: Terms { repeats: None, ..terms() },
        gather: Duration::from_secs(60),
        by: name("ana"),
        pending,
        looked: LogTime(i as u64),
        last,
        version: Index(1076),
    };
    parts.into_iter().enumerate().map(trigger).collect()
}

fn findings() -> Vec<Finding> {
    vec![Finding { risk: Risk::High, code: "superuser".into(), text: "the role is a superuser".into() }]
}

/// Everything of reviews, into a state.
pub(super) fn put(state: &mut State) {
    state.reviews = reviews().into_iter().map(|r| (r.id, r)).collect();
    state.review_items.insert((ReviewId(1070), 0), Arc::new(chunk()));
    state.review_history.insert((ReviewId(1070), 1), history());
    state.triggers = triggers().into_iter().map(|t| (t.name.clone(), t)).collect();
    let volume = Volume { trigger: name("trigger-2"), principal: name("billing-loop"), window: 9, rows: 40, told: true, past: vec![3, 4] };
    state.volumes.insert((volume.trigger.clone(), volume.principal.clone()), volume);
    state.findings.insert(name("shop"), TargetFindings { target: name("shop"), at: LogTime(21), findings: findings() });
}
