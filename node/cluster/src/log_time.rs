//! Log time on this node (DESIGN §3): what it is *now*, and what a leader stamps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::id::NodeId;
use domain::time::LogTime;
use parking_lot::Mutex;

use crate::clock::Boottime;
use crate::limits::{DRIFT_PERCENT, LOG_TIME_LEAD_MAX, VOTER_CLOCK_AGE_MAX};

/// `T + (BOOTTIME elapsed since s)/(1−ε)`, never going back.
#[derive(Default)]
pub(crate) struct LogClock {
    base: Mutex<Option<(LogTime, Boottime)>>,
    /// The latest answer given, milliseconds.
    told: AtomicU64,
}

impl LogClock {
    /// Log time was `time` (or later) when this node's BOOTTIME was `at`.
    pub(crate) fn learn(&self, time: LogTime, at: Boottime) {
        let mut base = self.base.lock();
        let newer = base.is_none_or(|(t, a)| extrapolate(t, a, at) <= time || a < at);
        if newer {
            *base = Some((time, at));
        }
    }

    pub(crate) fn now(&self) -> LogTime {
        let base = *self.base.lock();
        let now = base.map_or(0, |(time, at)| extrapolate(time, at, Boottime::now()).0);
        LogTime(self.told.fetch_max(now, Ordering::AcqRel).max(now))
    }
}

/// Divides by (1−ε): a slow clock must not keep anything alive.
fn extrapolate(time: LogTime, at: Boottime, now: Boottime) -> LogTime {
    let elapsed = now.0.saturating_sub(at.0);
    time.after(elapsed * 100 / (100 - DRIFT_PERCENT))
}

/// What a leader knows of the voters' wall clocks, and how far it let log time run.
#[derive(Default)]
pub(crate) struct StampClock {
    walls: BTreeMap<NodeId, (LogTime, Boottime)>,
    /// First stamp of this process that a majority of clocks stood behind.
    anchor: Option<(LogTime, Boottime)>,
}

impl StampClock {
    /// A report can be long on its way and so show too little, never too much: unless the clock was really set back,
    /// the later of two accounts is the better one.
    pub(crate) fn heard(&mut self, node: NodeId, wall_ms: u64, at: Boottime) {
        let told = LogTime(wall_ms);
        let before = self.walls.get(&node).map_or(told, |(wall, heard)| wall.after(at.0.saturating_sub(heard.0)));
        let set_back = before.since(told) >= LOG_TIME_LEAD_MAX;
        self.walls.insert(node, (if set_back { told } else { told.max(before) }, at));
    }

    /// A majority of the voters' clocks stands behind what would be stamped now. Without it the stamp may lie as far back
    /// as the last entry took to be committed and applied: good enough for the log, not for a lease.
    pub(crate) fn knows(&self, voters: &[NodeId], now: Boottime) -> bool {
        self.clocks(voters, now).count() * 2 > voters.len()
    }

    /// What the voters' clocks show now, as far as they were heard lately.
    fn clocks(&self, voters: &[NodeId], now: Boottime) -> impl Iterator<Item = LogTime> {
        voters
            .iter()
            .filter_map(|node| self.walls.get(node))
            .map(move |(wall, at)| (*wall, now.0.saturating_sub(at.0)))
            .filter(|(_, age)| *age <= VOTER_CLOCK_AGE_MAX)
            .map(|(wall, age)| wall.after(age))
    }

    /// The stamp for an entry: the median of the voters' clocks, extrapolated on BOOTTIME; at least `floor` (where the
    /// log stands), and no further ahead of this leader's BOOTTIME than the bound.
    /// With no majority of clocks, log time advances with BOOTTIME alone.
    pub(crate) fn stamp(&mut self, voters: &[NodeId], floor: LogTime, floor_at: Boottime, now: Boottime) -> LogTime {
        if !self.knows(voters, now) {
            let elapsed = now.0.saturating_sub(floor_at.0);
            return if floor == LogTime(0) { self.clocks(voters, now).next().unwrap_or(floor) } else { floor.after(elapsed) };
        }
        let mut clocks: Vec<LogTime> = self.clocks(voters, now).collect();
        clocks.sort_unstable();
        // The lower of the two middle ones: late is safe, early would expire what is still valid.
        let median = clocks[(clocks.len() - 1) / 2];
        let (anchor, anchored_at) = *self.anchor.get_or_insert((median.max(floor), now));
        let bound = anchor.after(now.0.saturating_sub(anchored_at.0) + LOG_TIME_LEAD_MAX);
        if median > bound {
            tracing::warn!(median = median.0, bound = bound.0, "the voters' clocks jumped ahead; log time does not follow them");
        }
        median.min(bound).max(floor)
    }

