//! Thousands of seeds, each a run of its own; and the same runs of a protocol without one ingredient.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::flaw::Flaw;
use sim::simulation::check::{self, Coverage, Violation};
use sim::simulation::history::Fact;
use sim::simulation::{Quirk, Run, Setup, figures, run};

/// Seeds of a CI run, and the first of them. `SEED=… cargo nextest run -p sim repeats_one_seed` shows one of them.
const SEEDS: u64 = 20_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn whole(seed: u64) -> Setup {
    Setup { seed, flaw: None, calm: false, quirk: None }
}

fn violations(run: &Run) -> Vec<Violation> {
    check::all(&run.history)
}

/// What to type to see it again.
fn told(seed: u64, run: &Run, found: &[Violation]) -> String {
    let first = &found[0];
    format!(
        "{found:#?}\nthe last facts before the first:\n{}\nrepeat it: SEED={seed} cargo nextest run -p sim --no-capture repeats_one_seed",
        run.history.around(first.at, 60)
    )
}

/// Every seed of `0..many`, on every core, until `visit` says stop.
fn each_seed(many: u64, visit: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= many || !visit(seed) {
                        next.fetch_max(many, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn promises_hold() {
    let started = Instant::now();
    let total = std::sync::Mutex::new((Coverage::default(), Vec::new(), Vec::new(), Vec::new(), 0_u64));
    let many = from_environment("SEEDS").unwrap_or(SEEDS);
    each_seed(many, |seed| {
        let run = run(whole(seed));
        let found = violations(&run);
        let coverage = Coverage::of(&run.history, run.events);
        let mut total = total.lock().expect("no panic holds it");
        total.0.add(&coverage);
        total.2.extend(check::waits(&run.history, false));
        total.3.extend(check::waits(&run.history, true));
        total.4 += u64::from(check::back_within(&run.history, 5 * figures::SECOND));
        if !found.is_empty() {
            total.1.push((seed, told(seed, &run, &found)));
        }
        total.1.len() < 3
    });
    let (coverage, mut failures, mut waits, mut silent, back) = total.into_inner().expect("no panic holds it");
    failures.sort_by_key(|(seed, _)| *seed);
    assert!(failures.is_empty(), "{} seeds failed; the first:\n{}", failures.len(), failures[0].1);
    waits.sort_unstable();
    silent.sort_unstable();
    let at = |sorted: &[u64], percent: usize| sorted[(sorted.len() - 1) * percent / 100] as f64 / 1000.0;
    println!("{coverage:#?}\nin {:.1} s", started.elapsed().as_secs_f64());
    println!(
        "commit to acknowledgement, all reported: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(&waits, 50),
        at(&waits, 99),
        at(&waits, 100)
    );
    println!(
        "commit to acknowledgement, some silent: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(&silent, 50),
        at(&silent, 99),
        at(&silent, 100)
    );
    println!("everybody serves again 5 s after all was healed in {back} of {} runs", coverage.runs);
    gate(&coverage);
}

/// A set of runs in which little happened proves little.
fn gate(c: &Coverage) {
    let runs = c.runs;
    let enough = [
        ("runs with an acknowledged revocation, of a hundred", c.runs_acknowledged * 100 / runs, 97),
        ("acknowledged revocations a run", c.acknowledged / runs, 4),
        ("of a hundred, acknowledged although a node was silent", c.acknowledged_in_silence * 100 / c.acknowledged, 15),
        ("statements delivered a run", c.delivered / runs, 200),
        ("elections a run", c.leaders / runs, 2),
        ("processes stopped, in a hundred runs", c.stopped * 100 / runs, 50),
        ("processes killed by their timer, in a hundred runs", c.killed_by_timer * 100 / runs, 20),
        ("processes killed, in a hundred runs", c.died * 100 / runs, 60),
        ("leases that ended with the process alive, in a hundred runs", c.frozen * 100 / runs, 100),
        ("late sends, in a thousand runs", c.late_sends * 1000 / runs, 30),
        ("full partitions, in a hundred runs", c.cuts * 100 / runs, 50),
        ("one-way partitions, in a hundred runs", c.one_way_cuts * 100 / runs, 50),
        ("cut ways to a target, in a hundred runs", c.target_cuts * 100 / runs, 80),
        ("stalled nodes, in a hundred runs", c.stalled * 100 / runs, 50),
        ("nodes taken out, in a hundred runs", c.taken_out * 100 / runs, 100),
        ("nodes that joined again, in a hundred runs", c.joined * 100 / runs, 80),
        ("departed nodes awaited, in a hundred runs", c.departed_awaited * 100 / runs, 50),
        ("statements under grants that end by themselves, in a hundred runs", c.expiring_statements * 100 / runs, 50),
        (
            "of ten thousand statements in the healthy second, done",
            c.healthy_delivered * 10_000 / (c.healthy_delivered + c.healthy_refused),
            9_990,
        ),
    ];
    let short: Vec<_> = enough.iter().filter(|(_, had, wanted)| had < wanted).collect();
    assert!(short.is_empty(), "too little happened: {short:?} (what, had, wanted)");
}

#[test]
fn healthy_clusters_answer_at_once_and_lose_nothing() {
    each_seed(200, |seed| {
        let run = run(Setup { calm: true, ..whole(seed) });
        let found = violations(&run);
        assert!(found.is_empty(), "{}", told(seed, &run, &found));
        let settled = |at: u64| at > 3 * figures::SECOND;
        let refused = run.history.facts.iter().filter(|(at, f)| settled(*at) && matches!(f, Fact::LoginRefused { .. })).count();
        let delivered = run.history.count(|f| matches!(f, Fact::Delivered { .. }));
        let acknowledged = run.history.count(|f| matches!(f, Fact::Acknowledged { silent: 0, .. }));
        assert!(refused == 0 && delivered > 200 && acknowledged > 5, "seed {seed}: {refused}, {delivered}, {acknowledged}");
        let slowest = check::waits(&run.history, false).last().copied().unwrap_or_default();
        assert!(slowest < 400 * figures::MS, "seed {seed}: an acknowledgement took {} ms", slowest / figures::MS);
        true
    });
}

#[test]
fn repeats_one_seed() {
    let seed = from_environment("SEED").unwrap_or(0);
    let run = run(whole(seed));
    let found = violations(&run);
    println!("seed {seed}: {} events, trace {:016x}\n{}", run.events, run.trace, run.history.around(u64::MAX, 4000));
    assert!(found.is_empty(), "{}", told(seed, &run, &found));
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let traces = |_| (0..20).map(|seed| run(whole(seed))).map(|run| (run.trace, run.events, run.history.facts)).collect::<Vec<_>>();
    let (first, second) = (traces(0), traces(1));
    assert!(first == second, "chance came from elsewhere");
    let different: BTreeMap<u64, ()> = first.iter().map(|(trace, ..)| (*trace, ())).collect();
    assert_eq!(different.len(), 20, "different seeds are different runs");
}

/// The first seed below `many` whose run breaks the promise.
fn first_broken(setup: impl Fn(u64) -> Setup + Sync, promise: &str, many: u64) -> Option<u64> {
    let first = AtomicU64::new(u64::MAX);
    each_seed(many, |seed| {
        let broken = violations(&run(setup(seed))).iter().any(|v| v.promise == promise);
        if broken {
            first.fetch_min(seed, Ordering::Relaxed);
        }
        first.load(Ordering::Relaxed) == u64::MAX
    });
    Some(first.into_inner()).filter(|seed| *seed < u64::MAX)
}

fn caught(flaw: Flaw, within: u64) {
    let setup = |seed| Setup { flaw: Some(flaw), ..whole(seed) };
    let Some(seed) = first_broken(setup, "R1", within) else { panic!("{flaw:?} was not caught within {within} seeds") };
    let run = run(setup(seed));
    let found: Vec<Violation> = violations(&run).into_iter().filter(|v| v.promise == "R1").collect();
    println!("{flaw:?}: seed {seed}: {}\n{}", found[0].what, run.history.around(found[0].at, 25));
}

macro_rules! caught {
    ($($name:ident: $flaw:ident within $within:literal;)*) => {
        $(#[test] fn $name() { caught(Flaw::$flaw, $within); })*
        #[test]
        fn every_flaw_has_its_test() {
            let tested = [$(Flaw::$flaw),*];
            assert_eq!(Flaw::ALL.iter().filter(|flaw| !tested.contains(flaw)).collect::<Vec<_>>(), Vec::<&Flaw>::new());
        }
    };
}

caught! {
    caught_without_a_barrier: NoBarrier within 100;
    caught_without_a_lease_check: LeaseNotChecked within 100;
    caught_lease_reads: LeaseRead within 1_000;
    caught_sharing_an_earlier_round: RoundShared within 5_000;
    caught_counting_from_the_answer: CountedFromAnswer within 5_000;
    caught_noting_after_sending: NotedAfterSending within 5_000;
    caught_use_before_enforcement: UsedBeforeEnforced within 1_000;
    caught_rejoining_without_index: RejoinWithoutIndex within 1_000;
    caught_not_awaiting_who_left: LeftNotAwaited within 1_000;
    caught_forgetting_who_left: LeftForgottenAtRestart within 5_000;
    caught_waiting_from_the_proposal: WaitFromProposal within 1_000;
    caught_without_a_drift_factor: NoDriftFactor within 5_000;
    caught_without_a_fence_margin: NoFenceMargin within 1_000;
    caught_without_a_dead_man: NoDeadMan within 1_000;
    caught_a_late_dead_man: DeadManLate within 5_000;
    caught_without_linger: NoLinger within 1_000;
    caught_not_draining: NotDrained within 1_000;
    caught_not_taking_the_gate: GateNotTaken within 1_000;
    caught_freezing_without_abort: FrozenNotAborted within 1_000;
    caught_a_lease_that_survives: LeaseSurvivesRestart within 1_000;
}

#[test]
fn found_a_departure_that_is_noted_again_and_again() {
    let needless = |quirk| (0..300).map(|seed| check::needless_waits(&run(Setup { quirk, ..whole(seed) }).history)).sum::<usize>();
    let (as_it_should, as_it_was) = (needless(None), needless(Some(Quirk::DepartureNotedAgain)));
    println!("barriers that waited for a node long gone: {as_it_should} as it should be, {as_it_was} with the quirk");
    assert!(as_it_was > as_it_should, "{as_it_was} and {as_it_should}");
}

fn found(quirk: Quirk, promise: &str, within: u64) {
    let setup = |seed| Setup { quirk: Some(quirk), ..whole(seed) };
    let Some(seed) = first_broken(setup, promise, within) else { panic!("{quirk:?} was not found within {within} seeds") };
    let run = run(setup(seed));
    let found: Vec<Violation> = violations(&run).into_iter().filter(|v| v.promise == promise).collect();
    println!("{quirk:?}: seed {seed}: {}\n{}", found[0].what, run.history.around(found[0].at, 40));
}

#[test]
fn found_clients_told_that_nothing_was_done() {
    found(Quirk::SaysNotDone, "R20", 100);
}

#[test]
fn found_log_time_without_clocks() {
    found(Quirk::LogTimeWithoutClocks, "R5", 20_000);
}
