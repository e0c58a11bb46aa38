//! What a permit says, and when it says it no more.

use std::time::Duration;

use super::*;
use crate::command::Command;
use crate::grant::TargetSelector;
use crate::id::{Index, RevocationId};

const READ: &str = "postgres:select on app.public.orders";
const DELETE: &str = "postgres:delete on app.public.orders";

fn permit(w: &World, principal: &str) -> Permit {
    let admission = w.admit(principal, "orders");
    admission.permit.unwrap_or_else(|| panic!("{:?}", admission.outcome))
}

fn refused(w: &World, principal: &str) -> Refusal {
    match w.admit(principal, "orders").outcome {
        Outcome::Revoked(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn judge(w: &World, permit: &Permit, accesses: &str) -> Verdict {
    permit.judge(&w.state, &operation(accesses), &digest(1), w.state.now, &NoRules).verdict
}

fn only_grant(w: &World) -> GrantId {
    w.state.grants_of(&name("bot")).next().expect("a grant").id
}

fn lock(w: &mut World, on: LockOn, expires: Option<LogTime>) -> crate::id::LockId {
    w.lock(by("ana"), Command::CreateLock { on, reason: "incident".to_owned(), expires })
}

#[test]
fn a_permit_names_the_grants_that_cover() {
    let w = World::new();
    let permit = permit(&w, "bot");
    assert_eq!(judge(&w, &permit, READ), Verdict::Allow { grants: vec![only_grant(&w)] });
    let Verdict::Hold { missing } = judge(&w, &permit, &format!("{READ}\n{DELETE}")) else { panic!("held") };
    assert_eq!(missing, operation(DELETE).accesses.to_vec(), "only what is missing is asked for");
    assert_eq!(permit.covers(&operation(READ).accesses[0]), Some(only_grant(&w)));
    assert_eq!(permit.covers(&operation(DELETE).accesses[0]), None);
    let nothing = Operation { accesses: Vec::new().into(), ..operation(READ) };
    assert_eq!(permit.judge(&w.state, &nothing, &digest(1), w.state.now, &NoRules).verdict, Verdict::Allow { grants: Vec::new() });
}

#[test]
fn the_admission_cites_what_it_read() {
    let w = World::new();
    let cited = w.admit("bot", "orders").cited;
    let s = &w.state;
    let grant = only_grant(&w);
    assert_eq!(
        cited,
        Cited {
            state: s.applied,
            principal: s.principals[&name("bot")].version,
            owner: Some(s.principals[&name("cora")].version),
            target: s.targets[&name("orders")].version,
            job: Some(s.jobs[&name("reports")].version),
            grants: vec![(grant, s.grants[&grant].version)],
            policy: None,
        }
    );
}

#[test]
fn two_grants_on_different_columns_cover_both() {
    let mut w = World::new();
    w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
    let one = w.grant(by("ana"), grant_command("bot2", "orders", "postgres:select on app.public.orders(id)"));
    let two = w.grant(by("ana"), grant_command("bot2", "orders", "postgres:select on app.public.orders(status)"));
    let permit = permit(&w, "bot2");
    assert_eq!(judge(&w, &permit, "postgres:select on app.public.orders(id,status)"), Verdict::Allow { grants: vec![one, two] });
    assert!(matches!(judge(&w, &permit, "postgres:select on app.public.orders(id,total)"), Verdict::Hold { .. }));
    assert!(matches!(judge(&w, &permit, READ), Verdict::Hold { .. }), "columns that are not known need all");
}

#[test]
fn a_permit_is_current_until_something_it_read_changes() {
    let mut w = World::new();
    let p = permit(&w, "bot");
    w.done(by("ana"), person_command("hal", true));
    w.pass(Duration::from_secs(5));
    w.open(digest(9));
    assert!(p.is_current(&w.state), "strangers, ticks and requests do not matter");
    let stale = |w: &World, what: &str| assert!(!p.is_current(&w.state), "{what}");
    let mut changed = w.clone();
    changed.grant(by("ana"), grant_command("bot", "orders", DELETE));
    stale(&changed, "another grant");
    let mut changed = w.clone();
    changed.done(by("ana"), person_command("cora", false));
    stale(&changed, "the owner");
    let mut changed = w.clone();
    changed.done(by("ana"), job_command("reports", READ));
    stale(&changed, "the job");
    for on in [
        LockOn::Principal(name("cora")),
        LockOn::Target(name("orders")),
        LockOn::Credential(name("orders-login")),
        LockOn::Session(session(1, 1)),
    ] {
        let mut changed = w.clone();
        lock(&mut changed, on.clone(), None);
        stale(&changed, &format!("{on:?}"));
    }
    let mut loaded = w.state.clone();
    loaded.rebuild_indexes();
    assert!(!p.is_current(&loaded), "after a load everything is looked at again");
    assert!(p.renew(&loaded, loaded.now, &NoRules).is_ok());
}

/// Whatever is found must be what a review would say now; and it is found exactly while the permit is current.
#[test]
fn a_review_done_lately_is_taken_again_only_while_it_would_say_the_same() {
    let mut w = World::new();
    let second = Attempt { session: session(2, 9), ..attempt("bot", "orders") };
    let mut recent = Recent::default();
    assert!(recent.find(&w.state, &second, w.state.now).is_none());
    recent.keep(&attempt("bot", "orders"), &w.admit("bot", "orders"));
    recent.keep(&attempt("bot", "nowhere"), &w.admit("bot", "nowhere"));
    w.done(by("ana"), person_command("hal", true));
    w.pass(Duration::from_secs(5));

    let again = recent.find(&w.state, &second, w.state.now).expect("nothing has changed for bot");
    let anew = admit(&w.state, &second, w.state.now, &NoRules);
    assert_eq!((&again.outcome, &again.cited), (&anew.outcome, &anew.cited));
    let (again, anew) = (again.permit.expect("admitted"), anew.permit.expect("admitted"));
    assert_eq!((again.session(), again.permissions(), again.grants()), (second.session, anew.permissions(), anew.grants()));
    assert_eq!(again.valid_until(), anew.valid_until());
    let none = |w: &World, attempt: &Attempt| assert!(recent.find(&w.state, attempt, w.state.now).is_none(), "{attempt:?}");
    none(&w, &attempt("bot", "nowhere"));
    none(&w, &Attempt { on_behalf_of: Some(name("cora")), ..second.clone() });

    let mut narrowed = w.clone();
    narrowed.done(by("ana"), Command::RevokeGrant { grant: only_grant(&w), reason: "incident 12".to_owned() });
    none(&narrowed, &second);
    for on in [LockOn::Principal(name("cora")), LockOn::Target(name("orders")), LockOn::Session(second.session)] {
        let mut locked = w.clone();
        lock(&mut locked, on, None);
        none(&locked, &second);
    }
    let mut ends = grant_command("bot", "orders", READ);
    let Command::IssueGrant { expires, .. } = &mut ends else { unreachable!("it is one") };
    *expires = Some(w.state.now.after(Duration::from_secs(60)));
    w.grant(by("ana"), ends);
    recent.keep(&second, &admit(&w.state, &second, w.state.now, &NoRules));
    assert!(recent.find(&w.state, &second, w.state.now).is_some());
    assert!(recent.find(&w.state, &second, w.state.now.after(Duration::from_secs(60))).is_none(), "time changes what is permitted");
}

#[test]
fn a_stale_permit_does_not_decide() {
    let mut w = World::new();
    let p = permit(&w, "bot");
    w.grant(by("ana"), grant_command("bot", "orders", "postgres:insert on app.public.*"));
    assert!(matches!(judge(&w, &p, "postgres:insert on app.public.orders"), Verdict::Allow { .. }), "admission was asked again");
    let grant = only_grant(&w);
    w.done(by("ana"), Command::RevokeGrant { grant, reason: "incident 12".to_owned() });
    let Verdict::EndSession(Refusal::Revoked { revocation, reason }) = judge(&w, &p, READ) else { panic!("ended") };
    assert_eq!((Index(revocation.0), reason.as_str()), (w.state.applied, "incident 12"));
    assert_eq!(p.ended_by(&w.state, w.state.now, &NoRules).as_deref(), Some(format!("{revocation}: incident 12").as_str()));
}

#[test]
fn what_was_taken_and_given_back_still_ends_the_session() {
    let mut w = World::new();
    let p = permit(&w, "bot");
    for on in [
        LockOn::Principal(name("bot")),
        LockOn::Principal(name("cora")),
        LockOn::Target(name("orders")),
        LockOn::Credential(name("orders-login")),
    ] {
        let mut w = w.clone();
        let id = lock(&mut w, on.clone(), None);
        let stopped = Refusal::Revoked { revocation: RevocationId(id.0), reason: format!("locked: incident ({id})") };
        assert_eq!(p.renew(&w.state, w.state.now, &NoRules).err(), Some(stopped), "its reason is told, {on:?}");
        w.done(by("ana"), Command::DeleteLock { lock: id });
        assert!(w.admit("bot", "orders").permit.is_some(), "a new session is fine after {on:?}");
        assert!(matches!(p.renew(&w.state, w.state.now, &NoRules), Err(Refusal::Revoked { .. })), "the old one is not, {on:?}");
    }
    // More is no reason to end anything.
    w.grant(by("ana"), grant_command("bot", "orders", DELETE));
    w.done(by("ana"), job_command("reports", "postgres:* on *.*.*"));
    assert_eq!(p.ended_by(&w.state, w.state.now, &NoRules), None);
}

#[test]
fn time_alone_ends_a_permit() {
    let mut w = World::new();
    w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
    let at = |seconds| Some(START.after(Duration::from_secs(seconds)));
    w.grant(by("ana"), with_times(grant_command("bot2", "orders", "postgres:select on app.public.*"), None, at(100), at(60)));
    w.grant(by("ana"), with_times(grant_command("bot2", "orders", "postgres:insert on app.public.*"), at(30), at(200), None));
    let first = permit(&w, "bot2");
    assert_eq!(first.valid_until(), at(30), "a grant begins");
    let now = at(30).expect("a time");
    assert!(first.is_over(now) && first.is_current(&w.state));
    let second = first.renew(&w.state, now, &NoRules).expect("goes on").permit.expect("a permit");
    assert_eq!(second.valid_until(), at(60), "a review is due");
    assert!(second.writes_allowed() && !first.writes_allowed());
    let third = second.renew(&w.state, at(60).expect("a time"), &NoRules).expect("goes on").permit.expect("a permit");
    assert!(matches!(third.judge(&w.state, &operation(READ), &digest(1), at(61).expect("a time"), &NoRules).verdict, Verdict::Hold { .. }));
    assert_eq!(third.valid_until(), at(200));
    assert!(matches!(third.renew(&w.state, at(200).expect("a time"), &NoRules), Err(Refusal::ReviewOverdue)));
    w.pass(Duration::from_secs(300));
    assert_eq!(refused(&w, "bot2"), Refusal::GrantExpired);
}

#[test]
fn an_approval_counts_for_its_operation_only() {
    let mut w = World::new();
    let request = w.open(digest(1));
    let p = permit(&w, "bot");
    assert!(matches!(judge(&w, &p, DELETE), Verdict::Hold { .. }));
    w.done(by("ben"), decide(request, true));
    assert_eq!(judge(&w, &p, DELETE), Verdict::AllowByApproval { request });
    assert!(
        matches!(p.judge(&w.state, &operation(DELETE), &digest(2), w.state.now, &NoRules).verdict, Verdict::Hold { .. }),
        "another digest"
    );
    assert!(matches!(judge(&w, &p, READ), Verdict::Allow { .. }), "what is granted needs no approval");
    w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
    w.grant(by("ana"), grant_command("bot2", "orders", "postgres:select on app.public.*"));
    assert!(matches!(judge(&w, &permit(&w, "bot2"), DELETE), Verdict::Hold { .. }), "another principal");
    let late = w.state.now.after(Duration::from_secs(3600));
    assert!(
        matches!(p.judge(&w.state, &operation(DELETE), &digest(1), late, &NoRules).verdict, Verdict::Hold { .. }),
        "too late, before any tick says so"
    );
    let mut lost = w.clone();
    lost.done(by("ana"), person_command("ben", false));
    assert!(matches!(judge(&lost, &p, DELETE), Verdict::Hold { .. }), "who approved may not any more");
    w.run(node(1), Command::SpendApproval { request, digest: digest(1), by: operation_id(1, 1) });
    assert!(matches!(judge(&w, &p, DELETE), Verdict::Hold { .. }), "spent");
}

#[test]
fn an_approved_window_goes_beyond_the_job() {
    let mut w = World::new();
    let (request, _) = w.request(by("bot"), request_command("bot", window(DELETE, Duration::from_secs(60))));
    w.done(by("ben"), decide(request, true));
    let p = permit(&w, "bot");
    assert!(matches!(judge(&w, &p, DELETE), Verdict::Allow { .. }));
    assert_eq!(p.valid_until(), Some(w.state.now.after(Duration::from_secs(60))));
    // The same by a plain grant is cut to the job.
    w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
    w.grant(by("ana"), grant_command("bot2", "orders", DELETE));
    assert_eq!(refused(&w, "bot2"), Refusal::NoGrant);
}

#[test]
fn locks_refuse_and_say_which() {
    let w = World::new();
    for on in [
        LockOn::Principal(name("bot")),
        LockOn::Principal(name("cora")),
        LockOn::Target(name("orders")),
        LockOn::Credential(name("orders-login")),
        LockOn::Session(session(1, 1)),
    ] {
        let mut w = w.clone();
        let end = w.stamp.after(Duration::from_secs(60));
        let id = lock(&mut w, on, Some(end));
        assert_eq!(refused(&w, "bot").to_string(), format!("locked: incident ({id})"));
        assert!(admit(&w.state, &attempt("bot", "orders"), end, &NoRules).permit.is_some(), "until it ends, whatever the sweep did");
    }
}

#[test]
fn a_locked_role_takes_its_permissions_only() {
    let mut w = World::new();
    let role = Command::PutRole {
        name: name("writer"),
        description: String::new(),
        permissions: crate::fixture::perms("postgres:insert on app.public.*"),
        expect: crate::command::Expect::Any,
    };
    w.done(by("ana"), role);
    w.grant(by("ana"), with_roles(grant_command("bot", "orders", READ), &["writer"]));
    let insert = "postgres:insert on app.public.orders";
    assert!(matches!(judge(&w, &permit(&w, "bot"), insert), Verdict::Allow { .. }));
    let end = w.stamp.after(Duration::from_secs(60));
    lock(&mut w, LockOn::Role(name("writer")), Some(end));
    let p = permit(&w, "bot");
    assert!(matches!(judge(&w, &p, insert), Verdict::Hold { .. }));
    assert!(matches!(judge(&w, &p, READ), Verdict::Allow { .. }));
    assert_eq!(p.valid_until(), Some(end));
}

#[test]
fn a_delegator_must_be_able_to_act() {
    let mut w = World::new();
    let on_behalf = Attempt { on_behalf_of: Some(name("fay")), ..attempt("bot", "orders") };
    let p = admit(&w.state, &on_behalf, w.state.now, &NoRules).permit.expect("admitted");
    assert_eq!(p.on_behalf_of(), Some(&name("fay")));
    w.done(by("ana"), person_command("fay", false));
    assert!(!p.is_current(&w.state));
    assert!(matches!(p.renew(&w.state, w.state.now, &NoRules), Err(Refusal::PrincipalInactive)));
}

#[test]
fn what_a_session_may_write() {
    let mut w = World::new();
    w.done(by("ana"), job_command("reports", "postgres:* on *.*.*"));
    let writes = |permissions: &str| {
        let mut w = w.clone();
        w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
        w.grant(by("ana"), grant_command("bot2", "orders", permissions));
        permit(&w, "bot2").writes_allowed()
    };
    assert!(!writes("postgres:select,session on *.*.*"));
    assert!(!writes("postgres:call on *.pg_catalog.*"));
    assert!(writes("postgres:call on app.public.refund"));
    assert!(writes("postgres:insert on app.public.orders"));
}

#[test]
fn a_strict_grant_makes_the_permit_strict() {
    let mut w = World::new();
    assert!(!permit(&w, "bot").strict());
    let Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, source, .. } =
        grant_command("bot", "orders", READ)
    else {
        unreachable!("a grant command")
    };
    w.grant(
        by("ana"),
        Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict: true, source },
    );
    assert!(permit(&w, "bot").strict());
}

#[test]
fn labels_decide_which_targets_a_grant_selects() {
    let mut w = World::new();
    w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
    let by_label = |value: &str| TargetSelector::Labels([("env".to_owned(), value.to_owned())].into());
    w.grant(by("ana"), on_target(grant_command("bot2", "orders", READ), by_label("test")));
    assert_eq!(refused(&w, "bot2"), Refusal::NoGrant);
    w.grant(by("ana"), on_target(grant_command("bot2", "orders", READ), by_label("prod")));
    assert!(w.admit("bot2", "orders").permit.is_some());
}

#[test]
fn explain_says_which_grant_covers_what() {
    let w = World::new();
    let explanation = explain(&w.state, &attempt("bot", "orders"), &operation(&format!("{READ}\n{DELETE}")), w.state.now, &NoRules);
    let covered: Vec<bool> = explanation.accesses.iter().map(|(_, grant)| grant.is_some()).collect();
    assert_eq!(covered.iter().filter(|c| **c).count(), 1);
    assert!(matches!(explanation.judgement.map(|j| j.verdict), Some(Verdict::Hold { missing }) if missing.len() == 1));
    let nobody = explain(&w.state, &attempt("nobody", "orders"), &operation(READ), w.state.now, &NoRules);
    assert!(nobody.judgement.is_none());
}

/// A permit with a thousand tables answers like one with three.
#[test]
fn many_permissions_are_found_by_name() {
    let mut w = World::new();
    w.done(by("ana"), job_command("reports", "postgres:* on *.*.*"));
    let many: Vec<String> = (0..1000).map(|n| format!("postgres:select on app.public.table{n}")).collect();
    let grant = w.grant(by("ana"), grant_command("bot", "orders", &many.join("\n")));
    let p = permit(&w, "bot");
    for n in [0, 500, 999] {
        assert!(p.covers(&operation(&format!("postgres:select on app.public.table{n}")).accesses[0]).is_some());
    }
    assert!(p.grants().contains(&grant));
    assert!(p.covers(&operation("postgres:select on app.private.table7").accesses[0]).is_none());
}

/// A wide grant over a job that names every table: admitted at once, and what was dropped is told in short.
#[test]
fn a_wide_grant_is_cut_to_a_long_job() {
    let mut w = World::new();
    let many: Vec<String> = (0..1000).map(|n| format!("postgres:select on app.public.table{n}")).collect();
    w.done(by("ana"), job_command("reports", &many.join("\n")));
    w.done(by("ana"), agent_command("bot2", "cora", Some("reports"), true));
    w.grant(by("ana"), grant_command("bot2", "orders", "postgres:* on *.*.*"));
    let admission = w.admit("bot2", "orders");
    assert_eq!(admission.outcome, Outcome::Modified { dropped: vec!["part of postgres:* on *.*.*".to_owned()] });
    let p = admission.permit.expect("admitted");
    assert!(p.covers(&operation("postgres:select on app.public.table999").accesses[0]).is_some());
    assert_eq!(p.permissions(), crate::fixture::perms(&many.join("\n")));
}

/// Another node, which has no permit of that session, says what its own would say.
#[test]
fn whoever_has_no_permit_of_a_session_ends_what_its_own_node_would_end() {
    let w = World::new();
    let permit = permit(&w, "bot");
    let admitted_at = w.state.applied;
    let review = |state: &State, attempt: &Attempt, now| admit(state, attempt, now, &NoRules);
    let check = |w: &World| {
        let elsewhere = ended_since(&w.state, &attempt("bot", "orders"), admitted_at, w.state.now, review);
        let own = permit.renew(&w.state, w.state.now, &NoRules).err();
        assert_eq!(elsewhere, own);
        elsewhere
    };
    assert_eq!(check(&w), None, "nothing has changed");
    let mut other = w.clone();
    other.done(by("ana"), person_command("hal", true));
    assert_eq!(check(&other), None, "somebody else's affair");
    let mut more = w.clone();
    let second = more.grant(by("ana"), grant_command("bot", "orders", DELETE));
    assert_eq!(check(&more), None, "more access ends nothing");
    // Its own node has reviewed the session since, or has not: who cannot know that says it has.
    more.done(by("ana"), Command::RevokeGrant { grant: second, reason: "incident 11".to_owned() });
    assert!(ended_since(&more.state, &attempt("bot", "orders"), admitted_at, more.state.now, review).is_some());

    let mut revoked = w.clone();
    let revocation = revoked.done(by("ana"), Command::RevokeGrant { grant: only_grant(&w), reason: "incident 12".to_owned() });
    let refusal = check(&revoked).expect("revoked");
    assert_eq!(refusal, Refusal::Revoked { revocation: RevocationId(revocation.0), reason: "incident 12".to_owned() });
    // Another grant in its place helps the next session, not this one.
    revoked.grant(by("ana"), grant_command("bot", "orders", READ));
    assert_eq!(check(&revoked), Some(refusal));
    let fresh = revoked.state.applied;
    assert_eq!(ended_since(&revoked.state, &attempt("bot", "orders"), fresh, revoked.state.now, review), None, "admitted after it");

    for on in [LockOn::Principal(name("bot")), LockOn::Principal(name("cora")), LockOn::Target(name("orders"))] {
        let mut locked = w.clone();
        lock(&mut locked, on, None);
        assert!(check(&locked).is_some());
    }
}
