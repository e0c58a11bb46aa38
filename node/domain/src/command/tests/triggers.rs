//! Reviews that open by themselves: each event, whom the review is about, and why; what gathers, and what does not.

use super::*;
use crate::grant::GrantSource;
use crate::id::TokenId;
use crate::limits::{TRIGGER_PENDING_MAX, TRIGGERS_MAX};
use crate::review::trigger::{Event, Finding, Opening, Triggered};
use crate::review::{Overdue, Review, Risk, Scope, Subject, Terms};
use crate::usage::{Denied, UsedGrant};

const MINUTE: Duration = Duration::from_secs(60);

fn of_all() -> Terms {
    Terms { scope: Scope { grants: true, tokens: true, ..Scope::default() }, ..terms(Overdue::Keep) }
}

fn put(event: Event, terms: Terms) -> Command {
    Command::PutTrigger { name: name("watch"), event, terms, gather: MINUTE, expect: Expect::Any }
}

fn watching(event: Event) -> World {
    let mut w = World::new();
    w.done(by("ana"), put(event, of_all()));
    w
}

/// The one review that was opened by the trigger.
fn opened(w: &World) -> (Review, Triggered) {
    let mut all = w.state.reviews.values().filter(|review| review.trigger.is_some());
    let (Some(review), None) = (all.next(), all.next()) else { panic!("not one review: {:?}", w.state.reviews) };
    (review.clone(), review.trigger.as_deref().expect("just looked").clone())
}

/// Who the review is about, and why.
fn why(w: &World) -> Vec<String> {
    let (_, triggered) = opened(w);
    triggered.causes.iter().map(|(about, cause)| format!("{about}: {}", triggered.event.why(cause))).collect()
}

fn the_grant(w: &World) -> GrantId {
    w.state.grants.values().find(|grant| grant.principal == name("bot")).expect("a grant").id
}

fn used(grant: GrantId, rows: u64) -> Command {
    let grants = vec![UsedGrant { grant, operations: 1, rows, accesses: Vec::new() }];
    Command::ReportUsage { grants, denials: Vec::new() }
}

#[test]
fn an_owner_who_leaves_has_the_access_of_their_agents_reviewed() {
    let mut w = watching(Event::OwnerLeft);
    w.done(by("ana"), agent_command("bot2", "cora", None, true));
    w.grant(by("ana"), grant_command("bot2", "orders", "postgres:select on app.public.*"));
    w.done(by("ana"), person_command("cora", false));
    assert!(w.state.reviews.is_empty(), "it gathers first");
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["bot: cora answers for it no more", "bot2: cora answers for it no more"]);
    let (review, _) = opened(&w);
    assert_eq!((review.name, review.opened_by, review.undecided), (name("watch"), name("ana"), 2));
    let whose: Vec<Name> = w.state.items_of(review.id).map(|(_, item)| item.principal.clone()).collect();
    assert_eq!(whose, [name("bot"), name("bot2")]);
    assert_eq!(w.state.triggers[&name("watch")].last, Some(Opening { at: review.opened, review: Some(review.id) }));
    w.pass(60 * MINUTE);
    assert_eq!(w.state.reviews.len(), 1, "once");
}

#[test]
fn another_owner_is_one_who_left() {
    let mut w = watching(Event::OwnerLeft);
    w.done(by("ana"), agent_command("bot", "fay", Some("reports"), true));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["bot: cora answers for it no more"]);
}

#[test]
fn a_job_that_changes_and_another_job_are_events() {
    let mut w = watching(Event::JobChanged);
    w.done(by("ana"), job_command("reports", "postgres:select on app.public.orders"));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["bot: job reports changed"]);

    let mut w = watching(Event::JobChanged);
    w.done(by("ana"), agent_command("bot", "cora", None, true));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["bot: job reports changed"]);
}

#[test]
fn a_second_token_is_an_event_and_a_first_is_none() {
    let mut w = watching(Event::TokenIssued);
    w.token(by("ana"), token_command("bot", 1, None));
    w.pass(2 * MINUTE);
    assert!(w.state.reviews.is_empty());
    let TokenId(second) = w.token(by("ana"), token_command("bot", 2, None));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), [format!("bot: token-{second} was issued beside another")]);
    let (review, _) = opened(&w);
    let tokens = w.state.items_of(review.id).filter(|(_, item)| matches!(item.subject, Subject::Token { .. })).count();
    assert_eq!(tokens, 2, "each on its own");
}

#[test]
fn a_rotated_credential_has_everybody_reviewed_who_reaches_its_targets() {
    let mut w = watching(Event::CredentialChanged);
    w.done(by("ana"), credential_command("orders-login", "somebody-else"));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["orders: credential orders-login was replaced"]);
    let (review, _) = opened(&w);
    assert_eq!(review.terms.scope.targets, names(&["orders"]));
}

