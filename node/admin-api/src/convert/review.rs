use std::time::Duration;

use domain::command::{Command, Decide};
use domain::escape::show;
use domain::id::{Index, Name};
use domain::operation::{Protocol, Verb};
use domain::review::{Access, Choice, Handed, Item, ItemDecision, Overdue, Review, ReviewStatus, Reviewers, Risk, Scope, Subject, Terms};
use domain::state::State;
use proto::admin as pb;
use proto::types;

use super::fields::Fields;
use super::usage::{recommendation_to_wire, usage_to_wire};
use super::{etag, grant, permissions, span, text, timestamp, trigger};

pub(crate) fn to_wire(review: &Review) -> pb::Review {
    pb::Review {
        id: review.id.to_string(),
        name: review.name.to_string(),
        terms: Some(terms_to_wire(&review.terms)),
        opened_by: review.opened_by.to_string(),
        opened: Some(timestamp(review.opened)),
        due: Some(timestamp(review.due())),
        items: review.items,
        undecided: review.undecided,
        repeats_at: review.repeats_at.map(timestamp),
        status: Some(status_to_wire(&review.status)),
        etag: etag(review.version),
        escalates_at: review.escalates_at().map(timestamp),
        triggered: review.trigger.as_deref().map(trigger::triggered),
    }
}

pub(crate) fn terms_to_wire(terms: &Terms) -> pb::ReviewTerms {
    pb::ReviewTerms {
        basis: terms.basis.clone(),
        scope: Some(scope_to_wire(&terms.scope)),
        stages: terms.stages.iter().map(stage_to_wire).collect(),
        fallback: terms.fallback.iter().map(ToString::to_string).collect(),
        escalates: terms.escalates.map(span),
        length: Some(span(terms.length)),
        overdue: overdue_to_wire(terms.overdue).into(),
        certifies: Some(span(terms.certifies)),
        rationale_from: risk_to_wire(terms.rationale_from).into(),
        repeats: terms.repeats.map(span),
    }
}

fn scope_to_wire(scope: &Scope) -> pb::ReviewScope {
    let names = |names: &std::collections::BTreeSet<Name>| names.iter().map(ToString::to_string).collect();
    pb::ReviewScope {
        grants: scope.grants,
        tokens: scope.tokens,
        principals: names(&scope.principals),
        owners: names(&scope.owners),
        targets: names(&scope.targets),
        labels: scope.labels.clone(),
        verbs: scope.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
        risk_from: risk_to_wire(scope.risk_from).into(),
        unused_for: scope.unused_for.map(span),
    }
}

fn stage_to_wire(stage: &Reviewers) -> pb::ReviewStage {
    use pb::review_stage::{ByRight, Named, Reviewers as Wire, TargetOwner};
    let reviewers = match stage {
        Reviewers::Named(names) => Wire::Named(Named { persons: names.iter().map(ToString::to_string).collect() }),
        Reviewers::TargetOwner => Wire::TargetOwner(TargetOwner {}),
        Reviewers::ByRight => Wire::ByRight(ByRight {}),
    };
    pb::ReviewStage { reviewers: Some(reviewers) }
}

fn overdue_to_wire(overdue: Overdue) -> pb::Overdue {
    match overdue {
        Overdue::Keep => pb::Overdue::Keep,
        Overdue::Suspend => pb::Overdue::Suspend,
        Overdue::Revoke => pb::Overdue::Revoke,
    }
}

pub(crate) fn risk_to_wire(risk: Option<Risk>) -> pb::Risk {
    match risk {
        None => pb::Risk::Unspecified,
        Some(Risk::Low) => pb::Risk::Low,
        Some(Risk::Medium) => pb::Risk::Medium,
        Some(Risk::High) => pb::Risk::High,
    }
}

fn status_to_wire(status: &ReviewStatus) -> pb::ReviewStatus {
    use pb::review_status::{Closed, Due, Open, Status};
    let status = match status {
        ReviewStatus::Open => Status::Open(Open {}),
        ReviewStatus::Due => Status::Due(Due {}),
        ReviewStatus::Closed { by, at, index, digest, statement } => Status::Closed(Closed {
            by: by.to_string(),
            at: Some(timestamp(*at)),
            index: index.0,
            digest: digest.to_string(),
            statement: show(statement).text,
        }),
    };
    pb::ReviewStatus { status: Some(status) }
}