    /// Clocks older than this say nothing.
    pub(crate) fn forget_stale(&mut self, now: Boottime) {
        let limit: Duration = VOTER_CLOCK_AGE_MAX;
        self.walls.retain(|_, (_, at)| now.0.saturating_sub(at.0) <= limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn at(ms: u64) -> Boottime {
        Boottime(Duration::from_millis(ms))
    }

    fn clock(walls: [u64; 3], when: Boottime) -> StampClock {
        let mut clock = StampClock::default();
        for (node, wall) in VOTERS.iter().zip(walls) {
            clock.heard(*node, wall, when);
        }
        clock
    }

    #[test]
    fn one_wrong_clock_decides_nothing() {
        let year = 31_536_000_000;
        for wrong in [0, 1_000_000 + year] {
            let mut clock = clock([1_000_000, 1_000_010, wrong], at(0));
            let stamp = clock.stamp(&VOTERS, LogTime(0), at(0), at(100));
            assert!((1_000_100..=1_000_110).contains(&stamp.0), "{stamp}");
        }
    }

    #[test]
    fn log_time_never_goes_back_and_never_leaps() {
        let mut clock = clock([1_000_000; 3], at(0));
        assert_eq!(clock.stamp(&VOTERS, LogTime(5_000_000), at(0), at(0)), LogTime(5_000_000));
        let mut clock = self::clock([1_000_000; 3], at(0));
        assert_eq!(clock.stamp(&VOTERS, LogTime(0), at(0), at(0)), LogTime(1_000_000));
        for node in VOTERS {
            clock.heard(node, 9_000_000, at(1000));
        }
        let bounded = clock.stamp(&VOTERS, LogTime(1_000_000), at(0), at(1000));
        assert_eq!(bounded, LogTime(1_000_000 + 1000 + LOG_TIME_LEAD_MAX.as_millis() as u64));
    }

    #[test]
    fn without_a_majority_of_clocks_it_follows_boottime() {
        let mut clock = StampClock::default();
        clock.heard(NodeId(1), 9_000_000, at(0));
        assert_eq!(clock.stamp(&VOTERS, LogTime(1_000), at(0), at(250)), LogTime(1_250));
        clock.forget_stale(at(60_000));
        assert!(clock.walls.is_empty());
    }

    #[test]
    fn a_majority_of_clocks_must_be_fresh() {
        let mut clock = StampClock::default();
        clock.heard(NodeId(1), 1_000, at(0));
        clock.heard(NodeId(9), 1_000, at(0));
        assert!(!clock.knows(&VOTERS, at(0)), "one voter and one that has no vote");
        clock.heard(NodeId(2), 1_000, at(100));
        assert!(clock.knows(&VOTERS, at(100)));
        assert!(!clock.knows(&VOTERS, at(1 + VOTER_CLOCK_AGE_MAX.as_millis() as u64)), "the first is too old");
    }

    #[test]
    fn a_late_report_sets_no_clock_back_but_a_set_clock_does() {
        let mut clock = clock([1_000_000; 3], at(0));
        for node in VOTERS {
            clock.heard(node, 1_000_100, at(900));
        }
        assert_eq!(clock.stamp(&VOTERS, LogTime(0), at(0), at(900)), LogTime(1_000_900));
        for node in VOTERS {
            clock.heard(node, 500_000, at(1_000));
        }
        assert_eq!(clock.clocks(&VOTERS, at(1_000)).collect::<Vec<_>>(), [LogTime(500_000); 3]);
    }

    #[test]
    fn now_runs_on_and_never_goes_back() {
        let clock = LogClock::default();
        let here = Boottime::now();
        clock.learn(LogTime(10_000), here);
        let first = clock.now();
        assert!(first >= LogTime(10_000));
        clock.learn(LogTime(2_000), Boottime::now());
        assert!(clock.now() >= first);
    }
}