#[test]
fn a_grant_of_high_risk_is_reviewed_by_itself() {
    let mut w = watching(Event::HighRiskGrant);
    w.grant(by("ana"), grant_command("bot", "orders", "postgres:delete on app.public.*"));
    w.pass(2 * MINUTE);
    assert!(w.state.reviews.is_empty(), "of medium risk");
    let high = w.grant(by("ana"), grant_command("bot", "orders", "postgres:ddl on app.public.*"));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), [format!("bot: {high} is of high risk")]);
    let (review, _) = opened(&w);
    let items: Vec<String> = w.state.items_of(review.id).map(|(_, item)| item.subject_id()).collect();
    assert_eq!(items, [high.to_string()]);
}

#[test]
fn a_session_s_own_tables_and_reading_the_catalogue_are_of_low_risk() {
    let w = World::new();
    let risk = |w: &World, permissions: &str| {
        let mut grant = w.state.grants[&the_grant(w)].clone();
        grant.permissions = perms(permissions);
        crate::review::risk_of_grant(&w.state, &grant)
    };
    let of_clients = "postgres:* on *.pg_temp.*\npostgres:select,copy on *.pg_catalog.*";
    assert_eq!(risk(&w, of_clients), Risk::Low);
    assert_eq!(risk(&w, "postgres:copy on app.public.*"), Risk::Medium);
    assert_eq!(risk(&w, "postgres:ddl on *.*.*"), Risk::High);
    let mut older = w;
    older.state.cluster.feature_level = 3;
    assert_eq!(risk(&older, of_clients), Risk::High, "as replicas of an older release tell it");
}

#[test]
fn denials_are_an_event_each_time_they_are_that_many() {
    let mut w = watching(Event::Denials { every: 10 });
    let denied = |operations| {
        let denied = Denied { principal: name("bot"), target: name("orders"), operations };
        Command::ReportUsage { grants: Vec::new(), denials: vec![denied] }
    };
    w.done(node(1), denied(9));
    w.pass(2 * MINUTE);
    assert!(w.state.reviews.is_empty());
    w.done(node(1), denied(3));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["bot: refused or held 12 times at orders"]);
    w.done(node(1), denied(100));
    w.pass(2 * MINUTE);
    assert_eq!(w.state.reviews.len(), 1, "an open review is about it already");
}

#[test]
fn what_is_not_used_is_reviewed_once_and_again_when_it_was_used_meanwhile() {
    let day = 24 * 60 * MINUTE;
    let mut w = watching(Event::Unused { span: 30 * day });
    let grant = the_grant(&w);
    w.done(node(1), used(grant, 1));
    w.pass(29 * day);
    assert!(w.state.reviews.is_empty());
    w.pass(2 * day);
    assert_eq!(why(&w), [format!("bot: {grant} was not used for {} s", 30 * 86_400)]);
    let (review, _) = opened(&w);
    assert_eq!((review.items, review.terms.scope.unused_for), (1, Some(30 * day)));
    w.pass(40 * day);
    assert_eq!(w.state.reviews.len(), 1, "still unused is no news");
    let digest = w.state.reviews[&review.id].report_digest(&w.state);
    w.done(by("ana"), Command::CloseReview { review: review.id, digest, statement: "read".into(), ends_series: false });
    w.done(node(1), used(grant, 1));
    w.pass(31 * day);
    assert_eq!(w.state.reviews.len(), 2);
}

#[test]
fn more_rows_than_usual_are_an_event() {
    let hour = 60 * MINUTE;
    let mut w = watching(Event::Volume { window: hour, factor: 5, least: 100 });
    let grant = the_grant(&w);
    for rows in [10, 20, 30, 40] {
        w.done(node(1), used(grant, rows));
        w.pass(hour);
    }
    w.done(node(1), used(grant, 90));
    w.pass(2 * MINUTE);
    assert!(w.state.reviews.is_empty(), "less than the least");
    w.done(node(1), used(grant, 60));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["bot: 150 rows within 3600 s, where 25 are usual"]);
}

#[test]
fn what_a_check_finds_anew_is_an_event() {
    let mut w = watching(Event::Finding { from: Risk::Medium });
    let found = |codes: &[(Risk, &str)]| {
        let finding = |(risk, code): &(Risk, &str)| Finding { risk: *risk, code: (*code).into(), text: "found".into() };
        Command::ReportFindings { target: name("orders"), findings: codes.iter().map(finding).collect() }
    };
    w.done(node(1), found(&[(Risk::Low, "sessions")]));
    w.pass(2 * MINUTE);
    assert!(w.state.reviews.is_empty());
    w.done(node(1), found(&[(Risk::Low, "sessions"), (Risk::High, "superuser")]));
    w.pass(2 * MINUTE);
    assert_eq!(why(&w), ["orders: 1 new findings, first superuser"]);
    let (review, _) = opened(&w);
    let digest = w.state.reviews[&review.id].report_digest(&w.state);
    for item in 0..review.items {
        let who = if w.state.may_review(&name("ben"), &review, item, w.state.item(review.id, item).expect("an item")).is_ok() {
            "ben"
        } else {
            "eve"
        };
        w.done(by(who), decide_item(&w, review.id, item, crate::review::Choice::Approve));
    }
    assert_ne!(w.state.reviews[&review.id].report_digest(&w.state), digest);
    let digest = w.state.reviews[&review.id].report_digest(&w.state);
    w.done(by("ana"), Command::CloseReview { review: review.id, digest, statement: "read".into(), ends_series: false });
    w.done(node(1), found(&[(Risk::High, "superuser")]));
    w.pass(2 * MINUTE);
    assert_eq!(w.state.reviews.len(), 1, "known");
    forbidden(&w.rejected(by("ana"), found(&[])));
}

