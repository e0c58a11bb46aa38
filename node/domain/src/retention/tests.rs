use super::plan::Planner;
use super::*;
use crate::audit::merkle::leaf_hash;
use crate::audit::pruned::{self, Terms};
use crate::audit::record::{self, Event, Header, LateSend, SessionEnd, TargetCheck};
use crate::id::{BootId, NodeId, SessionId};
use crate::state::State;

const NOW: LogTime = LogTime(1_000_000);

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn header(sequence: u64, time: u64, session: Option<u64>) -> Header<'static> {
    let session = session.map(|number| SessionId { node: NodeId(1), boot: BootId(7), number });
    let (node, boot) = (NodeId(1), BootId(7));
    Header { node, boot, sequence, control_index: Index(5), time: LogTime(time), session, run: Some("nightly") }
}

fn operation(sequence: u64, time: u64, session: u64) -> Vec<u8> {
    record::encode(&header(sequence, time, Some(session)), &Event::LateSend(LateSend { operation: 1, late_us: 2 }))
}

fn check(sequence: u64, time: u64, principal: &str, session: Option<u64>) -> Vec<u8> {
    let (principal, target) = (name(principal), name("shop"));
    let check = TargetCheck { principal: &principal, target: &target, reachable: true, findings: &[] };
    record::encode(&header(sequence, time, session), &Event::TargetCheck(check))
}

fn read(leaf: &[u8]) -> Record {
    record::decode(leaf).expect("own record")
}

fn kept_for(class: RecordClass, keep: u64) -> State {
    let keep = Some(Duration::from_millis(keep));
    let rule = Rule { class, keep, reason: "test".into(), by: name("ana"), at: LogTime(1), version: Index(9) };
    let mut state = State { now: NOW, ..State::default() };
    state.retention_rules.insert(class, rule);
    state.retention = std::sync::Arc::new(RetentionFacts { changed: Index(9), ..RetentionFacts::default() });
    state
}

fn hold(state: &mut State, on: Held) {
    let id = HoldId(10 + state.holds.len() as u64);
    state.holds.insert(id, LegalHold { id, on, reason: "case".into(), by: name("ana"), at: NOW, two_people: false });
}

fn planned(state: &State, class: RecordClass, leaves: &[Vec<u8>]) -> (u64, Vec<u64>) {
    let mut planner = Planner::new(state, class).expect("there is a rule");
    leaves.iter().skip(planner.through as usize).take_while(|leaf| planner.look(leaf)).count();
    (planner.through, planner.leaves.ranges().flatten().collect())
}

#[test]
fn runs_are_written_in_one_way_and_read_back() {
    let mut runs = Runs::default();
    for number in [3, 4, 5, 9, 11, 12] {
        runs.push(number);
    }
    assert_eq!(runs.as_pairs(), [3, 3, 3, 1, 1, 2]);
    assert_eq!((runs.count(), runs.end()), (6, 13));
    assert_eq!(runs.ranges().collect::<Vec<_>>(), [3..6, 9..10, 11..13]);
    assert_eq!(Runs::from_pairs(runs.as_pairs().to_vec()), Some(runs.clone()));
    assert_eq!(runs.missing(&[2, 3, 5, 6, 9, 10, 12, 13]), [2, 6, 10, 13]);
    for bad in [vec![1], vec![0, 0], vec![0, 1, 0, 1], vec![u64::MAX, 2], vec![1; 2 * PRUNED_RUNS_MAX + 2]] {
        assert_eq!(Runs::from_pairs(bad.clone()), None, "{bad:?}");
    }
}

#[test]
fn a_plan_takes_what_is_of_its_class_and_old_enough_and_stops_at_the_first_younger() {
    let state = kept_for(RecordClass::Operations, 1000);
    let before = NOW.0 - 1000;
    let leaves =
        [operation(1, 10, 1), check(2, 20, "ana", None), b"not a record".to_vec(), operation(3, before, 1), operation(4, before + 1, 1)];
    assert_eq!(planned(&state, RecordClass::Operations, &leaves), (4, vec![0, 3]));
    assert!(Planner::new(&state, RecordClass::Checks).is_none(), "without a rule they are kept for ever");
    let young = State { now: LogTime(999), ..state };
    assert!(Planner::new(&young, RecordClass::Operations).is_none(), "longer than there is time");
}

#[test]
fn what_is_pruned_already_is_passed_over() {
    let state = kept_for(RecordClass::Operations, 1000);
    let terms = Terms { plan: Index(7), class: RecordClass::Operations, before: NOW };
    let stub = pruned::prune(&operation(1, 10, 1), &terms).expect("is due");
    assert_eq!(planned(&state, RecordClass::Operations, &[stub, operation(2, 10, 1)]), (2, vec![1]));
}

