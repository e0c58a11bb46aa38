//! Bugs that a test switches on, one a process, to see that the layer meant to catch them does (chaos/README.md).
//!
//! What this crate must **not** know: anything. Nothing of it is in a release: without debug assertions [`planted`] is
//! `false` where it is compiled, and [`plant`] refuses, so that no variable weakens a node that serves.

mod point;

pub use point::{POINTS, Point, SEEN, reach};

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// The variable that names a bug to a process.
pub const VARIABLE: &str = "ASSIZE_PLANTED_BUG";
/// The variable that makes a process an older release: it knows feature levels up to this one.
pub const OLDER: &str = "ASSIZE_FEATURE_LEVEL_MAX";

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident,)*) => {
        /// What is wrong, said by what the code then does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            pub const ALL: &'static [Bug] = &[$(Bug::$bug,)*];
        }
    };
}

bugs! {
    // cluster: leases and barriers
    /// A lease is counted from the leader's answer.
    LeaseFromAnswer,
    /// A gate does not look at the lease.
    LeaseNotChecked,
    /// A renewal is used before what it confirms is enforced.
    UsedBeforeEnforced,
    /// A node that joined the serving set uses a renewal from before.
    RejoinWithoutIndex,
    /// A node out of the serving set goes on as if it were in it.
    ServesWithoutBelonging,
    /// A read index is given without asking a quorum.
    ReadIndexUnconfirmed,
    /// A narrowing command is acknowledged at its commit.
    NoBarrier,
    /// A barrier waits for a silent node, but not for as long as its lease runs.
    BarrierGivesUpEarly,
    /// A barrier waits from when the command was proposed.
    WaitFromProposal,
    /// A node that was taken out is not waited for.
    LeftNotAwaited,
    /// A node says it enforces before the gates are taken.
    EnforcedBeforeGates,
    /// A node gives its receipt without having enforced.
    ReceiptBeforeEnforced,
    /// A narrowing entry is not noted as one.
    NarrowingNotNoted,
    // cluster: proposals and records
    /// What may have happened is reported as not done.
    UnknownIsNotCommitted,
    /// An entry is stamped by whoever applies it.
    StampedWhenApplied,
    /// Every process of a node has the same boot id.
    BootReused,
    /// A record counts as recorded when it was sent.
    RecordedWhenSent,
    // raft-store
    /// A batch of records that comes again is taken again.
    RecordsNotDeduplicated,
    /// A sync says it is done before it is.
    SyncSkipped,
    /// A vote is not waited for.
    VoteNotSynced,
    /// Rows are not written, the applied index is.
    RowsForgotten,
    /// What another leader overrules stays on disk.
    TruncationForgotten,
    /// A snapshot is installed on disk and not in memory.
    SnapshotNotLoaded,
    // session
    /// A gate does not look whether the permit is the state's.
    StalePermitForwards,
    /// What was written after the lease's end is taken for written in time.
    LateNotNoticed,
    /// An idle session goes on when its access is over.
    IdleOutlivesAccess,
    /// Frozen sessions wait for ever.
    GraceNeverEnds,
    /// Bytes leave before their record is committed.
    RecordNotAwaited,
    // domain
    /// An approval stays approved when it is used.
    ApprovalNotSpent,
    /// Anybody may repeat the use of an approval.
    AnyoneRepeatsSpending,
    /// A revoked grant is live.
    RevokedStaysLive,
    /// Whoever answers for an agent decides on its requests.
    OwnerDecides,
    /// A proposal that comes again is applied again.
    ProposalRepeated,
    /// Records may be kept as short as one likes. No fault to find, but how tests see a rule at work within seconds.
    RetentionWithoutMinimum,
}

impl Bug {
    /// Those of `session`, which the simulation of `cluster` does not run: its own tests catch them.
    pub const OF_SESSION: &'static [Bug] =
        &[Bug::StalePermitForwards, Bug::LateNotNoticed, Bug::IdleOutlivesAccess, Bug::GraceNeverEnds, Bug::RecordNotAwaited];
}

const NONE: u8 = u8::MAX;

static PLANTED: AtomicU8 = AtomicU8::new(NONE);

static LEVELS: AtomicU32 = AtomicU32::new(u32::MAX);

/// The highest feature level that this process is to know, of those its build does.
#[inline]
#[must_use]
pub fn at_most(level: u32) -> u32 {
    if cfg!(debug_assertions) { level.min(LEVELS.load(Ordering::Relaxed)) } else { level }
}

/// Is this bug to show?
#[inline]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    cfg!(debug_assertions) && PLANTED.load(Ordering::Relaxed) == bug as u8
}

/// Why no bug was planted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Unknown(String),
    /// What [`POINTS`] says is no point, or nothing to do there.
    Point(String),
    /// What [`OLDER`] says is no number.
    Level(String),
    /// This build is for use.
    Release,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Unknown(name) => write!(f, "{VARIABLE}: there is no planted bug {name:?}"),
            Refused::Level(text) => write!(f, "{OLDER}: {text:?} is no feature level"),
            Refused::Point(text) => {
                write!(f, "{POINTS}: {text:?} is not POINT=crash[:TIME] or POINT=pause:MILLISECONDS; points:")?;
                Point::ALL.iter().try_for_each(|point| write!(f, " {point:?}"))
            }
            Refused::Release => write!(f, "{VARIABLE}, {OLDER}, {POINTS}: these are for debug builds only; unset them"),
        }
    }
}

impl std::error::Error for Refused {}

/// Lets the bug of this name show in this process from now on.
///
/// # Errors
/// When there is no such bug, or this build has none.
pub fn plant(name: &str) -> Result<(), Refused> {
    if !cfg!(debug_assertions) {
        return Err(Refused::Release);
    }
    let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name).ok_or_else(|| Refused::Unknown(name.to_owned()))?;
    PLANTED.store(*bug as u8, Ordering::Relaxed);
    Ok(())
}

/// Makes this process one of an older release.
///
/// # Errors
/// When this build is for use.
pub fn age(level: u32) -> Result<(), Refused> {
    if !cfg!(debug_assertions) {
        return Err(Refused::Release);
    }
    LEVELS.store(level, Ordering::Relaxed);
    Ok(())
}

/// Does what [`VARIABLE`] and [`OLDER`] say, if they are set.
///
/// # Errors
/// As [`plant`] and [`age`], and when a level is no number.
pub fn from_environment() -> Result<(), Refused> {
    if let Ok(text) = std::env::var(OLDER) {
        age(text.parse().map_err(|_| Refused::Level(text))?)?;
    }
    point::from_environment()?;
    std::env::var(VARIABLE).map_or(Ok(()), |name| plant(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bug_shows_and_no_other() {
        assert!(Bug::ALL.iter().all(|bug| !planted(*bug)), "none by default");
        assert_eq!(plant("NoSuchBug"), Err(Refused::Unknown("NoSuchBug".into())));
        plant("NoBarrier").expect("a debug build");
        let shown: Vec<_> = Bug::ALL.iter().filter(|bug| planted(**bug)).collect();
        assert_eq!(shown, [&Bug::NoBarrier]);
    }

    #[test]
    fn an_older_release_knows_no_level_that_its_build_does_not() {
        assert_eq!(at_most(7), 7, "as built");
        age(5).expect("a debug build");
        assert_eq!((at_most(7), at_most(4)), (5, 4));
    }
}
