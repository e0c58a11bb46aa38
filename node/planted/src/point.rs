//! Points of the code at which a test lets a process die or stand still (chaos/README.md). In a release they are nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::Refused;

/// The variable that says what happens where: `POINT=crash:3;OTHER=pause:2`. Without a number it is the first time.
/// `*=pause:1` is all points.
pub const POINTS: &str = "ASSIZE_POINTS";
/// The variable that names a file to which each point is added when it is first reached.
pub const SEEN: &str = "ASSIZE_POINTS_SEEN";

macro_rules! points {
    ($($point:ident,)*) => {
        /// Named by what has just happened, or is next.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Point {
            $($point,)*
        }

        impl Point {
            pub const ALL: &'static [Point] = &[$(Point::$point,)*];
        }
    };
}

points! {
    // raft-store: a log, its syncs, its state
    VoteWritten,
    VoteSynced,
    CommittedWritten,
    EntriesReceived,
    EntriesWritten,
    EntriesQueued,
    WalBeforeSync,
    WalSynced,
    WaitersTold,
    FloorMade,
    FloorBeforeRaise,
    FloorRaised,
    LayoutWritten,
    LayoutRenamed,
    DatabaseBeforeOpen,
    DatabaseOpened,
    EntryApplied,
    RowsBeforeWrite,
    RowsWritten,
    AppliedBeforeAnswer,
    SnapshotBeforeSync,
    SnapshotSynced,
    // cluster: folders
    SecretWritten,
    SecretRenamed,
    BackupSynced,
    BackupRenamed,
    RecoveryBuilt,
    RecoveryMoved,
    RecoverySettled,
    // cluster: commands, barriers, receipts
    ProposalBeforeSent,
    ProposalStamped,
    ProposalWritten,
    NarrowingBeforeProposal,
    NarrowingCommitted,
    BarrierBefore,
    BarrierPassed,
    NarrowingBeforeAnswer,
    ReceiptBeforeAnswer,
    ReceiptFiled,
    StateBeforePublished,
    StatePublished,
    EnforcementBefore,
    EnforcementDone,
    EnforcedIndexMoved,
    // cluster: leases, members
    RenewalBefore,
    RenewalHeard,
    RenewalConfirmed,
    LeaseBeforeExtended,
    LeaseExtended,
    ServingBeforeAsked,
    MembershipBefore,
    JoinBeforeRegistered,
    JoinRegistered,
    JoinAnswered,
    FoundingCommitted,
    // cluster: records
    BatchCut,
    BatchSent,
    BatchReceived,
    BatchBeforeAnswer,
    BatchBeforeAcknowledged,
    BatchAcknowledged,
    HeadBeforeSigned,
    HeadSigned,
    // session
    AdmissionBeforeCommitted,
    AdmissionCommitted,
    SessionBeforeRegistered,
    DialBefore,
    Dialled,
    GateBeforeWrite,
    GateWritten,
    GatesShut,
    UpstreamsDrained,
    CancelBefore,
    CancelSettled,
    RequestBeforeOpened,
    ApprovalBeforeSpent,
    ApprovalSpent,
    // outbound
    SinkBeforeDelivery,
    SinkDelivered,
    SinkCursorMoved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    /// At this time that it is reached.
    Crash(u32),
    Pause(Duration),
}

#[derive(Debug)]
struct Plan {
    acts: Vec<Act>,
    reached: Vec<AtomicU32>,
    seen: Option<String>,
}

static PLAN: OnceLock<Plan> = OnceLock::new();

/// What a test wants to happen here happens here.
#[inline]
pub fn reach(point: Point) {
    if cfg!(debug_assertions)
        && let Some(plan) = PLAN.get()
    {
        plan.reach(point);
    }
}

impl Plan {
    fn reach(&self, point: Point) {
        let times = self.reached[point as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if times == 1
            && let Some(file) = &self.seen
        {
            note(file, point);
        }
        match self.acts[point as usize] {
            // As the kernel ends a process: nothing is flushed, nothing said.
            Act::Crash(at) if at == times => std::process::abort(),
            Act::Pause(pause) => std::thread::sleep(pause),
            Act::Nothing | Act::Crash(_) => {}
        }
    }
}

/// One write, so that processes that share the file do not mix their lines.
fn note(file: &str, point: Point) {
    use std::io::Write as _;
    let line = format!("{point:?}\n");
    let added = std::fs::File::options().create(true).append(true).open(file).and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = added {
        eprintln!("{SEEN}: {file}: {error}");
    }
}

fn plan(text: &str, seen: Option<String>) -> Option<Plan> {
    let mut acts = vec![Act::Nothing; Point::ALL.len()];
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, what) = part.split_once('=')?;
        let (what, number) = what.split_once(':').unwrap_or((what, "1"));
        let number: u32 = number.parse().ok()?;
        let act = match what {
            "crash" => Act::Crash(number),
            "pause" => Act::Pause(Duration::from_millis(number.into())),
            _ => return None,
        };
        if name == "*" {
            acts.fill(act);
        } else {
            acts[*Point::ALL.iter().find(|point| format!("{point:?}") == name)? as usize] = act;
        }
    }
    Some(Plan { acts, reached: Point::ALL.iter().map(|_| AtomicU32::new(0)).collect(), seen })
}

pub(crate) fn from_environment() -> Result<(), Refused> {
    let (text, seen) = (std::env::var(POINTS).ok(), std::env::var(SEEN).ok());
    if text.is_none() && seen.is_none() {
        return Ok(());
    }
    if !cfg!(debug_assertions) {
        return Err(Refused::Release);
    }
    let text = text.unwrap_or_default();
    let plan = plan(&text, seen).ok_or(Refused::Point(text))?;
    // Set once, at start.
    let _ = PLAN.set(plan);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_happens_where() {
        let plan = plan("*=pause:2;VoteSynced=crash:3;WalSynced=crash", None).expect("a plan");
        let at = |point: Point| plan.acts[point as usize];
        assert_eq!(at(Point::Dialled), Act::Pause(Duration::from_millis(2)));
        assert_eq!((at(Point::VoteSynced), at(Point::WalSynced)), (Act::Crash(3), Act::Crash(1)));
        plan.reach(Point::VoteSynced);
        assert_eq!(plan.reached[Point::VoteSynced as usize].load(Ordering::Relaxed), 1, "and lives, the first time");
        for nonsense in ["NoSuchPoint=crash", "VoteSynced", "VoteSynced=explode", "VoteSynced=pause:soon"] {
            assert!(super::plan(nonsense, None).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn there_are_at_least_sixty() {
        assert!(Point::ALL.len() >= 60, "{}", Point::ALL.len());
    }
}