#[test]
fn a_hold_wins_over_every_rule() {
    // Whose the sessions are is told by their first record.
    let mine =
        [check(1, 10, "bot", Some(1)), operation(2, 11, 1), check(3, 12, "other", Some(2)), operation(4, 13, 2), operation(5, 14, 3)];
    let goes = |on: Held| {
        let mut state = kept_for(RecordClass::Operations, 1000);
        hold(&mut state, on);
        planned(&state, RecordClass::Operations, &mine).1
    };
    assert_eq!(goes(Held { until: Some(LogTime(10)), ..Held::default() }), [1, 3, 4]);
    assert_eq!(goes(Held { from: Some(LogTime(13)), until: Some(LogTime(14)), ..Held::default() }), [1, 4]);
    assert_eq!(goes(Held::default()), [0_u64; 0], "everything");
    assert_eq!(goes(Held { principal: Some(name("bot")), ..Held::default() }), [3], "of session 3 nobody knows whose it is");
    assert_eq!(goes(Held { target: Some(name("elsewhere")), ..Held::default() }), [1, 3]);
    assert_eq!(goes(Held { run: Some("nightly".parse().expect("a run")), ..Held::default() }), [0_u64; 0]);
    assert_eq!(goes(Held { run: Some("daily".parse().expect("a run")), ..Held::default() }), [1, 3, 4]);
    let two = Held { principal: Some(name("bot")), target: Some(name("elsewhere")), ..Held::default() };
    assert_eq!(goes(two), [1, 3], "all that is named must fit");
}

#[test]
fn whom_it_was_done_for_is_held_too() {
    let whose = Whose { principal: "bot".into(), on_behalf_of: "ana".into(), target: "shop".into() };
    let held = Held { principal: Some(name("ana")), ..Held::default() };
    assert!(held.covers(&read(&operation(1, 1, 1)), Some(&whose)));
}

#[test]
fn a_plan_is_bounded() {
    let state = kept_for(RecordClass::Operations, 1000);
    let all: Vec<Vec<u8>> = (1..=PRUNED_PER_PLAN + 5).map(|n| operation(n, 10, 1)).collect();
    assert_eq!(planned(&state, RecordClass::Operations, &all).0, PRUNED_PER_PLAN);
    let mixed: Vec<Vec<u8>> =
        (1..=3 * PRUNED_PER_PLAN).map(|n| if n % 2 == 0 { operation(n, 10, 1) } else { check(n, 10, "ana", None) }).collect();
    let (through, goes) = planned(&state, RecordClass::Operations, &mixed);
    assert_eq!((goes.len(), through), (PRUNED_RUNS_MAX, 2 * PRUNED_RUNS_MAX as u64 + 1));
}

const PRUNED_PER_PLAN: u64 = crate::limits::PRUNED_PER_PLAN_MAX;

#[test]
fn a_pruned_leaf_keeps_its_hash_and_its_place_and_nothing_of_its_body() {
    let body = check(9, 20, "secret-loop", Some(3));
    let terms = Terms { plan: Index(77), class: RecordClass::Checks, before: LogTime(20) };
    let stub = pruned::prune(&body, &terms).expect("is due");
    assert_eq!(pruned::stored_hash(&stub), leaf_hash(&body));
    assert_eq!(pruned::stored_hash(&body), leaf_hash(&body));
    assert!(!stub.windows(6).any(|w| w == b"secret" || w == b"nightl"), "nobody is named");
    let (record, said) = pruned::read(&stub).expect("is pruned");
    assert_eq!((record.node, record.boot, record.sequence, record.time), (1, 7, 9, 20));
    assert_eq!((said.plan, said.class.as_str(), said.kind.as_str(), said.bytes), (77, "checks", "target-check", body.len() as u64));
    assert_eq!(read(&stub).kind_name(), "pruned");
    assert_eq!(pruned::prune(&stub, &terms), None, "once");
}

#[test]
fn a_replica_prunes_nothing_that_the_terms_do_not_cover() {
    let terms = Terms { plan: Index(77), class: RecordClass::Operations, before: LogTime(20) };
    assert!(pruned::prune(&operation(1, 20, 1), &terms).is_some());
    assert_eq!(pruned::prune(&operation(1, 21, 1), &terms), None, "too young");
    assert_eq!(pruned::prune(&check(1, 1, "ana", None), &terms), None, "of another class");
    assert_eq!(pruned::prune(b"\0what is this", &terms), None);
}

#[test]
fn a_record_that_only_says_it_is_pruned_is_none() {
    let terms = Terms { plan: Index(77), class: RecordClass::Operations, before: LogTime(20) };
    let stub = pruned::prune(&operation(1, 20, 1), &terms).expect("is due");
    assert!(record::decode(&stub[1..]).is_err());
    assert_eq!(pruned::stored_hash(&stub[1..]), leaf_hash(&stub[1..]));
}

#[test]
fn every_kind_has_a_class_and_every_class_a_name_and_a_minimum() {
    for class in RecordClass::ALL {
        assert_eq!(class.as_str().parse(), Ok(class));
        assert!(class.keep_min() >= DAY, "{class}");
    }
    assert_eq!("all".parse::<RecordClass>(), Err(InvalidClass("all".into())));
    let end = SessionEnd { by: record::EndedBy::Client, reason: "", operations: 0 };
    let end = record::encode(&header(1, 1, Some(1)), &Event::SessionEnd(end));
    assert_eq!(RecordClass::of(&read(&end)), Some(RecordClass::Sessions));
}
