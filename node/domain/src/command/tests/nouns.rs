//! Principals, tokens, targets, credentials, roles, jobs.

use super::*;
use crate::id::TokenId;
use crate::lock::LockOn;
use crate::principal::PrincipalKind;

#[test]
fn an_agent_needs_an_active_person_as_its_owner() {
    let mut w = World::new();
    invalid_field(&w.rejected(by("ana"), agent_command("x", "nobody", None, true)), "owner");
    invalid_field(&w.rejected(by("ana"), agent_command("x", "bot", None, true)), "owner");
    w.done(by("ana"), person_command("cora", false));
    invalid_field(&w.rejected(by("ana"), agent_command("x", "cora", None, true)), "owner");
    // Nobody answers for the agent any more: it can still be switched off.
    w.done(by("ana"), agent_command("bot", "cora", Some("reports"), false));
}

#[test]
fn an_agent_needs_a_job_that_exists_and_two_different_owners() {
    let mut w = World::new();
    invalid_field(&w.rejected(by("ana"), agent_command("x", "cora", Some("none"), true)), "job");
    let kind = PrincipalKind::Agent { owner: name("cora"), backup_owner: Some(name("cora")), job: None };
    let command = Command::PutPrincipal { name: name("x"), kind, active: true, labels: BTreeMap::new(), expect: Expect::Any };
    invalid_field(&w.rejected(by("ana"), command), "backup_owner");
}

#[test]
fn an_agent_does_not_become_a_person() {
    let mut w = World::new();
    invalid_field(&w.rejected(by("ana"), person_command("bot", true)), "kind");
    invalid_field(&w.rejected(by("ana"), agent_command("fay", "cora", None, true)), "kind");
}

#[test]
fn names_of_the_gateway_are_not_given_away() {
    let mut w = World::new();
    invalid_field(&w.rejected(by("ana"), person_command("assize.operator", true)), "name");
    invalid_field(&w.rejected(by("ana"), target_command("assize")), "name");
}

#[test]
fn putting_what_is_there_already_changes_nothing() {
    let mut w = World::new();
    for (actor, command) in [
        (by("ana"), person_command("fay", true)),
        (by("ana"), agent_command("bot", "cora", Some("reports"), true)),
        (by("ana"), credential_command("orders-login", "gateway")),
        (by("ana"), target_command("orders")),
        (by("ana"), job_command("reports", "postgres:select,insert on app.public.*")),
    ] {
        let before = w.next_index();
        let version = w.done(actor, command.clone());
        assert!(version < before, "{command:?} made version {version}");
    }
}

#[test]
fn an_update_names_the_version_it_read() {
    let mut w = World::new();
    let current = w.state.principals[&name("fay")].version;
    let put = |expect| Command::PutPrincipal {
        name: name("fay"),
        kind: PrincipalKind::Person { email: Some("fay@example.org".to_owned()), certificate: None },
        active: true,
        labels: BTreeMap::new(),
        expect,
    };
    assert!(matches!(w.rejected(by("ana"), put(Expect::Absent)), Rejection::Exists { .. }));
    let rejection = w.rejected(by("ana"), put(Expect::Version(Index(1))));
    assert_eq!(rejection, Rejection::Conflict { what: "principal fay".to_owned(), expected: Index(1), current });
    let version = w.done(by("ana"), put(Expect::Version(current)));
    assert_eq!(w.state.principals[&name("fay")].version, version);
    let gone = Command::DeletePrincipal { name: name("nobody"), expect: Expect::Any };
    assert!(matches!(w.rejected(by("ana"), gone), Rejection::NotFound { .. }));
}

#[test]
fn what_is_used_is_not_deleted() {
    let mut w = World::new();
    let in_use = |rejection: Rejection, user: &str| match rejection {
        Rejection::InUse { by, .. } => assert_eq!(by, user),
        other => panic!("{other:?}"),
    };
    let any = Expect::Any;
    let grant = w.state.grants_of(&name("bot")).next().expect("a grant").id;
    in_use(w.rejected(by("ana"), Command::DeletePrincipal { name: name("cora"), expect: any }), "agent bot");
    in_use(w.rejected(by("ana"), Command::DeletePrincipal { name: name("bot"), expect: any }), &grant.to_string());
    in_use(w.rejected(by("ana"), Command::DeleteTarget { name: name("orders"), expect: any }), &grant.to_string());
    in_use(w.rejected(by("ana"), Command::DeleteCredential { name: name("orders-login"), expect: any }), "target orders");
    in_use(w.rejected(by("ana"), Command::DeleteJob { name: name("reports"), expect: any }), "agent bot");
    w.done(by("ana"), Command::RevokeGrant { grant, reason: "done".to_owned() });
    w.done(by("ana"), Command::DeletePrincipal { name: name("bot"), expect: any });
    w.done(by("ana"), Command::DeleteTarget { name: name("orders"), expect: any });
    w.done(by("ana"), Command::DeleteCredential { name: name("orders-login"), expect: any });
    w.done(by("ana"), Command::DeleteJob { name: name("reports"), expect: any });
    w.done(by("ana"), Command::DeletePrincipal { name: name("cora"), expect: any });
}

