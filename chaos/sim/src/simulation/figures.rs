//! The figures of `cluster::limits` and `session::limits`, in microseconds. A test compares them with the sources.

pub const MS: u64 = 1_000;
pub const SECOND: u64 = 1_000 * MS;

pub const LEASE: u64 = 2 * SECOND;
pub const FENCE_MARGIN: u64 = 200 * MS;
pub const LEASE_GUARD: u64 = 100 * MS;
pub const DRIFT_PERCENT: u64 = 1;
pub const RENEWAL_INTERVAL: u64 = 500 * MS;
pub const RENEWAL_RETRY: u64 = 100 * MS;
pub const RENEWAL_DEADLINE: u64 = 900 * MS;
pub const REJOIN_PAUSE: u64 = 3 * SECOND;
pub const TICK_INTERVAL: u64 = 200 * MS;
pub const VOTER_CLOCK_AGE_MAX: u64 = 5 * SECOND;
pub const LOG_TIME_LEAD_MAX: u64 = 10 * SECOND;
pub const PROPOSE_DEADLINE: u64 = 8 * SECOND;
pub const PROPOSE_ATTEMPT: u64 = 3 * SECOND;
pub const PROPOSE_PAUSE: u64 = 25 * MS;
pub const AWAIT_ENFORCED_DEADLINE: u64 = SECOND;
pub const DRAIN_DEADLINE: u64 = 50 * MS;
pub const EXPIRY_POLL: u64 = 25 * MS;
pub const UPSTREAM_USER_TIMEOUT: u64 = 1_500 * MS;

/// Of the control group (`cluster::raft`).
pub const HEARTBEAT: u64 = 100 * MS;
pub const ELECTION: (u64, u64) = (300 * MS, 600 * MS);

/// The dead-man timer is armed this long before the margin ends, so that the kill lies within it. THREATS §4.2 measured
/// 22 ms from timer to death; this leaves room for twice that.
pub const KILL_LATENCY_MAX: u64 = 50 * MS;

/// What the network between a gateway and its target may still hold when a connection is reset: `d_net` of R1w.
pub const TARGET_DELAY_MAX: u64 = 300;

/// `W`, as `cluster::limits::barrier_wait`.
pub const fn barrier_wait() -> u64 {
    (LEASE + FENCE_MARGIN) * (100 + DRIFT_PERCENT) / (100 - DRIFT_PERCENT) + 1
}
