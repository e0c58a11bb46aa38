//! Every bound of what goes out: with its unit and its reason.

use std::time::Duration;

/// How often a leader looks whether there is something to send.
pub(crate) const TURN: Duration = Duration::from_millis(250);
/// Leaves looked at in one turn of one sink, so that a sink that wants little does not read whole logs at once.
pub(crate) const SCAN_LEAVES: u64 = 2048;
/// Messages delivered before the cursor moves. After a lost leader at most so many are sent again.
pub(crate) const BATCH_MESSAGES: usize = 128;
/// Leaves passed over before the cursor is noted although nothing was sent: they would only be read again.
pub(crate) const SKIP_NOTED: u64 = 20_000;
/// Records read before the cursor so that the first lines name the parties of operations that began before it.
pub(crate) const PRIMED: u64 = 2048;

/// Between attempts: doubled each time. A receiver that restarts is not kept waiting, one that is gone is not knocked at.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// One call, from the name's resolution to the end of the answer.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(15);
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes read of an answer; what receivers say is of use to people only.
pub(crate) const ANSWER_MAX: usize = 16 * 1024;
/// Characters of an answer that are shown.
pub(crate) const ANSWER_SHOWN: usize = 120;
/// Of what opened a review by itself, in a notification.
pub(crate) const CAUSES_TOLD: usize = 5;
/// Characters of a text that somebody wrote, in a notification.
pub(crate) const TEXT_SHOWN: usize = 300;
/// Bytes of one line that a mail server answers, and lines of one answer.
pub(crate) const SMTP_LINE_MAX: u64 = 2048;
pub(crate) const SMTP_LINES_MAX: usize = 64;
/// How long what was written to a collector may wait for its kernel's acknowledgement.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

/// Before the due date of a review, once each.
pub(crate) const REMINDERS: [(Duration, &str); 2] =
    [(Duration::from_secs(7 * 24 * 3600), "in a week"), (Duration::from_secs(24 * 3600), "tomorrow")];