#[test]
fn a_role_in_use_stays_and_built_in_roles_are_not_touched() {
    let mut w = World::new();
    let put = |role: &str, permissions: &str| Command::PutRole {
        name: name(role),
        description: String::new(),
        permissions: perms(permissions),
        expect: Expect::Any,
    };
    w.done(by("ana"), put("reader", "postgres:select on *.*.*"));
    let grant = w.grant(by("ana"), with_roles(grant_command("bot", "orders", "postgres:select on a.b.c"), &["reader"]));
    let delete = |role: &str| Command::DeleteRole { name: name(role), expect: Expect::Any };
    assert!(matches!(w.rejected(by("ana"), delete("reader")), Rejection::InUse { .. }));
    w.done(by("ana"), Command::RevokeGrant { grant, reason: String::new() });
    w.done(by("ana"), delete("reader"));
    forbidden(&w.rejected(by("ana"), put("admin", "assize:read on */*")));
    forbidden(&w.rejected(by("ana"), delete("auditor")));
    forbidden(&w.rejected(by("ana"), put("client", "postgres:select on *.*.*")));
    w.done(node(1), put("client", "postgres:session on *.setting.*"));
    forbidden(&w.rejected(node(1), put("reader", "postgres:select on *.*.*")));
}

#[test]
fn a_token_is_found_by_its_secret_until_it_expires_or_is_revoked() {
    let mut w = World::new();
    let end = w.stamp.after(Duration::from_secs(60));
    let token = w.token(by("ana"), token_command("bot", 1, Some(end)));
    let owner = |w: &World, secret: u8| w.state.token(&digest(secret), w.state.now).map(|(p, t)| (p.name.clone(), t.id));
    assert_eq!(owner(&w, 1), Some((name("bot"), token)));
    assert!(matches!(w.rejected(by("ana"), token_command("fay", 1, None)), Rejection::Exists { .. }));
    let second = w.token(by("ana"), token_command("bot", 2, None));
    w.pass(Duration::from_secs(60));
    assert_eq!(owner(&w, 1), None);
    assert_eq!(owner(&w, 2), Some((name("bot"), second)));
    let revoked = w.done(by("ana"), Command::RevokeToken { principal: name("bot"), token: second });
    assert_eq!(owner(&w, 2), None);
    assert_eq!(w.state.principals[&name("bot")].narrowed, revoked);
    assert!(matches!(
        w.rejected(by("ana"), Command::RevokeToken { principal: name("bot"), token: TokenId(1) }),
        Rejection::NotFound { .. }
    ));
}

#[test]
fn tokens_are_bounded_and_share_one_salt() {
    let mut w = World::new();
    for secret in 0..crate::limits::TOKENS_PER_PRINCIPAL_MAX {
        w.token(by("ana"), token_command("bot", secret as u8, None));
    }
    invalid_field(&w.rejected(by("ana"), token_command("bot", 200, None)), "principal");
    w.token(by("ana"), token_command("fay", 201, None));
    let Command::IssueToken { principal, usage, lookup, mut scram, label, expires } = token_command("fay", 202, None) else {
        unreachable!("a token command")
    };
    scram.salt = [1; 16];
    invalid_field(&w.rejected(by("ana"), Command::IssueToken { principal, usage, lookup, scram, label, expires }), "scram");
}

#[test]
fn a_certificate_names_one_person() {
    let mut w = World::new();
    let with = |person: &str| Command::PutPrincipal {
        name: name(person),
        kind: PrincipalKind::Person { email: None, certificate: Some(digest(5)) },
        active: true,
        labels: BTreeMap::new(),
        expect: Expect::Any,
    };
    w.done(by("ana"), with("fay"));
    assert_eq!(w.state.person_by_certificate(&digest(5)).map(|p| p.name.clone()), Some(name("fay")));
    invalid_field(&w.rejected(by("ana"), with("eve")), "certificate");
    w.done(by("ana"), person_command("fay", true));
    assert_eq!(w.state.person_by_certificate(&digest(5)), None);
}

