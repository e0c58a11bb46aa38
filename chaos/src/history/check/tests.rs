//! A good history passes every sweep; with one violation planted in it, the sweep meant for it names it.

use super::*;

/// One line of a history, in milliseconds.
type Line = (u64, Event);

fn attempt(statement: Statement, agent: &str, node: usize) -> Event {
    Event::Attempt { statement, agent: agent.into(), node, writes: true }
}

fn seen(statement: Statement) -> Event {
    // Each agent has one connection, which has its node's number.
    Event::Seen { statement, connection: u64::from(statement / 100) }
}

fn done(statement: Statement) -> Event {
    Event::Answer { statement, outcome: Outcome::Done }
}

fn revoked(agent: &str) -> Event {
    Event::Revoked { agent: agent.into(), reported: vec![1, 2], silent: vec![3] }
}

/// Statements 1xx are a's through node 1, 2xx b's through node 2, 3xx a's through node 3, which does not report.
fn good() -> Vec<Line> {
    vec![
        (10, attempt(101, "a", 0)),
        (11, seen(101)),
        (12, done(101)),
        (20, attempt(301, "a", 2)),
        (21, seen(301)),
        (22, done(301)),
        (23, attempt(201, "b", 1)),
        (24, seen(201)),
        (25, done(201)),
        (30, Event::Fault("node 3".into())),
        (31, attempt(202, "b", 1)),
        (32, seen(202)),
        (33, done(202)),
        (40, Event::Revoke { agent: "a".into() }),
        (41, attempt(102, "a", 0)),
        (42, Event::Answer { statement: 102, outcome: Outcome::NotDone("not done".into()) }),
        (60, revoked("a")),
        (61, attempt(103, "a", 0)),
        (62, Event::Answer { statement: 103, outcome: Outcome::Refused("57P01".into()) }),
        (70, Event::Closed { connection: 1 }),
        (80, Event::Healed),
        (81, attempt(203, "b", 1)),
        (82, seen(203)),
        (83, done(203)),
        (9_000, Event::Expired { agent: "b".into() }),
        (9_900, attempt(204, "b", 1)),
    ]
}

fn history(mut lines: Vec<Line>) -> Vec<Noted> {
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(at, event)| Noted { at: Duration::from_millis(at), event }).collect()
}

fn planted(line: Line) -> Vec<Noted> {
    let mut lines = good();
    lines.push(line);
    history(lines)
}

fn without(what: &Event) -> Vec<Noted> {
    history(good().into_iter().filter(|(_, event)| event != what).collect())
}

fn records() -> BTreeMap<Statement, String> {
    [(101, "a"), (301, "a"), (201, "b"), (202, "b"), (203, "b")].map(|(statement, agent)| (statement, agent.to_owned())).into()
}

#[track_caller]
fn names<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    let error = result.expect_err("it was planted").to_string();
    assert!(error.contains(what), "{error:?} does not say {what:?}");
}

const BOUND: Duration = Duration::from_millis(30);
const SLACK: Duration = Duration::from_millis(250);

#[test]
fn a_good_history_passes_every_sweep() {
    let good = history(good());
    assert_eq!(revoked_means_out(&good).expect("R1"), 1);
    assert_eq!(acknowledged_in_time(&good, BOUND).expect("R1b"), [Duration::from_millis(20)]);
    overdue_is_closed(&good, SLACK).expect("R5");
    nothing_left_open(&good).expect("R13");
    told_the_truth(&good).expect("R20");
    forwarded_once(&good).expect("once");
    nothing_without_a_record(&good, &records()).expect("R2");
    assert_eq!(spent_at_most(&good, |statement| statement / 100 == 2, 3).expect("R4"), 3);
    assert_eq!(covered(&good, 1).expect("gate"), Coverage { before: 3, during: 1, after: 1, revoked: 1 });
}

#[test]
fn r1_a_statement_after_the_acknowledgement() {
    names(revoked_means_out(&planted((75, seen(102)))), "statement 102 of a arrived 15ms after");
    names(revoked_means_out(&planted((3_400, seen(301)))), "statement 301 of a");
    names(revoked_means_out(&planted((75, seen(999)))), "nobody sent statement 999");
}

#[test]
fn r1b_an_acknowledgement_late_lost_or_missing() {
    names(acknowledged_in_time(&history(good()), Duration::from_millis(19)), "took 20ms");
    names(acknowledged_in_time(&without(&revoked("a")), BOUND), "never answered");
    let unknown = Event::RevokeUnknown { agent: "a".into(), why: "no leader".into() };
    names(acknowledged_in_time(&planted((50, unknown)), BOUND), "no leader");
}

#[test]
fn r5_a_statement_after_the_end() {
    overdue_is_closed(&planted((9_240, seen(204))), SLACK).expect("within its slack");
    names(overdue_is_closed(&planted((9_901, seen(204))), SLACK), "901ms after its access ended");
}

#[test]
fn r5_a_connection_that_outlives_its_end_or_dies_before() {
    let ends = |at| history([good(), vec![(at, Event::Closed { connection: 2 })]].concat());
    assert_eq!(closed_after_the_end(&ends(9_120)).expect("closed"), [Duration::from_millis(120)]);
    names(closed_after_the_end(&history(good())), "still open");
    names(closed_after_the_end(&ends(8_000)), "1s before its access ended");
}

#[test]
fn r13_a_connection_that_stays() {
    let closed = Event::Closed { connection: 1 };
    names(nothing_left_open(&without(&closed)), "node 1 kept a connection of a");
    let late = without(&closed).into_iter().chain([Noted { at: Duration::from_millis(5_000), event: closed }]).collect::<Vec<_>>();
    names(nothing_left_open(&late), "4.94s");
}

#[test]
fn r20_a_client_told_the_wrong_thing() {
    names(told_the_truth(&planted((50, seen(102)))), "arrived after its client was told");
    names(told_the_truth(&planted((41, seen(102)))), "had arrived when its client was told");
    names(told_the_truth(&without(&seen(201))), "never arrived");
}

#[test]
fn a_statement_forwarded_twice() {
    names(forwarded_once(&planted((26, seen(201)))), "statement 201 arrived twice");
}

#[test]
fn r2_an_effect_without_its_record() {
    let mut records = records();
    records.remove(&202);
    names(nothing_without_a_record(&history(good()), &records), "statement 202 arrived and is not on record");
    records.insert(202, "a".into());
    names(nothing_without_a_record(&history(good()), &records), "on record as a's");
}

#[test]
fn r4_an_approval_spent_twice() {
    names(spent_at_most(&history(good()), |statement| statement / 100 == 2, 2), "3 statements for 2 approvals");
}

#[test]
fn a_run_that_proves_nothing_is_void() {
    names(covered(&without(&Event::Fault("node 3".into())), 1), "no fault");
    names(covered(&without(&Event::Healed), 1), "nothing was healed");
    names(covered(&without(&done(202)), 1), "too few successes");
    names(covered(&without(&done(203)), 1), "too few successes");
    names(covered(&without(&revoked("a")), 1), "nothing was revoked");
}
