use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::command::{Command, Rejection, Reply};
use crate::fixture::*;
use crate::limits::{SEEN_MAX, USAGE_LINES_MAX};
use crate::review::{Choice, Overdue, Scope, Terms};

const DAY: Duration = Duration::from_secs(86_400);

fn the_grant(w: &World) -> Grant {
    w.state.grants_of(&name("bot")).next().expect("bot has one").clone()
}

/// One operation that touched all of these.
fn report(grant: GrantId, accesses: &str, rows: u64) -> Command {
    let used = |access: &Access| UsedAccess { access: access.clone(), operations: 1, rows };
    let accesses = operation(accesses).accesses.iter().map(used).collect();
    Command::ReportUsage { grants: vec![UsedGrant { grant, operations: 1, rows, accesses }], denials: Vec::new() }
}

fn denied(principal: &str, target: &str) -> Command {
    let denied = Denied { principal: name(principal), target: name(target), operations: 2 };
    Command::ReportUsage { grants: Vec::new(), denials: vec![denied] }
}

#[test]
fn what_was_used_is_counted_by_grant_permission_and_object() {
    let mut w = World::new();
    let grant = the_grant(&w);
    w.done(node(1), report(grant.id, "postgres:select on app.public.orders(id)", 3));
    let first = w.state.now;
    w.pass(DAY);
    w.done(node(2), report(grant.id, "postgres:select on app.public.orders(state)\npostgres:select on app.public.items(id)", 4));
    let usage = w.state.usage[&grant.id].clone();
    assert_eq!((usage.total.first, usage.total.last), (first, w.state.now));
    assert_eq!((usage.total.operations, usage.total.rows), (2, 7));
    let told: Vec<_> = usage.seen.iter().map(|seen| (seen.access.to_string(), seen.count.operations, seen.count.rows)).collect();
    let expected = [("postgres:select on app.public.items(id)", 1, 4), ("postgres:select on app.public.orders(id,state)", 2, 7)];
    assert_eq!(told, expected.map(|(access, operations, rows)| (access.to_owned(), operations, rows)));
    let by_permission = usage.by_permission(&grant.permissions);
    assert_eq!(by_permission.iter().map(|count| (count.operations, count.first)).collect::<Vec<_>>(), [(3, first)]);
}

#[test]
fn what_roles_cover_and_what_finds_no_place_is_counted_apart() {
    let mut w = World::new();
    let grant = the_grant(&w);
    w.done(node(1), report(grant.id, "postgres:delete on app.other.things", 1));
    for table in 0..=SEEN_MAX {
        w.done(node(1), report(grant.id, &format!("postgres:select on app.public.t{table:03}"), 1));
    }
    let usage = &w.state.usage[&grant.id];
    assert_eq!((usage.by_roles.operations, usage.seen.len(), usage.more.operations), (1, SEEN_MAX, 1));
    assert_eq!(usage.total.operations, SEEN_MAX as u64 + 2);
    w.pass(DAY);
    assert_eq!(w.state.recommendation(&grant, DAY / 2), Some(Recommendation::Revoke));
    w.done(node(1), report(grant.id, "postgres:select on app.public.t999", 1));
    assert_eq!(w.state.recommendation(&grant, DAY / 2), None, "nothing narrower is suggested where not all objects are known");
}

#[test]
fn only_nodes_report_and_a_report_is_bounded() {
    let mut w = World::new();
    let grant = the_grant(&w).id;
    for actor in [by("ana"), by("bot"), crate::command::Actor::Operator] {
        let rejected = w.rejected(actor, report(grant, "postgres:select on app.public.orders", 1));
        assert!(matches!(rejected, Rejection::Forbidden { .. }), "{rejected:?}");
    }
    let line = UsedGrant { grant, operations: 1, rows: 0, accesses: Vec::new() };
    let long = Command::ReportUsage { grants: vec![line; USAGE_LINES_MAX + 1], denials: Vec::new() };
    assert!(matches!(w.rejected(node(1), long), Rejection::TooMany { .. }));
    assert!(w.state.usage.is_empty() && w.state.cluster.usage_since.is_none());
}

