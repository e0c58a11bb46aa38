//! The checkers of the code's histories, each with one planted violation.

use std::collections::BTreeMap;

use domain::id::{GrantId, RequestId};
use sim::real::check::{self, Coverage};
use sim::real::history::{Event, Fact};
use sim::real::{End, Outcome};

const GRANT: GrantId = GrantId(7);

fn acknowledged() -> Fact {
    Fact::Acknowledged { node: 1, grant: GRANT, took_ms: 5, silent: 0 }
}

fn end(live: bool) -> End {
    End { digest: 1, grants: BTreeMap::from([(GRANT, live)]), markers: vec!["grant-1".into()], records: vec![(1, 1, 1), (1, 1, 2)] }
}

/// What happened, a millisecond apart, and what two nodes hold in the end.
fn run(facts: Vec<Fact>, ends: [End; 2]) -> Outcome {
    let history = facts.into_iter().enumerate().map(|(at, fact)| Event { at: at as u64 * 1_000_000, fact }).collect();
    let [one, two] = ends;
    Outcome { history, ends: BTreeMap::from([(1, one), (2, two)]), writes_lost: 0, stuck: None }
}

fn broken(facts: Vec<Fact>, ends: [End; 2]) -> Vec<&'static str> {
    let mut promises: Vec<_> = check::all(&run(facts, ends)).into_iter().map(|violation| violation.promise).collect();
    promises.dedup();
    promises
}

fn forwarded() -> Fact {
    Fact::Forwarded { node: 2, grant: GRANT }
}

#[test]
fn a_good_history_breaks_nothing() {
    let facts = vec![
        Fact::Granted { grant: GRANT },
        forwarded(),
        Fact::Spent { node: 1, request: RequestId(3) },
        Fact::NotSpent { node: 2, request: RequestId(3), why: "spent already".into() },
        Fact::NotGranted { marker: "grant-2".into() },
        Fact::Recorded { node: 1, process: 1, through: 2 },
        acknowledged(),
    ];
    assert_eq!(broken(facts, [end(false), end(false)]), [""; 0]);
}

#[test]
fn what_passes_a_gate_after_the_acknowledgement_is_seen() {
    assert_eq!(broken(vec![acknowledged(), forwarded()], [end(false), end(false)]), ["R1"]);
}

#[test]
fn a_second_use_of_an_approval_is_seen() {
    let facts = vec![Fact::Spent { node: 1, request: RequestId(3) }, Fact::Spent { node: 2, request: RequestId(3) }];
    assert_eq!(broken(facts, [end(true), end(true)]), ["R4"]);
}

#[test]
fn who_approves_their_own_is_seen() {
    assert_eq!(broken(vec![Fact::ApprovedOwn { request: RequestId(3) }], [end(true), end(true)]), ["R6"]);
}

#[test]
fn a_revocation_that_one_node_lost_is_seen() {
    assert_eq!(broken(vec![acknowledged()], [end(false), end(true)]), ["R11"]);
    assert_eq!(broken(vec![Fact::Granted { grant: GrantId(8) }], [end(true), end(true)]), ["R11"]);
}

#[test]
fn what_was_denied_and_is_there_is_seen() {
    assert_eq!(broken(vec![Fact::NotGranted { marker: "grant-1".into() }], [end(true), end(true)]), ["R20"]);
}

#[test]
fn records_that_are_lost_or_twice_are_seen() {
    let lost = vec![Fact::Recorded { node: 1, process: 1, through: 3 }];
    assert_eq!(broken(lost, [end(true), end(true)]), ["R3"]);
    for records in [vec![(1, 1, 1), (1, 1, 1)], vec![(1, 1, 2)], vec![(1, 1, 2), (1, 1, 1)]] {
        assert_eq!(broken(vec![], [End { records: records.clone(), ..end(true) }, end(true)]), ["R3"], "{records:?}");
    }
}

#[test]
fn nodes_that_differ_are_seen() {
    assert_eq!(broken(vec![], [End { digest: 2, ..end(true) }, end(true)]), ["R18"]);
    let stuck = Outcome { stuck: Some("2 of 3 nodes serve".into()), ..run(vec![], [end(true), end(true)]) };
    assert_eq!(check::all(&stuck)[0].promise, "R18");
}

#[test]
fn a_read_of_the_past_is_seen() {
    let facts = vec![
        Fact::Invoked { client: 1, key: 0, write: Some(4) },
        Fact::Returned { client: 1, key: 0, read: None },
        Fact::Invoked { client: 2, key: 0, write: None },
        Fact::Returned { client: 2, key: 0, read: Some(0) },
    ];
    assert_eq!(broken(facts, [end(true), end(true)]), ["R12"]);
}

#[test]
fn coverage_is_told_in_a_line() {
    let mut coverage = Coverage::default();
    coverage.add(&run(vec![acknowledged(), forwarded()], [end(false), end(false)]));
    assert_eq!(Coverage::parse(&coverage.line()), Ok(coverage));
    assert!(Coverage::parse("1 2 three").is_err());
}