#[test]
fn a_scope_leaves_out_and_nothing_in_scope_opens_nothing() {
    let mut w = World::new();
    let mut of_others = of_all();
    of_others.scope.owners = names(&["fay"]);
    w.done(by("ana"), put(Event::OwnerLeft, of_others));
    w.done(by("ana"), person_command("cora", false));
    w.pass(2 * MINUTE);
    assert!(w.state.triggers[&name("watch")].pending.is_none() && w.state.reviews.is_empty());

    let mut w = watching(Event::JobChanged);
    w.done(by("ana"), agent_command("idle", "cora", Some("reports"), true));
    let revoke = Command::RevokeGrant { grant: the_grant(&w), reason: "over".into() };
    w.done(by("ana"), revoke);
    w.done(by("ana"), job_command("reports", "postgres:select on app.public.orders"));
    w.pass(2 * MINUTE);
    let last = w.state.triggers[&name("watch")].last.clone();
    assert!(last.is_some_and(|opening| opening.review.is_none()) && w.state.reviews.is_empty());
}

#[test]
fn more_than_find_room_are_all_reviewed() {
    let mut w = watching(Event::JobChanged);
    for n in 0..=TRIGGER_PENDING_MAX {
        w.done(by("ana"), agent_command(&format!("bot-{n}"), "cora", Some("reports"), true));
    }
    w.done(by("ana"), job_command("reports", "postgres:select on app.public.orders"));
    w.pass(2 * MINUTE);
    let (review, triggered) = opened(&w);
    assert!(triggered.more && triggered.is_about(&name("ben")));
    assert!(review.terms.scope.principals.is_empty());
}

#[test]
fn a_trigger_is_changed_without_losing_what_it_gathered() {
    let mut w = watching(Event::OwnerLeft);
    w.done(by("ana"), person_command("cora", false));
    let mut later = of_all();
    later.basis = "TRA-13".into();
    w.done(by("ana"), put(Event::OwnerLeft, later.clone()));
    let version = w.state.triggers[&name("watch")].version;
    assert_eq!(w.done(by("ana"), put(Event::OwnerLeft, later.clone())), version, "nothing changed");
    w.pass(2 * MINUTE);
    assert_eq!(opened(&w).0.terms.basis, "TRA-13");
    w.done(by("ana"), Command::DeleteTrigger { name: name("watch"), expect: Expect::Any });
    assert!(w.state.triggers.is_empty() && w.state.reviews.len() == 1);

    let refused = |w: &mut World, event, terms| w.rejected(by("ana"), put(event, terms));
    invalid_field(&refused(&mut w, Event::Denials { every: 0 }, of_all()), "event.denials.every");
    invalid_field(&refused(&mut w, Event::Unused { span: Duration::ZERO }, of_all()), "event.unused.span");
    invalid_field(&refused(&mut w, Event::OwnerLeft, Terms { repeats: Some(60 * 24 * 60 * MINUTE), ..of_all() }), "terms.repeats");
    invalid_field(&refused(&mut w, Event::OwnerLeft, Terms { basis: String::new(), ..of_all() }), "basis");
    forbidden(&w.rejected(by("fay"), put(Event::OwnerLeft, of_all())));
    for n in 0..TRIGGERS_MAX {
        let event = Event::OwnerLeft;
        w.done(
            by("ana"),
            Command::PutTrigger { name: name(&format!("t{n}")), event, terms: of_all(), gather: MINUTE, expect: Expect::Any },
        );
    }
    assert!(matches!(w.rejected(by("ana"), put(Event::OwnerLeft, of_all())), Rejection::TooMany { .. }));
}

#[test]
fn a_grant_of_break_glass_is_one_of_high_risk_too() {
    let mut w = watching(Event::HighRiskGrant);
    w.grant(by("ana"), administration("ana", "assize:operate on break-glass/*"));
    w.pass(2 * MINUTE);
    let before = w.state.reviews.len();
    let command = Command::BreakGlass {
        principal: name("bot"),
        target: name("orders"),
        permissions: perms("postgres:truncate on app.public.*"),
        length: 60 * MINUTE,
        review_within: 600 * MINUTE,
        reason: "now".into(),
        ticket: "INC-7".into(),
    };
    let grant = w.grant(by("ana"), command);
    assert!(matches!(w.state.grants[&grant].source, GrantSource::BreakGlass(_)));
    w.pass(2 * MINUTE);
    assert_eq!(w.state.reviews.len(), before + 1);
}
