//! Bugs planted in the log that no run of the simulation needs: each caught by the test of what it breaks.

use planted::Bug;

/// The test fails with the bug and holds without; bugs are of the process, and each test has one of its own.
fn caught(bug: Bug, by: fn()) {
    planted::plant(&format!("{bug:?}")).expect("a debug build");
    assert!(std::thread::spawn(by).join().is_err(), "{bug:?} was not caught");
}

#[test]
fn a_vote_that_is_not_waited_for_is_caught() {
    caught(Bug::VoteNotSynced, crate::power::a_vote_is_durable_when_it_is_saved);
}

#[test]
fn a_truncation_that_is_forgotten_is_caught() {
    caught(Bug::TruncationForgotten, crate::restart::vote_log_truncation_and_purge_survive_a_restart);
}
