//! Every bound of this crate, with unit and reason. [`check`] proves at start that they fit together.

use std::time::Duration;

/// `D`: how long a node may decide from its local state after it asked (DESIGN §4). Long enough to ride out an
/// election (≤ 1 s), short enough that a revocation with a lost node ends within seconds.
pub const LEASE: Duration = Duration::from_secs(2);
/// `k`: how long after a lease's end the fences may need until nothing leaves the machine any more.
pub const FENCE_MARGIN: Duration = Duration::from_millis(200);
/// … of which the kernel has this long to kill a process whose dead-man timer fired (measured: 22 ms).
pub const KILL_LATENCY: Duration = Duration::from_millis(100);
/// Stop forwarding this long before the lease ends: covers scheduling delays between check and write.
pub const LEASE_GUARD: Duration = Duration::from_millis(100);
/// `ε`: bound on the error of a clock's *rate*, in percent. NTP slews at most 0.05 %.
pub const DRIFT_PERCENT: u32 = 1;
/// Renewals start this often.
pub const RENEWAL_INTERVAL: Duration = Duration::from_millis(500);
/// After a renewal that failed the next one follows this soon: most fail because the leader changes.
pub const RENEWAL_RETRY: Duration = Duration::from_millis(100);
/// A renewal that is not answered by then is given up and another is sent.
pub const RENEWAL_DEADLINE: Duration = Duration::from_millis(900);
/// A node that was just taken out of the serving set waits this long before it asks to join again (hysteresis).
pub const REJOIN_PAUSE: Duration = Duration::from_secs(3);
/// A tick is logged when nothing was stamped for this long while something can expire.
pub const TICK_INTERVAL: Duration = Duration::from_millis(200);
/// … and at least this often in any case, so that log time never lags behind by more than `domain` lets one entry move it.
pub const TICK_IDLE: Duration = Duration::from_secs(30);
/// A voter's wall clock counts towards the median this long after it was last reported.
pub const VOTER_CLOCK_AGE_MAX: Duration = Duration::from_secs(5);
/// Log time may run ahead of the BOOTTIME elapsed on the leader by no more than this.
pub const LOG_TIME_LEAD_MAX: Duration = Duration::from_secs(10);

/// A proposal that is not acknowledged by then is reported as unknown or not committed.
pub const PROPOSE_DEADLINE: Duration = Duration::from_secs(8);
/// One attempt of a forwarded proposal; after it the next leader is tried with the same id.
pub const PROPOSE_ATTEMPT: Duration = Duration::from_secs(3);
/// Pause between attempts while no leader is known.
pub const PROPOSE_PAUSE: Duration = Duration::from_millis(25);
/// How long a caller of `confirm` waits for a quorum.
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(3);
/// An answer to an AwaitEnforced question is due by then; the asker asks again.
pub const AWAIT_ENFORCED_DEADLINE: Duration = Duration::from_secs(1);
/// What sessions had running at targets is cancelled by then, or will not be known: a receipt is completed no later.
pub const SETTLE_DEADLINE: Duration = Duration::from_secs(4);
/// Between two looks whether more is known of a receipt's sessions.
pub const SETTLE_POLL: Duration = Duration::from_millis(20);
/// Receipts of narrowing commands kept for whoever asks late.
pub const RECEIPTS_KEPT: usize = 1024;
/// The largest proposal for the control log, in bytes.
pub const PROPOSAL_SIZE_MAX: usize = 1 << 20;

/// Records in one audit proposal.
pub const BATCH_RECORDS_MAX: usize = 256;
/// Bytes in one audit proposal; one record may exceed it alone.
pub const BATCH_BYTES_MAX: usize = 128 << 10;
/// Full audit proposals of one node on their way.
pub const BATCHES_IN_FLIGHT_MAX: usize = 4;
/// A record that nobody waits for is sent by then: with the next one that somebody does, as a rule.
pub const UNAWAITED_DELAY: Duration = Duration::from_millis(10);
/// How long a batch waits for those that the last one let go: as long as a commit takes, within these bounds. Measured:
/// with both CPUs busy they come back after more than 2 ms, and half the cost of a statement goes when they are waited for.
pub const GATHER_MIN: Duration = Duration::from_millis(1);
pub const GATHER_MAX: Duration = Duration::from_millis(10);
/// Queued record bytes of one node above which `Records::backlog_full` tells sessions to stop reading.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// A record batch that was not acknowledged by then is sent again.
pub const RECORDS_ATTEMPT: Duration = Duration::from_millis(1500);

/// The largest frame between nodes, in bytes: a full AppendEntries request.
pub const FRAME_SIZE_MAX: usize = 16 << 20;
/// Entries' bytes in one AppendEntries request.
pub const APPEND_BYTES_MAX: usize = 4 << 20;
/// A snapshot that is not through by then is given up; the leader starts another.
pub const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);
/// A unary question to a peer, unless it says otherwise.
pub const RPC_DEADLINE: Duration = Duration::from_secs(2);
/// Connecting, including the TLS handshake.
pub const CONNECT_DEADLINE: Duration = Duration::from_millis(1500);
/// After a failed connection attempt the next one waits this long, doubling up to the second.
pub const RECONNECT_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Streams a peer may have open at once on one connection.
pub const STREAMS_MAX: u32 = 1024;
/// A connection that was silent this long is dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Connections without a certificate (joining nodes) served at once.
pub const JOINS_AT_ONCE: usize = 8;

/// Entries between two snapshots of a group: five ticks a second fill it in half an hour.
pub const SNAPSHOT_AFTER: u64 = 10_000;

/// Checkpoints are made about this often, when a log grew.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// `W = (D + k)·(1+ε)/(1−ε)`: how long a barrier waits for a node that does not answer.
pub const fn barrier_wait() -> Duration {
    let span = LEASE.as_micros() as u64 + FENCE_MARGIN.as_micros() as u64;
    // Rounded up: waiting longer is always safe.
    let scaled = span * (100 + DRIFT_PERCENT as u64) / (100 - DRIFT_PERCENT as u64) + 1;
    Duration::from_micros(scaled)
}

/// Compile-time proof of the relations DESIGN §4 rests on.
const _: () = {
    assert!(DRIFT_PERCENT < 50);
    assert!(RENEWAL_INTERVAL.as_micros() * 4 <= LEASE.as_micros());
    assert!(LEASE_GUARD.as_micros() < RENEWAL_INTERVAL.as_micros());
    assert!(KILL_LATENCY.as_micros() < FENCE_MARGIN.as_micros());
    assert!(RENEWAL_DEADLINE.as_micros() < LEASE.as_micros() / 2);
    assert!(barrier_wait().as_micros() > LEASE.as_micros() + FENCE_MARGIN.as_micros());
    assert!(BATCH_BYTES_MAX < PROPOSAL_SIZE_MAX && PROPOSAL_SIZE_MAX < APPEND_BYTES_MAX && APPEND_BYTES_MAX < FRAME_SIZE_MAX);
    assert!(TICK_IDLE.as_micros() < domain::limits::LOG_TIME_JUMP_MAX.as_micros());
    assert!(KEEP_ALIVE.as_micros() * 2 < IDLE_TIMEOUT.as_micros());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_barrier_outlasts_a_lease_measured_by_the_slowest_clock() {
        // A node whose clock runs ε slow holds its lease and fence for (D+k)/(1−ε) of real time; the answering
        // node's clock may run ε fast and so shows W after W/(1+ε).
        let real = (LEASE + FENCE_MARGIN).as_secs_f64() / 0.99;
        assert!(barrier_wait().as_secs_f64() / 1.01 >= real);
    }
}
