//! Every bound of policies: with its unit and its reason.
//!
//! Memory is bounded by what goes in (bundle, question), by what comes out, by the built-ins that could make much of
//! little in one step being left out, and by the time in which anything can be allocated at all.

use std::time::Duration;

/// One decision, all its rules together: a hundred times what an ordinary policy takes, so that a busy machine refuses
/// nothing by chance, and short enough that a session's task may do it in place.
pub const EVALUATION_TIME_MAX: Duration = Duration::from_millis(100);
/// Steps of evaluation between two looks at the clock: none, because a step may double a text or square a number.
pub const STEPS_PER_CHECK: u32 = 1;
/// Bytes of a text that `concat` or `replace` makes: with less, they make in one step more than any memory holds.
pub const TEXT_MADE_MAX: usize = 1 << 20;
/// One test of a bundle. Slower machines than the node's run them too.
pub const TEST_TIME_MAX: Duration = Duration::from_secs(1);
/// All tests of a bundle: publishing waits for them.
pub const TESTS_TIME_MAX: Duration = Duration::from_secs(10);
/// Tests of a bundle.
pub const TESTS_MAX: usize = 1000;

/// Files of a bundle.
pub const FILES_MAX: usize = 128;
/// Bytes of a path in it.
pub const PATH_MAX: usize = 200;
/// Bytes of the bundle once it is unpacked; packed it is at most [`domain::limits::POLICY_BUNDLE_MAX`].
pub const UNPACKED_MAX: usize = domain::limits::POLICY_BUNDLE_MAX;

/// Grants shown to an admission. Who has more is refused rather than judged by a part.
pub const GRANTS_SHOWN_MAX: usize = 10_000;
/// Reasons, holds and obligations of one answer.
pub const ANSWERS_MAX: usize = 64;
/// Bytes of a reason or a note.
pub const REASON_MAX: usize = 1024;
/// The longest an admission may stand before it is reviewed anew, and the shortest.
pub const REVIEW_AGAIN_MIN: Duration = Duration::from_secs(1);
pub const REVIEW_AGAIN_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Compiled bundles kept at hand: the active one, and some that a rollback or a dry run comes back to.
pub const COMPILED_KEPT_MAX: usize = 4;
/// Evaluators kept of one bundle: as many as may run at a time without one being made anew.
pub const EVALUATORS_KEPT_MAX: usize = 16;
