//! The figures are those of the code: read from its sources, as it is not linked here.

use sim::simulation::figures;

/// The microseconds of a `Duration` constant, or a bare number.
fn constant(source: &str, name: &str) -> u64 {
    let line = source.lines().find(|line| line.contains(&format!("pub const {name}:"))).unwrap_or_else(|| panic!("{name} is gone"));
    let value = line.split_once('=').expect("a constant").1.trim().trim_end_matches(';');
    let number = |text: &str| text.trim_end_matches(')').replace('_', "").parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
    match value.split_once('(') {
        Some(("Duration::from_secs", seconds)) => number(seconds) * figures::SECOND,
        Some(("Duration::from_millis", millis)) => number(millis) * figures::MS,
        Some(_) => panic!("{line}"),
        None => number(value),
    }
}

#[test]
fn are_those_of_the_code() {
    let cluster = include_str!("../../../../node/cluster/src/limits.rs");
    let session = include_str!("../../../../node/session/src/limits.rs");
    for (source, name, ours) in [
        (cluster, "LEASE", figures::LEASE),
        (cluster, "FENCE_MARGIN", figures::FENCE_MARGIN),
        (cluster, "LEASE_GUARD", figures::LEASE_GUARD),
        (cluster, "DRIFT_PERCENT", figures::DRIFT_PERCENT),
        (cluster, "RENEWAL_INTERVAL", figures::RENEWAL_INTERVAL),
        (cluster, "RENEWAL_RETRY", figures::RENEWAL_RETRY),
        (cluster, "RENEWAL_DEADLINE", figures::RENEWAL_DEADLINE),
        (cluster, "REJOIN_PAUSE", figures::REJOIN_PAUSE),
        (cluster, "TICK_INTERVAL", figures::TICK_INTERVAL),
        (cluster, "VOTER_CLOCK_AGE_MAX", figures::VOTER_CLOCK_AGE_MAX),
        (cluster, "LOG_TIME_LEAD_MAX", figures::LOG_TIME_LEAD_MAX),
        (cluster, "PROPOSE_DEADLINE", figures::PROPOSE_DEADLINE),
        (cluster, "PROPOSE_ATTEMPT", figures::PROPOSE_ATTEMPT),
        (cluster, "PROPOSE_PAUSE", figures::PROPOSE_PAUSE),
        (cluster, "AWAIT_ENFORCED_DEADLINE", figures::AWAIT_ENFORCED_DEADLINE),
        (session, "DRAIN_DEADLINE", figures::DRAIN_DEADLINE),
        (session, "EXPIRY_POLL", figures::EXPIRY_POLL),
        (session, "UPSTREAM_USER_TIMEOUT", figures::UPSTREAM_USER_TIMEOUT),
    ] {
        assert_eq!(constant(source, name), ours, "{name}");
    }
    // `W`, as the code's own test has it: the longest lease and fence, by the slowest clock, seen by the fastest.
    let longest = (figures::LEASE + figures::FENCE_MARGIN) as f64 / 0.99 * 1.01;
    assert!((0.0..2.0).contains(&(figures::barrier_wait() as f64 - longest)), "W is {longest}");
}
