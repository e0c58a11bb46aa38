//! Grants, locks, and who may administer.

use super::*;
use crate::grant::GrantStatus;
use crate::id::SessionId;
use crate::lock::LockOn;
use crate::operation::Verb;

fn revoke(grant: GrantId, reason: &str) -> Command {
    Command::RevokeGrant { grant, reason: reason.to_owned() }
}

#[test]
fn a_grant_is_of_something_to_somebody_on_something() {
    let mut w = World::new();
    let select = "postgres:select on app.public.*";
    invalid_field(&w.rejected(by("ana"), grant_command("nobody", "orders", select)), "principal");
    invalid_field(&w.rejected(by("ana"), grant_command("bot", "nothing", select)), "target");
    invalid_field(&w.rejected(by("ana"), grant_command("bot", "orders", "assize:read on */*")), "permissions");
    invalid_field(&w.rejected(by("ana"), administration("bot", select)), "permissions");
    invalid_field(&w.rejected(by("ana"), with_roles(grant_command("bot", "orders", select), &["none"])), "roles");
    invalid_field(&w.rejected(by("ana"), with_roles(grant_command("bot", "orders", select), &["admin"])), "roles");
    invalid_field(&w.rejected(by("ana"), with_roles(grant_command("bot", "orders", select), &[])), "permissions");
    invalid_field(
        &w.rejected(by("ana"), on_target(grant_command("bot", "orders", select), TargetSelector::Labels(BTreeMap::new()))),
        "target",
    );
}

#[test]
fn a_grant_does_not_begin_in_the_past_tense() {
    let mut w = World::new();
    let (past, soon, later) = (Some(START), Some(w.stamp.after(Duration::from_secs(60))), Some(w.stamp.after(Duration::from_secs(120))));
    let plain = || grant_command("bot", "orders", "postgres:select on app.public.*");
    invalid_field(&w.rejected(by("ana"), with_times(plain(), None, past, None)), "expires");
    invalid_field(&w.rejected(by("ana"), with_times(plain(), None, None, past)), "review_due");
    invalid_field(&w.rejected(by("ana"), with_times(plain(), later, soon, None)), "valid_from");
    w.grant(by("ana"), with_times(plain(), soon, later, later));
}

#[test]
fn only_decisions_make_grants_from_requests_or_reviews() {
    let mut w = World::new();
    for forged in [GrantSource::Request(RequestId(1)), GrantSource::Review(ReviewId(1))] {
        let Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, .. } =
            grant_command("bot", "orders", "postgres:select on a.b.c")
        else {
            unreachable!("a grant command")
        };
        let command =
            Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, source: forged };
        invalid_field(&w.rejected(by("ana"), command), "source");
    }
}

#[test]
fn a_revoked_grant_stays_as_a_tombstone() {
    let mut w = World::new();
    let grant = w.state.grants_of(&name("bot")).next().expect("a grant").id;
    let at = w.done(by("ana"), revoke(grant, "not needed"));
    let tomb = &w.state.grants[&grant];
    assert_eq!((tomb.version, tomb.narrowed), (at, at));
    assert!(
        matches!(&tomb.status, GrantStatus::Revoked { by, reason, revocation, .. } if *by == name("ana") && reason == "not needed" && revocation.0 == at.0)
    );
    assert_eq!(w.done(by("ana"), revoke(grant, "again")), at, "the first revocation is the one on record");
    assert_eq!(w.state.grants_of(&name("bot")).count(), 0);
    assert!(matches!(w.rejected(by("ana"), revoke(GrantId(9999), "")), Rejection::NotFound { .. }));
}

#[test]
fn a_declared_grant_is_found_again_by_its_name() {
    let mut w = World::new();
    let select = || declared(grant_command("bot", "orders", "postgres:select on app.public.*"), "bot-reads");
    let grant = w.grant(by("ana"), select());
    let version = w.state.grants[&grant].version;
    assert_eq!(w.grant(by("ana"), select()), grant);
    assert_eq!(w.state.grants[&grant].version, version, "applying the same changes nothing");

    let more = declared(grant_command("bot", "orders", "postgres:select,insert on app.public.*"), "bot-reads");
    assert_eq!(w.grant(by("ana"), more), grant);
    assert!(w.state.grants[&grant].version > version);
    assert_eq!(w.state.grants[&grant].narrowed, version, "more is no narrowing");
    assert_eq!(w.grant(by("ana"), select()), grant);
    assert_eq!(w.state.grants[&grant].narrowed, w.state.applied, "less is");
}