/// An item with all that happened to it, and what it has become meanwhile.
pub(crate) fn item_to_wire(state: &State, review: &Review, number: u32, item: &Item, window: Duration) -> pb::ReviewItem {
    let history = state.review_history.get(&(review.id, number));
    let live = match &item.subject {
        Subject::Grant(of) => state.grants.get(&of.id).filter(|_| state.is_there(item)),
        Subject::Token { .. } => None,
    };
    let (subject, current, changed) = match &item.subject {
        Subject::Grant(of) => {
            let now = state.grants.get(&of.id);
            let changed = now.filter(|now| of.as_ref() != *now).map(|now| grant::to_wire(now, state.now));
            (pb::review_item::Subject::Grant(grant::to_wire(of, review.opened)), now.map(|now| now.version), changed)
        }
        Subject::Token { id, usage, label, issued_by, issued, expires } => {
            let token = pb::ReviewToken {
                id: id.to_string(),
                usage: usage.as_str().into(),
                label: show(label).text,
                issued_by: issued_by.to_string(),
                issued: Some(timestamp(*issued)),
                expires: expires.map(timestamp),
            };
            (pb::review_item::Subject::Token(token), Some(Index(id.0)), None)
        }
    };
    pb::ReviewItem {
        number,
        principal: item.principal.to_string(),
        subject: Some(subject),
        risk: risk_to_wire(Some(item.risk)).into(),
        etag: current.filter(|_| state.is_there(item)).map(etag).unwrap_or_default(),
        changed,
        standing: state.standing(review, number, item).in_words(),
        stage: review.stage(history) + 1,
        decisions: history.map(|h| h.decisions.iter().map(decision_to_wire).collect()).unwrap_or_default(),
        handed: history.map(|h| h.handed.iter().map(handed_to_wire).collect()).unwrap_or_default(),
        usage: live.and_then(|grant| usage_to_wire(state, grant)),
        recommendation: live.and_then(|grant| recommendation_to_wire(state, grant, window)),
        escalated_to: state.escalated_to(review, number, item).iter().map(ToString::to_string).collect(),
    }
}

fn decision_to_wire(decision: &ItemDecision) -> pb::ReviewDecision {
    use pb::review_choice::{Abstain, Approve, Choice as Wire, Modify, Revoke};
    let choice = match &decision.choice {
        Choice::Approve => Wire::Approve(Approve {}),
        Choice::Modify { access, expires } => {
            Wire::Modify(Modify { access: Some(access_to_wire(access)), expires: expires.map(timestamp) })
        }
        Choice::Revoke => Wire::Revoke(Revoke {}),
        Choice::Abstain => Wire::Abstain(Abstain {}),
    };
    pb::ReviewDecision {
        by: decision.by.to_string(),
        at: Some(timestamp(decision.at)),
        index: decision.index.0,
        stage: decision.stage + 1,
        seen: etag(decision.seen),
        choice: Some(pb::ReviewChoice { choice: Some(choice) }),
        before: decision.before.as_ref().map(access_to_wire),
        rationale: show(&decision.rationale).text,
    }
}

fn access_to_wire(access: &Access) -> pb::ReviewAccess {
    pb::ReviewAccess { permissions: permissions(&access.permissions), roles: access.roles.iter().map(ToString::to_string).collect() }
}

fn handed_to_wire(handed: &Handed) -> pb::HandedItem {
    pb::HandedItem {
        stage: handed.stage + 1,
        to: text(Some(&handed.to)),
        by: text(Some(&handed.by)),
        at: Some(timestamp(handed.at)),
        index: handed.index.0,
        reason: show(&handed.reason).text,
    }
}

pub(crate) fn open(f: &mut Fields, name: &str, terms: Option<pb::ReviewTerms>) -> Option<Command> {
    let name = f.parse("name", name);
    let terms = f.present("terms", terms).and_then(|terms| read_terms(f, terms));
    Some(Command::OpenReview { name: name?, terms: terms? })
}

pub(crate) fn read_terms(f: &mut Fields, terms: pb::ReviewTerms) -> Option<Terms> {
    let scope = f.present("terms.scope", terms.scope).and_then(|scope| read_scope(f, scope));
    let stages: Vec<_> = terms.stages.into_iter().enumerate().map(|(i, stage)| read_stage(f, i, stage)).collect();
    let fallback = f.names("terms.fallback", &terms.fallback);
    let escalates = f.span("terms.escalates", terms.escalates.as_ref());
    let length = needed_span(f, "terms.length", terms.length.as_ref());
    let overdue = match pb::Overdue::try_from(terms.overdue) {
        Ok(pb::Overdue::Keep) => Some(Overdue::Keep),
        Ok(pb::Overdue::Suspend) => Some(Overdue::Suspend),
        Ok(pb::Overdue::Revoke) => Some(Overdue::Revoke),
        Ok(pb::Overdue::Unspecified) | Err(_) => f.fault("terms.overdue", "is needed: keep, suspend or revoke"),
    };
    let certifies = needed_span(f, "terms.certifies", terms.certifies.as_ref());
    let rationale_from = read_risk(f, "terms.rationale_from", terms.rationale_from);
    let repeats = f.span("terms.repeats", terms.repeats.as_ref());
    Some(Terms {
        basis: terms.basis,
        scope: scope?,
        stages: stages.into_iter().collect::<Option<_>>()?,
        fallback: fallback?,
        escalates: escalates?,
        length: length?,
        overdue: overdue?,
        certifies: certifies?,
        rationale_from: rationale_from?,
        repeats: repeats?,
    })
}

