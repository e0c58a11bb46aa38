use identity::scram::MockKey;

use super::*;
use crate::handshake::Auth;

fn listening(target: Option<&str>) -> Listening {
    Listening {
        tls: None,
        tls_required: false,
        auth: Auth::Scram,
        target: target.map(|name| name.parse().expect("a name")),
        replication: false,
        mock: MockKey::new([0; 32]),
    }
}

fn check_on(target: Option<&str>, parameters: &[(&str, &str)]) -> Result<Opening, Refusal> {
    let owned = [("user", "agent")].iter().chain(parameters).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Opening::check(owned.collect(), &listening(target))
}

fn check(parameters: &[(&str, &str)]) -> Result<Opening, Refusal> {
    check_on(None, parameters)
}

fn settings(opening: &Opening) -> Vec<(&str, &str)> {
    opening.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn what_ordinary_drivers_send_is_taken() {
    let jdbc = check(&[
        ("database", "shop"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "Europe/Berlin"),
        ("extra_float_digits", "2"),
        ("application_name", "PostgreSQL JDBC Driver"),
    ])
    .expect("taken");
    assert_eq!(settings(&jdbc), [("datestyle", "ISO"), ("extra_float_digits", "2"), ("timezone", "Europe/Berlin")]);
    assert_eq!(jdbc.application, "PostgreSQL JDBC Driver");
    for encoding in ["UTF8", "utf-8", "'utf-8'", "unicode", "SQL_ASCII"] {
        assert!(check(&[("client_encoding", encoding)]).is_ok(), "{encoding}");
    }
    let options = check(&[("options", r"-c statement_timeout=5000 --search-path=a,b -cTimeZone=Etc/\ UTC")]).expect("taken");
    assert_eq!(settings(&options), [("search_path", "a,b"), ("statement_timeout", "5000"), ("timezone", "Etc/ UTC")]);
}

#[test]
fn a_run_is_named_by_the_application_or_an_option_and_ends_at_the_gateway() {
    let run = |parameters: &[(&str, &str)]| check(parameters).map(|opening| opening.run.map(|run| run.to_string()));
    assert_eq!(run(&[("application_name", "psql")]), Ok(None));
    assert_eq!(run(&[("application_name", "run:nightly-17")]), Ok(Some("nightly-17".into())));
    assert_eq!(run(&[("application_name", "run:nightly-17 importer 2.1")]), Ok(Some("nightly-17".into())));
    assert_eq!(run(&[("options", "-c assize.run=nightly-17")]), Ok(Some("nightly-17".into())));
    assert_eq!(run(&[("assize.run", "nightly-17"), ("application_name", "run:nightly-17")]), Ok(Some("nightly-17".into())));
    let opening = check(&[("options", "-c assize.run=7 -c jit=off")]).expect("taken");
    assert_eq!(settings(&opening), [("jit", "off")], "the target is told of its own settings only");
    let opening = check(&[("application_name", "run:7 importer")]).expect("taken");
    assert_eq!(opening.application, "run:7 importer", "what the client calls itself stays as it is");
    let long = "x".repeat(65);
    for bad in ["", "-1", "a/b", "a;b", "ä", &long] {
        assert!(matches!(run(&[("assize.run", bad)]), Err(Refusal::InvalidRun { .. })), "{bad:?}");
        assert!(matches!(run(&[("application_name", &format!("run:{bad}"))]), Err(Refusal::InvalidRun { .. })), "run:{bad}");
    }
    let two = run(&[("application_name", "run:one"), ("options", "-c assize.run=two")]);
    assert!(matches!(&two, Err(Refusal::InvalidRun { message }) if message.contains("one and two")), "{two:?}");
}

#[test]
fn what_would_change_identity_or_lexing_is_refused() {
    let pinned = |name: &str, value: &str| {
        let refusal = Err(Refusal::Pinned { setting: name.to_ascii_lowercase() });
        assert_eq!(check(&[(name, value)]), refusal, "{name}={value}");
        assert_eq!(check(&[("options", &format!("-c {name}={value}"))]), refusal, "-c {name}={value}");
    };
    pinned("role", "postgres");
    pinned("session_authorization", "postgres");
    pinned("standard_conforming_strings", "off");
    pinned("client_encoding", "SJIS");
    pinned("client_encoding", "LATIN1");
    pinned("backslash_quote", "on");
    pinned("session_preload_libraries", "evil");
    pinned("ROLE", "postgres");
    pinned("made.up", "1");
}

#[test]
fn options_that_are_no_settings_are_refused() {
    for options in ["-B 1", "-c", "-c name", "--", "name=value", "-f s", "-W 100", "-ctimezone"] {
        assert!(matches!(check(&[("options", options)]), Err(Refusal::Protocol { .. })), "{options}");
    }
}

#[test]
fn replication_is_refused_unless_the_listener_takes_it() {
    for value in ["database", "true", "on", "1", "YES", "maybe"] {
        assert!(matches!(check(&[("replication", value)]), Err(Refusal::Protocol { .. })), "{value}");
    }
    assert_eq!(check(&[("replication", "off")]).map(|opening| opening.replication), Ok(false));
    let open = Listening { replication: true, ..listening(None) };
    let parameters = vec![("user".into(), "agent".into()), ("replication".into(), "database".into())];
    assert_eq!(Opening::check(parameters, &open).map(|opening| opening.replication), Ok(true));
}

#[test]
fn the_database_names_the_target_on_a_shared_listener() {
    let destination = |bound, parameters: &[(&str, &str)]| {
        let opening = check_on(bound, parameters).expect("taken");
        (opening.target.map(|name| name.to_string()), opening.database)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(destination(None, &[("database", "shop")]), (some("shop"), None));
    assert_eq!(destination(None, &[("database", "shop/Orders 2")]), (some("shop"), some("Orders 2")));
    assert_eq!(destination(None, &[("database", "shop/a/b")]), (some("shop"), some("a/b")));
    assert_eq!(destination(None, &[("database", "Shop")]), (None, None));
    assert_eq!(destination(None, &[("database", "shop/")]), (None, None));
    assert_eq!(destination(None, &[]), (None, None));
    assert_eq!(destination(Some("shop"), &[("database", "a/b")]), (some("shop"), some("a/b")));
    assert_eq!(destination(Some("shop"), &[]), (some("shop"), None));
}

#[test]
fn a_user_is_needed_and_unknown_extensions_are_named() {
    assert!(matches!(Opening::check(Vec::new(), &listening(None)), Err(Refusal::Protocol { .. })));
    let opening = check(&[("_pq_.future", "1"), ("application_name", "a\u{1b}[31mb")]).expect("taken");
    assert_eq!(opening.unrecognized, ["_pq_.future"]);
    assert_eq!(opening.application, "a?[31mb");
}
