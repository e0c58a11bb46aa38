//! How long a decision takes: `cargo run --release -p policy --example figures`.

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

use std::time::{Duration, Instant};

use domain::operation::Verb;
use domain::time::LogTime;
use policy::Engine;
use world::{World, bundle, published};

const ROUNDS: usize = 200;

fn main() {
    let admission = include_str!("../../../deploy/policies/example/admission.rego");
    let operation = include_str!("../../../deploy/policies/example/operation.rego");
    let data = include_str!("../../../deploy/policies/example/windows/data.json");
    let files = [("admission.rego", admission), ("operation.rego", operation), ("windows/data.json", data)];
    let policy = published(&bundle(&files));
    let rules = Engine::default();
    let loading = Instant::now();
    World::new(1).admission(&rules, &policy);
    println!("loading the example and the first decision: {:?}", loading.elapsed());
    for grants in [1, 100, 1000] {
        let world = World::new(grants);
        report(&format!("an admission with {grants} grants"), || {
            assert_eq!(world.admission(&rules, &policy).refuse, None);
        });
    }
    let (world, noon) = (World::new(1000), LogTime(1_795_392_000_000 + 12 * 3_600_000));
    report("an operation", || {
        assert_eq!(world.operation(&rules, &policy, Verb::Insert, noon).refuse, None);
    });
}

fn report(what: &str, mut once: impl FnMut()) {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            once();
            began.elapsed()
        })
        .collect();
    took.sort();
    println!("{what}: median {:?}, p99 {:?}", took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
}
