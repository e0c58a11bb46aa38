//! Requests, decisions, approvals: R4 and R6 by example.

use super::*;
use crate::grant::GrantStatus;
use crate::request::{Request, RequestStatus};

fn status(w: &World, request: RequestId) -> &RequestStatus {
    &w.state.requests[&request].status
}

fn spend(request: RequestId, digest: Digest, by: OperationId) -> Command {
    Command::SpendApproval { request, digest, by }
}

fn needs_two(w: &mut World) {
    w.done(by("ana"), deciding_on_target("orders", None, 2));
}

#[test]
fn identical_requests_join() {
    let mut w = World::new();
    let ask = w.exact("bot", digest(1));
    let (request, joined) = w.request(node(1), request_command("bot", ask.clone()));
    assert!(!joined);
    assert_eq!(w.request(node(2), request_command("bot", ask.clone())), (request, true));
    w.done(by("ben"), decide(request, true));
    assert_eq!(w.request(node(2), request_command("bot", ask.clone())), (request, true), "also when it is approved already");
    assert_eq!(w.state.requests[&request].joined, 2);
    assert_eq!(w.run(node(1), spend(request, digest(1), operation_id(1, 1))), Reply::Spent);
    let (another, joined) = w.request(node(1), request_command("bot", ask));
    assert!(another != request && !joined, "a spent approval is no approval");
}

#[test]
fn pending_requests_are_bounded_per_principal_and_target() {
    let mut w = World::new();
    for n in 0..crate::limits::PENDING_PER_PRINCIPAL_MAX {
        w.open(digest(n as u8));
    }
    let ask = w.exact("bot", digest(200));
    let too_many = w.rejected(node(1), request_command("bot", ask));
    assert!(matches!(too_many, Rejection::TooMany { limit: crate::limits::PENDING_PER_PRINCIPAL_MAX, .. }), "{too_many:?}");
    let first = w.state.open_requests_of(&name("bot")).next().expect("a request").id;
    w.done(by("bot"), Command::WithdrawRequest { request: first });
    w.open(digest(201));
}

#[test]
fn what_cannot_be_shown_whole_cannot_be_asked_for() {
    let mut w = World::new();
    let Ask::Exact { digest, parameters, context, missing, job_version, target_version, under, .. } = w.exact("bot", digest(1)) else {
        unreachable!("an exact ask")
    };
    let statement = "x".repeat(crate::request::STATEMENT_SHOWN_MAX + 1);
    let ask = Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, under };
    invalid_field(&w.rejected(node(1), request_command("bot", ask)), "statement");
    invalid_field(&w.rejected(node(1), request_command("bot", window("postgres:select on a.b.c", Duration::ZERO))), "length");
    invalid_field(&w.rejected(node(1), request_command("bot", window("assize:read on a/b", Duration::from_secs(1)))), "permissions");
}

#[test]
fn nobody_decides_on_their_own_access() {
    let mut w = World::new();
    // All of them may decide, but for being in conflict.
    for who in ["cora", "dan", "fay"] {
        w.grant(by("ana"), with_roles(administration(who, "assize:read on role/*"), &["reviewer"]));
    }
    let request = w.open(digest(1));
    separated(&w.rejected(by("cora"), decide(request, true)));
    separated(&w.rejected(by("dan"), decide(request, true)));
    separated(&w.rejected(by("cora"), decide(request, false)));
    forbidden(&w.rejected(by("bot"), decide(request, true)));
    forbidden(&w.rejected(Actor::Operator, decide(request, true)));
    forbidden(&w.rejected(node(1), decide(request, true)));

    let ask = w.exact("bot", digest(2));
    let command = Command::OpenRequest {
        principal: name("bot"),
        on_behalf_of: Some(name("fay")),
        target: name("orders"),
        ask,
        reason: String::new(),
    };
    let (behalf, _) = w.request(node(1), command);
    separated(&w.rejected(by("fay"), decide(behalf, true)));

    // Who opened it for the agent is in it too.
    let ask = w.exact("bot", digest(3));
    let (opened, _) = w.request(by("ana"), request_command("bot", ask));
    separated(&w.rejected(by("ana"), decide(opened, true)));

    // A person's own.
    let (own, _) = w.request(by("ben"), request_command("ben", window("postgres:select on app.public.*", Duration::from_secs(60))));
    separated(&w.rejected(by("ben"), decide(own, true)));
    w.done(by("eve"), decide(own, true));
}