pub(crate) fn needed_span(f: &mut Fields, field: &str, value: Option<&types::Duration>) -> Option<Duration> {
    f.span(field, value).and_then(|span| f.present(field, span))
}

fn read_scope(f: &mut Fields, scope: pb::ReviewScope) -> Option<Scope> {
    let principals = f.names("terms.scope.principals", &scope.principals);
    let owners = f.names("terms.scope.owners", &scope.owners);
    let targets = f.names("terms.scope.targets", &scope.targets);
    let verbs: Vec<_> = scope.verbs.iter().map(|text| read_verb(f, text)).collect();
    let risk_from = read_risk(f, "terms.scope.risk_from", scope.risk_from);
    let unused_for = f.span("terms.scope.unused_for", scope.unused_for.as_ref());
    Some(Scope {
        grants: scope.grants,
        tokens: scope.tokens,
        principals: principals?,
        owners: owners?,
        targets: targets?,
        labels: scope.labels,
        verbs: verbs.into_iter().collect::<Option<_>>()?,
        risk_from: risk_from?,
        unused_for: unused_for?,
    })
}

fn read_verb(f: &mut Fields, text: &str) -> Option<Verb> {
    let all = [Protocol::Assize, Protocol::Postgres].into_iter().flat_map(Verb::of);
    let found = all.copied().find(|verb| verb.as_str() == text);
    found.or_else(|| f.fault("terms.scope.verbs", format!("there is no verb {text:?}")))
}

pub(crate) fn read_risk(f: &mut Fields, field: &str, risk: i32) -> Option<Option<Risk>> {
    match pb::Risk::try_from(risk) {
        Ok(pb::Risk::Unspecified) => Some(None),
        Ok(pb::Risk::Low) => Some(Some(Risk::Low)),
        Ok(pb::Risk::Medium) => Some(Some(Risk::Medium)),
        Ok(pb::Risk::High) => Some(Some(Risk::High)),
        Err(_) => f.fault(field, "is not a risk"),
    }
}

fn read_stage(f: &mut Fields, place: usize, stage: pb::ReviewStage) -> Option<Reviewers> {
    use pb::review_stage::Reviewers as Wire;
    let field = format!("terms.stages[{place}]");
    match f.present(&field, stage.reviewers)? {
        Wire::Named(named) => f.names(&format!("{field}.named.persons"), &named.persons).map(Reviewers::Named),
        Wire::TargetOwner(_) => Some(Reviewers::TargetOwner),
        Wire::ByRight(_) => Some(Reviewers::ByRight),
    }
}

pub(crate) fn decide(f: &mut Fields, place: usize, decision: pb::DecideReviewItem) -> Option<Decide> {
    let field = |name: &str| format!("decisions[{place}].{name}");
    let seen = match f.etag(&field("etag"), &decision.etag) {
        Some(domain::command::Expect::Version(version)) => Some(version),
        Some(_) | None => None,
    };
    let choice = f.present(&field("choice"), decision.choice.and_then(|c| c.choice));
    let choice = choice.and_then(|choice| read_choice(f, &field("choice"), choice));
    Some(Decide { item: decision.item, seen: seen?, choice: choice?, rationale: decision.rationale })
}

fn read_choice(f: &mut Fields, field: &str, choice: pb::review_choice::Choice) -> Option<Choice> {
    use pb::review_choice::Choice as Wire;
    match choice {
        Wire::Approve(_) => Some(Choice::Approve),
        Wire::Revoke(_) => Some(Choice::Revoke),
        Wire::Abstain(_) => Some(Choice::Abstain),
        Wire::Modify(modify) => {
            let access = f.present(&format!("{field}.modify.access"), modify.access)?;
            let permissions = f.permissions(&format!("{field}.modify.access.permissions"), &access.permissions);
            let roles = f.names(&format!("{field}.modify.access.roles"), &access.roles);
            let expires = f.time(&format!("{field}.modify.expires"), modify.expires.as_ref());
            Some(Choice::Modify { access: Access { permissions: permissions?, roles: roles? }, expires: expires? })
        }
    }
}