#[test]
fn denials_are_counted_for_who_is_known_and_go_with_them() {
    let mut w = World::new();
    w.done(by("ana"), agent_command("spare", "cora", Some("reports"), true));
    w.done(node(1), denied("spare", "orders"));
    w.done(node(2), denied("spare", "orders"));
    w.done(node(2), denied("spare", "nowhere"));
    let counted: Vec<_> = w.state.denials.values().map(|d| (d.principal.as_str(), d.target.as_str(), d.count.operations)).collect();
    assert_eq!(counted, [("spare", "orders", 4)]);
    w.done(by("ana"), Command::DeletePrincipal { name: name("spare"), expect: crate::command::Expect::Any });
    assert!(w.state.denials.is_empty());
}

#[test]
fn nothing_is_recommended_before_the_window_was_watched() {
    let mut w = World::new();
    let grant = the_grant(&w);
    w.pass(DAY * 10);
    assert_eq!(w.state.recommendation(&grant, DAY), None, "nobody has reported yet");
    w.done(node(1), Command::ReportUsage { grants: Vec::new(), denials: Vec::new() });
    w.pass(DAY / 2);
    assert_eq!(w.state.recommendation(&grant, DAY), None);
    w.pass(DAY);
    assert_eq!(w.state.recommendation(&grant, DAY), Some(Recommendation::Revoke));
    let young = w.grant(by("ana"), grant_command("bot", "orders", "postgres:select on app.public.young"));
    assert_eq!(w.state.recommendation(&w.state.grants[&young], DAY), None, "granted just now");
    let rights = w.state.grants_of(&name("ben")).next().expect("ben reviews");
    assert_eq!(w.state.recommendation(rights, DAY), None, "the use of administration is not counted");
}

#[test]
fn wider_than_used_becomes_the_narrowest_cover_and_a_review_applies_it() {
    let mut w = World::new();
    let grant = the_grant(&w);
    w.done(node(1), report(grant.id, "postgres:select on app.public.gone(id)", 1));
    w.pass(DAY * 3);
    w.done(node(1), report(grant.id, "postgres:select on app.public.orders(id,state)", 1));
    let Some(Recommendation::Modify { permissions }) = w.state.recommendation(&grant, DAY) else { panic!("wider than used") };
    assert_eq!(permissions, perms("postgres:select on app.public.orders(id,state)"), "what is older than the window counts no more");

    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    let access = crate::review::Access { permissions, roles: BTreeSet::new() };
    let decide = decide_item(&w, review, 0, Choice::Modify { access, expires: None });
    w.done(by("ben"), decide);
    let narrowed = the_grant(&w);
    assert_eq!(narrowed.permissions, perms("postgres:select on app.public.orders(id,state)"));
    assert_eq!(w.state.recommendation(&narrowed, DAY), None, "it gives what is used");
}

#[test]
fn a_review_of_what_is_unused_takes_in_just_that() {
    let mut w = World::new();
    w.token(by("ana"), token_command("bot", 1, None));
    let used = the_grant(&w).id;
    let unused = w.grant(by("ana"), grant_command("bot", "orders", "postgres:select on app.public.never"));
    let open = |w: &mut World| {
        let scope = Scope { unused_for: Some(DAY), ..terms(Overdue::Keep).scope };
        w.run(by("ana"), review_command(Terms { scope, ..terms(Overdue::Keep) }))
    };
    w.pass(DAY * 2);
    assert!(matches!(open(&mut w), Reply::Rejected(Rejection::Invalid { .. })), "without reports, nothing is known to be unused");
    w.done(node(1), Command::ReportUsage { grants: Vec::new(), denials: Vec::new() });
    w.pass(DAY * 2);
    w.done(node(3), report(used, "postgres:select on app.public.orders", 1));
    let Reply::Review(review) = open(&mut w) else { panic!("opened") };
    let items: Vec<_> = w.state.items_of(review).map(|(_, item)| item.subject_id()).collect();
    assert_eq!(items, [unused.to_string()]);

    w.state.cluster.feature_level = 2;
    assert!(matches!(open(&mut w), Reply::Rejected(Rejection::FeatureLevel { needed: 3, .. })));
}
