//! The bugs that are planted in `session`, each caught by the test of the promise that it breaks.

use planted::Bug;

use crate::road;

/// The test fails with the bug and holds without; bugs are of the process, and each test has one of its own.
fn caught(bug: Bug, by: fn()) {
    planted::plant(&format!("{bug:?}")).expect("a debug build");
    assert!(std::thread::spawn(by).join().is_err(), "{bug:?} was not caught");
}

#[test]
fn a_stale_permit_that_forwards_is_caught() {
    caught(Bug::StalePermitForwards, road::a_revoked_permit_forwards_nothing_before_it_is_enforced);
}

#[test]
fn a_late_write_that_is_not_noticed_is_caught() {
    caught(Bug::LateNotNoticed, road::what_was_sent_late_says_how_late);
}

#[test]
fn an_idle_session_that_outlives_its_access_is_caught() {
    caught(Bug::IdleOutlivesAccess, road::an_idle_session_ends_with_the_last_of_its_grants);
}

#[test]
fn a_grace_that_never_ends_is_caught() {
    caught(Bug::GraceNeverEnds, road::frozen_sessions_end_when_no_lease_comes_within_the_grace);
}

#[test]
fn bytes_that_leave_before_their_record_are_caught() {
    caught(Bug::RecordNotAwaited, road::no_byte_reaches_the_target_before_its_record_is_committed);
}

#[test]
fn every_bug_of_the_session_is_tried() {
    assert_eq!(Bug::OF_SESSION.len(), 5, "each has its test above");
}
