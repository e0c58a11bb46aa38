//! What a policy may cost: time and memory, and that going beyond refuses.

use std::time::{Duration, Instant};

use domain::operation::Verb;
use domain::time::LogTime;
use policy::Engine;
use policy::limits::EVALUATION_TIME_MAX;

use crate::world::{World, bundle, published};

const NOON: LogTime = LogTime(1_795_392_000_000 + 12 * 3_600_000);

/// Evaluating notices that time is over within this: the longest step between two looks at the clock, and a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// Bytes this process has had at most.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("there");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}

#[track_caller]
fn bomb(rego: &str) {
    refuses(rego, "it took longer than 100 ms");
}

#[track_caller]
fn refuses(rego: &str, why: &str) {
    let numbers = format!("{{\"n\": {:?}}}", (0..2000).collect::<Vec<u32>>());
    let policy = published(&bundle(&[("a.rego", &format!("package assize.operation\n\n{rego}\n")), ("data.json", &numbers)]));
    let (rules, world, before) = (Engine::default(), World::new(1), peak());
    let began = Instant::now();
    let ruling = world.operation(&rules, &policy, Verb::Select, NOON);
    let took = began.elapsed();
    let refused = ruling.refuse.unwrap_or_default();
    assert!(refused.ends_with(why), "{refused:?}");
    assert!(took < EVALUATION_TIME_MAX + NOTICED_WITHIN, "{took:?}");
    let grown = peak().saturating_sub(before);
    assert!(grown < 1 << 30, "{} MiB", grown >> 20);
    println!("{took:?}, {} MiB", grown >> 20);
}

#[test]
fn loops_within_loops_end() {
    bomb("deny contains \"x\" if {\n some a in data.n\n some b in data.n\n some c in data.n\n a + b + c == 0.5\n}");
}

#[test]
fn a_comprehension_that_makes_everything_ends() {
    bomb("all := [[a, b, c] | some a in data.n; some b in data.n; some c in data.n]\n\ndeny contains \"x\" if count(all) == 1");
}

#[test]
fn loops_inside_a_function_end() {
    bomb("f(x) if {\n some a in data.n\n some b in data.n\n some c in data.n\n a + b + c + x == 0.5\n}\n\ndeny contains \"x\" if f(1)");
}

#[test]
fn every_inside_not_ends() {
    bomb(
        "deny contains \"x\" if {\n not all_fine\n}\n\nall_fine if every a in data.n {\n every b in data.n {\n every c in data.n {\n a + b + c >= 0\n }\n }\n}",
    );
}

#[test]
fn a_text_that_doubles_stops_early() {
    let mut rego = String::from("t0 := \"0123456789abcdef\"\n\n");
    for n in 0..60 {
        rego += &format!("t{} := concat(t{n}, [t{n}, t{n}])\n\n", n + 1);
    }
    refuses(&format!("{rego}deny contains \"x\" if count(t60) == 1"), "one of its rules failed");
    let replaced: String = (0..60).map(|n| format!("t{} := replace(t{n}, \"0\", t{n})\n\n", n + 1)).collect();
    let start = "t0 := \"0000\"\n\n";
    refuses(&format!("{start}{replaced}deny contains \"x\" if count(t60) == 1"), "one of its rules failed");
}

#[test]
fn a_list_that_doubles_ends() {
    let mut rego = String::from("t0 := data.n\n\n");
    for n in 0..60 {
        rego += &format!("t{} := array.concat(t{n}, t{n})\n\n", n + 1);
    }
    bomb(&format!("{rego}deny contains \"x\" if count(t60) == 1"));
}

#[test]
fn a_number_that_squares_ends() {
    let mut rego = String::from("n0 := 12345678901234567890\n\n");
    for n in 0..60 {
        rego += &format!("n{} := n{n} * n{n}\n\n", n + 1);
    }
    bomb(&format!("{rego}deny contains \"x\" if n60 == 1"));
}

#[test]
fn after_a_bomb_the_next_question_is_answered() {
    let rego = "package assize.operation\n\ndeny contains \"x\" if {\n input.operation.verbs == [\"delete\"]\n some a in data.n\n some b in data.n\n some c in data.n\n a + b + c == 0.5\n}\n";
    let numbers = format!("{{\"n\": {:?}}}", (0..2000).collect::<Vec<u32>>());
    let policy = published(&bundle(&[("a.rego", rego), ("data.json", &numbers)]));
    let (rules, world) = (Engine::default(), World::new(1));
    for _ in 0..3 {
        assert!(world.operation(&rules, &policy, Verb::Delete, NOON).refuse.is_some());
        assert_eq!(world.operation(&rules, &policy, Verb::Select, NOON).refuse, None);
    }
}

#[test]
fn a_thousand_grants_are_shown() {
    let rego = "package assize.admission\n\ndeny contains sprintf(\"%d\", [count(input.grants)])\n";
    let policy = published(&bundle(&[("a.rego", rego)]));
    assert_eq!(World::new(1000).admission(&Engine::default(), &policy).refuse.as_deref(), Some("1000"));
    let refused = World::new(10_001).admission(&Engine::default(), &policy).refuse.unwrap_or_default();
    assert!(refused.contains("at most 10000 grants"), "{refused}");
}
