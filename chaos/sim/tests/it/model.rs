//! The model, whole and without one ingredient at a time.

use sim::flaw::Flaw;
use sim::model::{Bounds, Protocol, Seen};

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The whole protocol holds within the bounds, in no fewer states than were there when this was written.
fn holds(bounds: Bounds, states_min: usize, unreachable: &[Seen]) {
    let found = Protocol::new(bounds, None).check(threads());
    println!("{} distinct states, {} visited, in {:.1} s", found.states, found.visited, found.took.as_secs_f64());
    if let Some(way) = found.counterexample {
        panic!("violated in {} steps:\n  {}", way.len(), listed(&way));
    }
    let missing: Vec<Seen> = Seen::ALL.into_iter().filter(|what| !found.seen.contains(what)).collect();
    assert_eq!(missing, unreachable, "what the bounds allow must be seen, or the model is empty there");
    assert!(found.states >= states_min, "{} states are fewer than {states_min}", found.states);
}

fn listed<T: std::fmt::Debug>(way: &[T]) -> String {
    way.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join("\n  ")
}

/// Without its ingredient the protocol is broken, and the checker says how.
fn broken(flaw: Flaw) {
    let found = Protocol::new(Bounds::for_flaw(flaw), Some(flaw)).check(threads());
    let Some(way) = found.counterexample else {
        panic!("{flaw:?} was not found in {} states: the model does not bite", found.states);
    };
    println!("{flaw:?}: {} steps, {} states, {:.1} s\n  {}", way.len(), found.states, found.took.as_secs_f64(), listed(&way));
}

// Together more than the 2.9 million of the prototype; each alone is small enough for a laptop.

#[test]
fn t004_holds_through_leader_changes_and_kills() {
    holds(Bounds::LEADERS, 3_900_000, &[Seen::RejoinedAndServed]);
}

#[test]
fn holds_through_leaving_and_rejoining() {
    holds(Bounds::MEMBERS, 2_900_000, &[Seen::RoundLost]);
}

#[test]
fn holds_for_two_gateways() {
    holds(Bounds::PAIR, 1_300_000, &[Seen::RejoinedAndServed, Seen::DepartedAwaited, Seen::RoundLost]);
}

macro_rules! broken {
    ($($name:ident: $flaw:ident;)*) => {
        $(#[test] fn $name() { broken(Flaw::$flaw); })*
        #[test]
        fn every_flaw_has_its_test() {
            let tested = [$(Flaw::$flaw),*];
            assert_eq!(Flaw::ALL.iter().filter(|flaw| !tested.contains(flaw)).collect::<Vec<_>>(), Vec::<&Flaw>::new());
        }
    };
}

broken! {
    broken_without_a_barrier: NoBarrier;
    broken_without_a_lease_check: LeaseNotChecked;
    broken_by_lease_reads: LeaseRead;
    broken_by_sharing_an_earlier_round: RoundShared;
    broken_by_counting_from_the_answer: CountedFromAnswer;
    broken_by_noting_after_sending: NotedAfterSending;
    broken_by_use_before_enforcement: UsedBeforeEnforced;
    broken_by_rejoining_without_index: RejoinWithoutIndex;
    broken_by_not_awaiting_who_left: LeftNotAwaited;
    broken_by_forgetting_who_left: LeftForgottenAtRestart;
    broken_by_waiting_from_the_proposal: WaitFromProposal;
    broken_without_a_drift_factor: NoDriftFactor;
    broken_without_a_fence_margin: NoFenceMargin;
    broken_without_a_dead_man: NoDeadMan;
    broken_by_a_late_dead_man: DeadManLate;
    broken_without_linger: NoLinger;
    broken_by_not_draining: NotDrained;
    broken_by_not_taking_the_gate: GateNotTaken;
    broken_by_freezing_without_abort: FrozenNotAborted;
    broken_by_a_lease_that_survives: LeaseSurvivesRestart;
}
