//! A machine's clocks, with their errors.

use super::figures::{LOG_TIME_LEAD_MAX, MS, VOTER_CLOCK_AGE_MAX};
use domain::time::LogTime;
use std::time::Duration;

/// Where wall clocks start: milliseconds since 1970.
pub const START: u64 = 1_790_000_000_000;

/// True time is in microseconds since the run began; BOOTTIME of a machine runs beside it, too fast or too slow.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: u64,
    /// Rate error, millionths.
    rate: i64,
    /// Error of the wall clock, milliseconds.
    pub wall_error: i64,
}

impl Clock {
    pub fn new(offset: u64, rate: i64, wall_error: i64) -> Clock {
        Clock { offset, rate, wall_error }
    }

    pub fn local(self, now: u64) -> u64 {
        self.offset + (now as i128 * (1_000_000 + self.rate) as i128 / 1_000_000) as u64
    }

    /// The first true time at which BOOTTIME shows `local`.
    pub fn reaches(self, local: u64) -> u64 {
        let since = local.saturating_sub(self.offset) as i128 * 1_000_000;
        let rate = (1_000_000 + self.rate) as i128;
        ((since + rate - 1) / rate) as u64
    }

    pub fn wall_ms(self, now: u64) -> u64 {
        (START + now / MS).saturating_add_signed(self.wall_error)
    }
}

/// `cluster::log_time::LogClock`: what a node takes log time to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogClock {
    base: Option<(u64, u64)>,
    told: u64,
}

impl LogClock {
    pub(super) fn learn(&mut self, time: u64, at: u64) {
        self.base = Some((time, at));
    }

    pub(super) fn now(&mut self, local: u64) -> LogTime {
        let now = self.base.map_or(0, |(time, at)| time + local.saturating_sub(at) * 100 / 99 / MS);
        self.told = self.told.max(now);
        LogTime(self.told)
    }
}

/// `cluster::log_time::StampClock`: what a leader stamps.
#[derive(Debug, Clone, Default)]
pub struct StampClock {
    walls: [Option<(u64, u64)>; super::NODES_MAX],
    anchor: Option<(u64, u64)>,
}

impl StampClock {
    /// `set_back`: what the code does. A report can be late and so show too little, but never too much: unless the clock
    /// was really set, the later of two accounts is the better one.
    pub fn heard(&mut self, node: usize, wall_ms: u64, local: u64, set_back: bool) {
        let before = self.walls[node].map_or(0, |(wall, at)| wall + local.saturating_sub(at) / MS);
        let only_late = wall_ms < before && before - wall_ms < LOG_TIME_LEAD_MAX / MS;
        self.walls[node] = Some((if only_late && !set_back { before } else { wall_ms }, local));
    }

    fn fresh(&self, local: u64) -> impl Iterator<Item = &(u64, u64)> {
        self.walls.iter().flatten().filter(move |(_, at)| local.saturating_sub(*at) <= VOTER_CLOCK_AGE_MAX)
    }

    /// A majority of the voters' clocks stands behind what would be stamped.
    pub fn knows(&self, voters: usize, local: u64) -> bool {
        self.fresh(local).count() * 2 > voters
    }

    pub fn stamp(&mut self, voters: usize, floor: u64, floor_at: u64, local: u64) -> LogTime {
        let mut clocks: Vec<u64> = self.fresh(local).map(|(wall, at)| wall + local.saturating_sub(*at) / MS).collect();
        if clocks.len() * 2 <= voters {
            return LogTime(floor).after(Duration::from_micros(local.saturating_sub(floor_at)));
        }
        clocks.sort_unstable();
        let median = clocks[(clocks.len() - 1) / 2];
        let (anchor, anchored_at) = *self.anchor.get_or_insert((median.max(floor), local));
        let bound = anchor + (local.saturating_sub(anchored_at) + LOG_TIME_LEAD_MAX) / MS;
        LogTime(median.min(bound).max(floor))
    }
}
