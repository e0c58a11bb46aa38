//! The checkers themselves: each passes a good history and finds the one violation planted in it.

use domain::id::{GrantId, Index};
use sim::simulation::check::{self, CHECKS};
use sim::simulation::history::{Fact, History, Revoked, Statement};
use sim::simulation::{END, Setup, figures, run};

const MS: u64 = figures::MS;

/// A run in which all kinds of things happened and nothing was wrong.
fn good() -> History {
    let run = run(Setup { seed: 3, flaw: None, calm: false, quirk: None });
    assert_eq!(check::all(&run.history), []);
    run.history
}

/// Puts a fact where it belongs in time.
fn plant(history: &mut History, at: u64, fact: Fact) {
    let place = history.facts.partition_point(|(t, _)| *t <= at);
    history.facts.insert(place, (at, fact));
}

fn statement(history: &mut History, change: impl FnOnce(&mut Statement)) -> usize {
    let mut new = Statement {
        node: 0,
        boot: 1,
        agent: 0,
        grants: vec![GrantId(7)],
        admitted_at: Index(20),
        decided_at: Index(20),
        decided: 0,
        granted: true,
        expires: None,
    };
    change(&mut new);
    history.statements.push(new);
    history.statements.len() - 1
}

/// Exactly this promise is broken, exactly once.
fn broken(history: &History, promise: &str) {
    let found = check::all(history);
    assert_eq!(found.iter().map(|v| v.promise).collect::<Vec<_>>(), [promise], "{found:#?}");
}

fn acknowledged(grant: Option<GrantId>, learned: u64) -> Fact {
    let revoked = Revoked { agent: 0, grant, revocation: Index(1_000) };
    Fact::Acknowledged { node: 1, revoked, learned, silent: 0, stopped_meanwhile: false }
}

/// Late in the run, when nobody revokes any more.
const LATE: u64 = 15_900 * MS;

#[test]
fn finds_a_delivery_after_the_acknowledgement() {
    for grant in [None, Some(GrantId(7))] {
        let mut history = good();
        // Only what is delivered in the last second of the run, so that no real statement is hit.
        let end = history.facts.iter().filter(|(_, f)| matches!(f, Fact::Delivered { .. })).map(|(at, _)| *at).max().expect("some") + MS;
        let statement = statement(&mut history, |_| {});
        plant(&mut history, end, acknowledged(grant, end));
        let mut in_time = history.clone();
        plant(&mut in_time, end + figures::TARGET_DELAY_MAX, Fact::Delivered { statement });
        assert_eq!(check::all(&in_time), []);
        plant(&mut history, end + figures::TARGET_DELAY_MAX + 1, Fact::Delivered { statement });
        broken(&history, "R1");
    }
}

#[test]
fn lets_pass_what_does_not_rest_on_what_was_revoked() {
    let mut history = good();
    let end = END;
    let elsewhere = statement(&mut history, |s| s.agent = 2);
    let another = statement(&mut history, |s| s.grants = vec![GrantId(8)]);
    plant(&mut history, end, acknowledged(Some(GrantId(7)), end));
    plant(&mut history, end + MS, Fact::Delivered { statement: elsewhere });
    plant(&mut history, end + MS, Fact::Delivered { statement: another });
    let afterwards = statement(&mut history, |s| (s.admitted_at, s.grants) = (Index(1_001), vec![GrantId(9)]));
    plant(&mut history, end + 2 * MS, acknowledged(None, end));
    plant(&mut history, end + 3 * MS, Fact::Delivered { statement: afterwards });
    assert_eq!(check::all(&history), []);
}

#[test]
fn finds_an_acknowledgement_that_took_too_long() {
    let mut history = good();
    let end = END;
    plant(&mut history, end, acknowledged(Some(GrantId(7)), end - 2_200 * MS));
    assert_eq!(check::all(&history), []);
    plant(&mut history, end, acknowledged(Some(GrantId(7)), end - 2_400 * MS));
    broken(&history, "R1b");
}

#[test]
fn finds_a_delivery_under_a_grant_that_has_ended() {
    let mut history = good();
    let statement = statement(&mut history, |s| (s.expires, s.decided) = (Some(LATE - 1_300 * MS), LATE - 1_300 * MS));
    plant(&mut history, LATE, Fact::Delivered { statement });
    assert_eq!(check::all(&history), [], "it was under way");
    history.statements[statement].decided = LATE;
    broken(&history, "R5");
}

#[test]
fn finds_a_delivery_without_a_grant() {
    let mut history = good();
    let statement = statement(&mut history, |s| s.granted = false);
    plant(&mut history, LATE, Fact::Delivered { statement });
    // Its permit rests on nothing that was revoked.
    history.statements[statement].agent = 99;
    broken(&history, "R7");
}

#[test]
fn finds_a_fork_and_an_open_session() {
    let mut history = good();
    plant(&mut history, LATE, Fact::Forked { node: 1, place: 4 });
    broken(&history, "R11");
    let mut history = good();
    plant(&mut history, LATE, Fact::StillOpen { agent: 1, node: 2 });
    broken(&history, "R13");
}

#[test]
fn finds_a_write_by_a_process_that_never_had_a_lease() {
    let mut history = good();
    let statement = statement(&mut history, |s| s.boot = 77);
    plant(&mut history, LATE, Fact::Wrote { statement });
    let mut leased = history.clone();
    plant(&mut leased, LATE - MS, Fact::LeaseTaken { node: 0, boot: 77 });
    assert_eq!(check::all(&leased), []);
    broken(&history, "R15");
}

#[test]
fn finds_who_does_not_come_back() {
    let mut history = good();
    let applied = history.places;
    plant(&mut history, LATE, Fact::Final { node: 0, serves: false, applied });
    broken(&history, "R18");
    let mut history = good();
    plant(&mut history, LATE, Fact::Final { node: 0, serves: true, applied: applied - 4 });
    broken(&history, "R18");
    let mut history = good();
    plant(&mut history, 18_500 * MS, Fact::LoginRefused { node: 0 });
    broken(&history, "R22");
}

#[test]
fn finds_a_false_not_done() {
    for told_first in [true, false] {
        let mut history = good();
        let statement = statement(&mut history, |s| s.agent = 99);
        let (told, came) = if told_first { (LATE, LATE + MS) } else { (LATE + MS, LATE) };
        plant(&mut history, told, Fact::NotDone { statement });
        assert_eq!(check::all(&history), []);
        plant(&mut history, came, Fact::Delivered { statement });
        broken(&history, "R20");
    }
}

#[test]
fn every_check_has_a_planted_violation() {
    let planted = ["R1", "R1b", "R5", "R7", "R11", "R13", "R15", "R18", "R20"];
    assert_eq!(CHECKS.iter().map(|(promise, _)| *promise).collect::<Vec<_>>(), planted);
}
