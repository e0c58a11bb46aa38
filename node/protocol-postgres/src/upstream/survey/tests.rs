//! Findings from surveys; reading real catalogues is tested against a real server from outside.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn at(last: u8) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
}

/// A role that may do what the grants use, and nothing else of note.
fn modest() -> (Survey, Used) {
    let table = |name: &str, privileges: &[&str]| Table {
        schema: "public".into(),
        name: name.into(),
        privileges: privileges.iter().map(|p| (*p).into()).collect(),
    };
    let survey = Survey {
        version: "15.1".into(),
        database: "app".into(),
        role: "gateway".into(),
        tables: vec![table("orders", &["select", "insert"]), table("notes", &["select"])],
        seen_as: at(1),
        sees_sessions: true,
        ..Survey::default()
    };
    let permissions = ["postgres:select,insert on app.public.orders", "postgres:select on app.public.notes(id)"];
    let permissions = permissions.iter().map(|text| text.parse().expect("permissions")).collect();
    (survey, Used { permissions, nodes: [at(1), at(2)].into_iter().flatten().collect() })
}

fn codes(survey: &Survey, used: &Used) -> Vec<(Severity, &'static str)> {
    findings(survey, used).into_iter().map(|finding| (finding.severity, finding.code)).collect()
}

#[test]
fn a_role_that_fits_its_grants_is_no_finding() {
    let (survey, used) = modest();
    assert_eq!(findings(&survey, &used), []);
}

#[test]
fn what_no_grant_uses_is_named_by_verb() {
    let (mut survey, used) = modest();
    survey.tables[1].privileges.push("delete".into());
    survey.tables.push(Table { schema: "hr".into(), name: "payroll".into(), privileges: vec!["select".into(), "delete".into()] });
    let found = findings(&survey, &used);
    let texts: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "gateway may delete where no live grant does: public.notes, hr.payroll",
            "gateway may select where no live grant does: hr.payroll"
        ]
    );
    assert_eq!((found[0].severity, found[1].severity), (Severity::Medium, Severity::Low));
}

#[test]
fn what_reaches_past_tables_is_high_and_comes_first() {
    let (mut survey, used) = modest();
    survey.attributes = vec![Attribute::CreateDb, Attribute::BypassRls, Attribute::CreateRole];
    survey.member_of = vec!["pg_read_server_files".into(), "reports".into()];
    let expected = [
        (Severity::High, "role-bypasses-rls"),
        (Severity::High, "role-creates-roles"),
        (Severity::High, "role-member-of-powerful"),
        (Severity::Medium, "role-member-of"),
        (Severity::Low, "role-creates-databases"),
    ];
    assert_eq!(codes(&survey, &used), expected);
    // A superuser has all of it: its tables are not counted up.
    survey.attributes = vec![Attribute::Superuser];
    survey.member_of.clear();
    survey.tables[0].privileges.push("truncate".into());
    assert_eq!(codes(&survey, &used), [(Severity::High, "role-superuser")]);
}

#[test]
fn sessions_are_told_by_role_and_address() {
    let (mut survey, used) = modest();
    let session = |role: &str, address| Session { pid: "7".into(), role: role.into(), application: "psql".into(), address };
    survey.sessions = vec![session("gateway", at(1)), session("gateway", at(2))];
    assert_eq!(codes(&survey, &used), []);
    survey.sessions.push(session("gateway", at(9)));
    survey.sessions.push(session("carl", None));
    let found = findings(&survey, &used);
    assert_eq!(found[0].text, "sessions as the sealed role that come from no node: gateway pid 7 from 10.0.0.9 (psql)");
    assert_eq!(found[1].text, "sessions that did not come through the gateway: carl pid 7 from an address that is not shown (psql)");
    assert_eq!((found[0].severity, found[1].severity), (Severity::High, Severity::Medium));
}

#[test]
fn other_ways_in_are_listed_up_to_a_bound() {
    let (mut survey, used) = modest();
    survey.logins = (0..10).map(|n| LoginRole { name: format!("user{n}"), superuser: false }).collect();
    survey.logins.push(LoginRole { name: "postgres".into(), superuser: true });
    survey.sees_sessions = false;
    survey.cut = true;
    let expected = [
        (Severity::Medium, "superuser-logins"),
        (Severity::Low, "other-logins"),
        (Severity::Low, "sessions-hidden"),
        (Severity::Low, "survey-cut"),
    ];
    assert_eq!(codes(&survey, &used), expected);
    assert!(findings(&survey, &used)[1].text.ends_with("user6, user7 and 2 more"), "{:?}", findings(&survey, &used)[1]);
}