#[test]
fn a_target_is_checked_field_by_field() {
    let mut w = World::new();
    let changed = |change: &dyn Fn(&mut String, &mut Duration, &mut Duration, &mut u32, &mut Name)| match target_command("other") {
        Command::PutTarget {
            name,
            protocol,
            mut address,
            tls,
            mut credential,
            default_database,
            mut hold,
            mut request_expiry,
            mut approvals_needed,
            owner,
            labels,
            weak_cancel,
            expect,
        } => {
            change(&mut address, &mut hold, &mut request_expiry, &mut approvals_needed, &mut credential);
            Command::PutTarget {
                name,
                protocol,
                address,
                tls,
                credential,
                default_database,
                hold,
                request_expiry,
                approvals_needed,
                owner,
                labels,
                weak_cancel,
                expect,
            }
        }
        other => other,
    };
    for bad in ["", "db", "db:", "db:0", ":5432", "db:70000"] {
        invalid_field(&w.rejected(by("ana"), changed(&|address, _, _, _, _| *address = bad.to_owned())), "address");
    }
    invalid_field(&w.rejected(by("ana"), changed(&|_, hold, _, _, _| *hold = Duration::from_secs(3600))), "hold");
    invalid_field(&w.rejected(by("ana"), changed(&|_, _, expiry, _, _| *expiry = Duration::ZERO)), "request_expiry");
    invalid_field(&w.rejected(by("ana"), changed(&|_, _, _, needed, _| *needed = 0)), "approvals_needed");
    invalid_field(&w.rejected(by("ana"), changed(&|_, _, _, _, credential| *credential = name("none"))), "credential");
}

#[test]
fn only_what_takes_away_narrows() {
    let mut w = World::new();
    let narrowed = |w: &World| w.state.jobs[&name("reports")].narrowed;
    let before = narrowed(&w);
    w.done(by("ana"), job_command("reports", "postgres:select,insert,update on app.public.*"));
    assert_eq!(narrowed(&w), before, "more permissions");
    let less = w.done(by("ana"), job_command("reports", "postgres:select on app.public.*"));
    assert_eq!(narrowed(&w), less, "fewer permissions");

    let before = w.state.credentials[&name("orders-login")].narrowed;
    w.done(
        by("ana"),
        Command::PutCredential {
            name: name("orders-login"),
            username: "gateway".to_owned(),
            sealed: crate::credential::Sealed { key_id: 2, wrapped_key: vec![7], nonce: [1; 12], ciphertext: vec![8] },
            expect: Expect::Any,
        },
    );
    assert_eq!(w.state.credentials[&name("orders-login")].narrowed, before, "rotated");
    let other = w.done(by("ana"), credential_command("orders-login", "somebody"));
    assert_eq!(w.state.credentials[&name("orders-login")].narrowed, other, "another user");

    let off = w.done(by("ana"), person_command("cora", false));
    assert_eq!(w.state.principals[&name("bot")].narrowed, off, "its owner is switched off");
}

#[test]
fn whoever_may_write_does_not_promote_themselves() {
    let mut w = World::new();
    w.done(by("ana"), person_command("olga", true));
    w.grant(by("ana"), with_roles(administration("olga", "assize:read on role/*"), &["operator"]));
    w.done(by("olga"), agent_command("bot2", "cora", None, true));
    w.grant(by("olga"), grant_command("bot2", "orders", "postgres:select on *.*.*"));
    forbidden(&w.rejected(by("olga"), administration("olga", "assize:* on */*")));
    forbidden(&w.rejected(by("olga"), person_command("mallory", true)));
    forbidden(&w.rejected(by("olga"), token_command("ana", 77, None)));
    w.token(by("olga"), token_command("bot2", 78, None));
    w.token(by("olga"), token_command("olga", 79, None));
    let role =
        Command::PutRole { name: name("power"), description: String::new(), permissions: perms("assize:* on */*"), expect: Expect::Any };
    forbidden(&w.rejected(by("olga"), role));
    forbidden(&w.rejected(by("fay"), person_command("mallory", true)));
    forbidden(&w.rejected(by("nobody"), target_command("x")));
}

#[test]
fn rights_are_looked_at_when_a_command_is_applied() {
    let mut w = World::new();
    w.lock(by("ana"), Command::CreateLock { on: LockOn::Principal(name("ben")), reason: "stolen laptop".to_owned(), expires: None });
    let request = w.open(digest(1));
    forbidden(&w.rejected(by("ben"), decide(request, true)));
    w.done(by("eve"), decide(request, true));
}