#[test]
fn handing_the_agent_over_frees_nobody() {
    let mut w = World::new();
    for who in ["cora", "fay"] {
        w.grant(by("ana"), with_roles(administration(who, "assize:read on role/*"), &["reviewer"]));
    }
    let request = w.open(digest(1));
    w.done(by("ana"), agent_command("bot", "fay", Some("reports"), true));
    separated(&w.rejected(by("cora"), decide(request, true)));
    separated(&w.rejected(by("fay"), decide(request, true)));
}

#[test]
fn deciding_takes_the_right_or_owning_the_target() {
    let mut w = World::new();
    let request = w.open(digest(1));
    forbidden(&w.rejected(by("fay"), decide(request, true)));
    w.done(by("ana"), Command::WithdrawRequest { request });
    w.done(by("ana"), deciding_on_target("orders", Some("fay"), 1));
    let request = w.open(digest(2));
    w.done(by("fay"), decide(request, true));
    assert_eq!(*status(&w, request), RequestStatus::Approved { grant: None });
}

#[test]
fn n_different_people_approve_and_one_denial_ends_it() {
    let mut w = World::new();
    needs_two(&mut w);
    let request = w.open(digest(1));
    w.done(by("ben"), decide(request, true));
    w.done(by("ben"), decide(request, true));
    assert_eq!(*status(&w, request), RequestStatus::Pending, "one person twice is one");
    w.done(by("eve"), decide(request, true));
    assert_eq!(*status(&w, request), RequestStatus::Approved { grant: None });

    let request = w.open(digest(2));
    w.done(by("ben"), decide(request, true));
    w.done(by("eve"), decide(request, false));
    assert!(matches!(status(&w, request), RequestStatus::Denied(decision) if decision.by == name("eve")));
    assert!(matches!(w.rejected(by("ben"), decide(request, true)), Rejection::NotOpen { .. }));
}

#[test]
fn an_approval_by_someone_who_lost_the_right_does_not_count() {
    let mut w = World::new();
    needs_two(&mut w);
    let request = w.open(digest(1));
    w.done(by("ben"), decide(request, true));
    w.done(by("ana"), person_command("ben", false));
    w.done(by("eve"), decide(request, true));
    assert_eq!(*status(&w, request), RequestStatus::Pending);
    w.done(by("ana"), decide(request, true));
    assert_eq!(*status(&w, request), RequestStatus::Approved { grant: None });
    // … nor when it is spent.
    w.done(by("ana"), person_command("eve", false));
    assert!(matches!(w.rejected(node(1), spend(request, digest(1), operation_id(1, 1))), Rejection::NotOpen { .. }));
    assert_eq!(*status(&w, request), RequestStatus::Pending);
}

#[test]
fn an_approval_is_spent_once_and_repeating_is_safe() {
    let mut w = World::new();
    let request = w.open(digest(1));
    assert!(matches!(w.rejected(node(1), spend(request, digest(1), operation_id(1, 1))), Rejection::NotOpen { .. }));
    w.done(by("ben"), decide(request, true));
    invalid_field(&w.rejected(node(1), spend(request, digest(2), operation_id(1, 1))), "digest");
    forbidden(&w.rejected(node(2), spend(request, digest(1), operation_id(1, 1))));
    forbidden(&w.rejected(by("fay"), spend(request, digest(1), operation_id(1, 1))));
    assert_eq!(w.run(node(1), spend(request, digest(1), operation_id(1, 1))), Reply::Spent);
    assert_eq!(w.run(node(1), spend(request, digest(1), operation_id(1, 1))), Reply::Spent);
    assert_eq!(w.rejected(node(1), spend(request, digest(1), operation_id(1, 2))), Rejection::AlreadySpent { request });
    assert_eq!(w.rejected(node(2), spend(request, digest(1), operation_id(2, 1))), Rejection::AlreadySpent { request });
}

#[test]
fn only_who_spent_gives_back() {
    let mut w = World::new();
    let request = w.open(digest(1));
    w.done(by("ben"), decide(request, true));
    w.run(node(1), spend(request, digest(1), operation_id(1, 1)));
    let back = |by| Command::ReturnApproval { request, by };
    let mut other_boot = operation_id(1, 1);
    other_boot.session.boot = crate::id::BootId(8);
    assert_eq!(w.rejected(node(1), back(other_boot)), Rejection::AlreadySpent { request });
    assert_eq!(w.rejected(node(1), back(operation_id(1, 2))), Rejection::AlreadySpent { request });
    w.done(node(1), back(operation_id(1, 1)));
    assert_eq!(*status(&w, request), RequestStatus::Approved { grant: None });
    assert_eq!(w.run(node(2), spend(request, digest(1), operation_id(2, 9))), Reply::Spent);
}