#[test]
fn a_tombstone_is_not_revived_by_applying_again() {
    let mut w = World::new();
    let select = || declared(grant_command("bot", "orders", "postgres:select on app.public.*"), "bot-reads");
    let grant = w.grant(by("ana"), select());
    w.done(by("ana"), revoke(grant, "incident 12"));
    assert!(matches!(w.rejected(by("ana"), select()), Rejection::Conflict { .. }));
    // A person issues a new one under the name.
    let Command::IssueGrant { name, principal, target, permissions, roles, valid_from, expires, review_due, strict, .. } = select() else {
        unreachable!("a grant command")
    };
    let by_hand = Command::IssueGrant {
        name,
        principal,
        target,
        permissions,
        roles,
        valid_from,
        expires,
        review_due,
        strict,
        source: GrantSource::Baseline,
    };
    let second = w.grant(by("ana"), by_hand.clone());
    assert_ne!(second, grant);
    assert!(matches!(w.rejected(by("ana"), by_hand), Rejection::Exists { .. }));
}

#[test]
fn what_apply_pruned_may_be_declared_again() {
    let mut w = World::new();
    let select = || declared(grant_command("bot", "orders", "postgres:select on app.public.*"), "bot-reads");
    let grant = w.grant(by("ana"), select());
    w.done(by("ana"), revoke(grant, PRUNED));
    assert_ne!(w.grant(by("ana"), select()), grant);
}

#[test]
fn a_lock_narrows_what_it_is_on() {
    let mut w = World::new();
    let lock = |on| Command::CreateLock { on, reason: "incident".to_owned(), expires: None };
    assert!(matches!(w.rejected(by("ana"), lock(LockOn::Target(name("nothing")))), Rejection::NotFound { .. }));
    let version = w.state.targets[&name("orders")].version;
    let id = w.lock(by("ana"), lock(LockOn::Target(name("orders"))));
    let target = &w.state.targets[&name("orders")];
    assert_eq!((target.version, target.narrowed), (version, Index(id.0)), "locked, not changed");
    w.done(by("ana"), Command::DeleteLock { lock: id });
    assert_eq!(w.state.targets[&name("orders")].narrowed, Index(id.0), "the trace stays");
    assert!(w.state.locks.is_empty());
    w.lock(by("ana"), lock(LockOn::Credential(name("orders-login"))));
    assert_eq!(w.state.credentials[&name("orders-login")].narrowed, w.state.applied);
    w.lock(by("ana"), lock(LockOn::Role(name("reviewer"))));
    assert_eq!(w.state.roles[&name("reviewer")].narrowed, w.state.applied);
    w.lock(by("ana"), lock(LockOn::Principal(name("cora"))));
    assert_eq!(w.state.principals[&name("bot")].narrowed, w.state.applied, "and its agents");
}

#[test]
fn a_lock_on_a_session_ends_it_for_good() {
    let mut w = World::new();
    let on: SessionId = session(1, 1);
    let id = w.lock(by("ana"), Command::CreateLock { on: LockOn::Session(on), reason: "runaway".to_owned(), expires: None });
    invalid_field(&w.rejected(by("ana"), Command::DeleteLock { lock: id }), "lock");
    w.pass(crate::limits::SESSION_LOCK_KEPT);
    assert!(w.state.locks.is_empty(), "it is not kept for ever");
}

#[test]
fn administration_is_by_live_grants_on_assize() {
    let mut w = World::new();
    let may = |w: &World, who: &str, verb, noun: &str| w.state.may_administer(&name(who), verb, noun, "orders");
    assert!(may(&w, "ana", Verb::Operate, "grant"));
    assert!(may(&w, "ben", Verb::Decide, "request"));
    assert!(!may(&w, "ben", Verb::Write, "target"));
    assert!(!may(&w, "fay", Verb::Read, "target"));
    assert!(!may(&w, "bot", Verb::Read, "target"));
    w.done(by("ana"), person_command("ben", false));
    assert!(!may(&w, "ben", Verb::Decide, "request"), "not active");
    w.lock(by("ana"), Command::CreateLock { on: LockOn::Role(name("reviewer")), reason: String::new(), expires: None });
    assert!(!may(&w, "eve", Verb::Decide, "request"), "the role is locked");
}

#[test]
fn an_agent_administers_within_its_job_only() {
    let mut w = World::new();
    w.grant(by("ana"), administration("bot", "assize:read,write on target/*"));
    let may = |w: &World, verb| w.state.may_administer(&name("bot"), verb, "target", "orders");
    assert!(!may(&w, Verb::Read), "its job says nothing of it");
    w.done(by("ana"), job_command("reports", "postgres:select on app.public.*\nassize:read on target/*"));
    assert!(may(&w, Verb::Read));
    assert!(!may(&w, Verb::Write));
    w.done(by("ana"), person_command("cora", false));
    assert!(!may(&w, Verb::Read), "nobody answers for it");
}
