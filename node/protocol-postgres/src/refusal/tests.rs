use std::fmt::Write;

use domain::id::{LockId, RevocationId};

use super::*;

/// As psql prints it at its default verbosity, with the SQLSTATE in front.
fn printed(response: &Response) -> String {
    let mut out = format!("[{}] {}:  {}\n", response.sqlstate, response.severity.as_str(), response.message);
    for (name, text) in [("DETAIL", &response.detail), ("HINT", &response.hint)] {
        if let Some(text) = text {
            writeln!(out, "{name}:  {text}").expect("a string takes all");
        }
    }
    out
}

fn all() -> Vec<Refusal> {
    let request = RequestId(1043);
    vec![
        Refusal::UnknownPrincipal,
        Refusal::WrongSecret,
        Refusal::PrincipalInactive,
        Refusal::OwnerInactive { owner: "ann".parse().expect("a name") },
        Refusal::NoJob,
        Refusal::JobExpired,
        Refusal::UnknownTarget,
        Refusal::InvalidRun { message: "a run has 1 to 64 characters".into() },
        Refusal::NoGrant,
        Refusal::ReviewOverdue,
        Refusal::GrantExpired,
        Refusal::Locked { lock: LockId(1044), reason: "incident 7".into() },
        Refusal::NotGranted { missing: vec!["delete on shop.public.orders".into()] },
        Refusal::NotGranted { missing: (1..=7).map(|n| format!("select on shop.public.t{n}")).collect() },
        Refusal::NotGranted { missing: Vec::new() },
        Refusal::Unparseable { message: "syntax error at or near \"selct\"".into() },
        Refusal::Pinned { setting: "standard_conforming_strings".into() },
        Refusal::Denied { request, reason: "not on a Friday".into() },
        Refusal::RequestExpired { request },
        Refusal::Pending { request },
        Refusal::PendingInTransaction { request },
        Refusal::TooManyRequests { limit: 32 },
        Refusal::StatementTooLong { limit: 65_536 },
        Refusal::Protocol { message: "unknown message type 'y'".into() },
        Refusal::Revoked { revocation: RevocationId(1046), reason: "the job is done".into() },
        Refusal::NoLease,
        Refusal::NotRecorded,
        Refusal::OutcomeUnknown,
        Refusal::Draining,
        Refusal::TooManySessions { limit: 20_000 },
    ]
}

#[test]
fn every_refusal_reads_well_in_a_session() {
    let text: Vec<String> = all().iter().map(|refusal| printed(&error(refusal))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn every_refusal_reads_well_at_login() {
    let text: Vec<String> = all().iter().map(|refusal| printed(&login(refusal))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_held_statement_says_whom_to_ask() {
    let hold = Duration::from_secs(20);
    let text =
        [printed(&held_notice(RequestId(7), false, None, hold)), printed(&held_notice(RequestId(7), true, Some("deletes wait"), hold))];
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn unknown_and_forbidden_look_the_same() {
    assert_eq!(login(&Refusal::UnknownPrincipal), login(&Refusal::WrongSecret));
    assert_eq!(login(&Refusal::UnknownTarget), login(&Refusal::NoGrant));
}

#[test]
fn no_refusal_invites_a_driver_to_repeat_it_by_itself() {
    for refusal in all() {
        for response in [error(&refusal), login(&refusal), fatal(&refusal)] {
            assert!(response.sqlstate.len() == 5 && !response.sqlstate.starts_with("40"), "{refusal:?}");
        }
    }
}