#[test]
fn a_version_that_moved_reopens_and_asking_again_goes_on_under_the_same_id() {
    let mut w = World::new();
    let request = w.open(digest(1));
    w.done(by("ben"), decide(request, true));
    w.done(by("ana"), job_command("reports", "postgres:select on app.public.*"));
    assert!(matches!(w.rejected(node(1), spend(request, digest(1), operation_id(1, 1))), Rejection::NotOpen { .. }));
    assert_eq!(*status(&w, request), RequestStatus::Reopened);
    assert!(w.state.requests[&request].approvals.is_empty());
    assert!(matches!(w.rejected(by("ben"), decide(request, true)), Rejection::NotOpen { .. }), "what it was judged under is gone");

    // The client tries again: same text, other versions, so another digest.
    let Ask::Exact { parameters, context, missing, job_version, target_version, under, .. } = w.exact("bot", digest(2)) else {
        unreachable!("an exact ask")
    };
    let Ask::Exact { statement, .. } = &w.state.requests[&request].ask else { unreachable!("an exact ask") };
    let ask =
        Ask::Exact { digest: digest(2), statement: statement.clone(), parameters, context, missing, job_version, target_version, under };
    assert_eq!(w.request(node(1), request_command("bot", ask)), (request, true));
    w.done(by("ben"), decide(request, true));
    assert_eq!(w.run(node(1), spend(request, digest(2), operation_id(1, 2))), Reply::Spent);
}

#[test]
fn a_request_under_old_versions_is_not_taken() {
    let mut w = World::new();
    let ask = w.exact("bot", digest(1));
    w.done(by("ana"), job_command("reports", "postgres:select on app.public.*"));
    assert!(matches!(w.rejected(node(1), request_command("bot", ask)), Rejection::Conflict { .. }));
}

#[test]
fn a_request_expires_by_log_time_and_is_forgotten_later() {
    let mut w = World::new();
    let (waiting, approved) = (w.open(digest(1)), w.open(digest(2)));
    w.done(by("ben"), decide(approved, true));
    w.pass(Duration::from_secs(3600));
    assert_eq!((status(&w, waiting), status(&w, approved)), (&RequestStatus::Expired, &RequestStatus::Expired));
    assert!(matches!(w.rejected(by("ben"), decide(waiting, true)), Rejection::NotOpen { .. }));
    assert!(matches!(w.rejected(node(1), spend(approved, digest(2), operation_id(1, 1))), Rejection::NotOpen { .. }));
    w.pass(crate::limits::REQUEST_KEPT);
    assert!(w.state.requests.is_empty());
}

#[test]
fn an_approved_window_is_a_grant_that_ends() {
    let mut w = World::new();
    let length = Duration::from_secs(600);
    let ask = window("postgres:delete on app.public.orders", length);
    let (request, _) = w.request(by("bot"), request_command("bot", ask.clone()));
    assert_eq!(w.request(by("cora"), request_command("bot", ask)), (request, true), "an identical window joins");
    w.done(by("ben"), decide(request, true));
    let RequestStatus::Approved { grant: Some(id) } = status(&w, request).clone() else { panic!("{:?}", status(&w, request)) };
    let grant = &w.state.grants[&id];
    assert_eq!((&grant.principal, &grant.source, &grant.status), (&name("bot"), &GrantSource::Request(request), &GrantStatus::Active));
    assert_eq!(grant.expires, Some(w.state.now.after(length)));
    assert_eq!(grant.granted_by, name("ben"));
    assert!(matches!(w.rejected(by("bot"), Command::WithdrawRequest { request }), Rejection::NotOpen { .. }));
    w.pass(length);
    assert!(!w.state.grants[&id].is_live(w.state.now));
    w.pass(Duration::from_secs(3600));
    assert_eq!(*status(&w, request), RequestStatus::Approved { grant: Some(id) }, "an answered request does not expire");
}

#[test]
fn only_the_asking_side_or_a_right_withdraws() {
    let mut w = World::new();
    let withdrawn = |w: &World, request| matches!(status(w, request), RequestStatus::Withdrawn { .. });
    let request = w.open(digest(1));
    forbidden(&w.rejected(by("fay"), Command::WithdrawRequest { request }));
    w.done(by("cora"), Command::WithdrawRequest { request });
    assert!(withdrawn(&w, request));
    let request = w.open(digest(2));
    w.done(by("ben"), decide(request, true));
    w.done(by("ana"), Command::WithdrawRequest { request });
    assert!(withdrawn(&w, request), "an unused approval too");
    assert!(matches!(w.rejected(node(1), spend(request, digest(2), operation_id(1, 1))), Rejection::NotOpen { .. }));
    let open: Vec<&Request> = w.state.open_requests_for(&name("orders")).collect();
    assert!(open.is_empty(), "{open:?}");
}
