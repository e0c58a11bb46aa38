//! What the road counts. Handles are made once; a call is an atomic addition.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::road::End;

pub struct Meters {
    pub accepted: Counter,
    pub accept_errors: Counter,
    pub handshakes: Gauge,
    pub handshakes_evicted: Counter,
    pub handshakes_late: Counter,
    pub turned_away: Counter,
    pub sessions: Gauge,
    pub admitted: Counter,
    pub admission_refused: Counter,
    pub dial_failed: Counter,
    pub allowed: Counter,
    pub held: Counter,
    pub refused: Counter,
    pub records: Counter,
    pub record_wait: Histogram,
    pub not_recorded: Counter,
    pub late_sends: Counter,
    pub cancels: Counter,
    pub ended_client: Counter,
    pub ended_upstream: Counter,
    pub ended_policy: Counter,
    pub ended_us: Counter,
}

static METERS: LazyLock<Meters> = LazyLock::new(|| {
    describe();
    let verdict = |v: &'static str| counter!("assize_operations_total", "verdict" => v);
    let ended = |by: &'static str| counter!("assize_sessions_ended_total", "by" => by);
    let admission = |outcome: &'static str| counter!("assize_admissions_total", "outcome" => outcome);
    Meters {
        accepted: counter!("assize_connections_total"),
        accept_errors: counter!("assize_accept_errors_total"),
        handshakes: gauge!("assize_handshakes"),
        handshakes_evicted: counter!("assize_handshakes_dropped_total", "why" => "full"),
        handshakes_late: counter!("assize_handshakes_dropped_total", "why" => "deadline"),
        turned_away: counter!("assize_handshakes_dropped_total", "why" => "refused"),
        sessions: gauge!("assize_sessions"),
        admitted: admission("admitted"),
        admission_refused: admission("refused"),
        dial_failed: counter!("assize_dial_failures_total"),
        allowed: verdict("allow"),
        held: verdict("hold"),
        refused: verdict("refuse"),
        records: counter!("assize_session_records_total"),
        record_wait: histogram!("assize_record_wait_seconds"),
        not_recorded: counter!("assize_not_recorded_total"),
        late_sends: counter!("assize_late_sends_total"),
        cancels: counter!("assize_cancels_total"),
        ended_client: ended("client"),
        ended_upstream: ended("upstream"),
        ended_policy: ended("policy"),
        ended_us: ended("us"),
    }
});

/// The node's meters. They count for whichever recorder is installed when this is first called.
pub fn meters() -> &'static Meters {
    &METERS
}

impl Meters {
    pub(crate) fn ended(&self, end: &End) {
        match end {
            End::Client => self.ended_client.increment(1),
            End::Upstream => self.ended_upstream.increment(1),
            End::Policy(_) => self.ended_policy.increment(1),
            End::Us(_) => self.ended_us.increment(1),
        }
    }
}

fn describe() {
    describe_counter!("assize_connections_total", "Connections accepted from clients.");
    describe_counter!("assize_usage_dropped_total", "Uses and denials that found no place in a report of use.");
    describe_counter!("assize_accept_errors_total", "Errors of accept; the loop goes on.");
    describe_gauge!("assize_handshakes", "Connections that have not proved who they are yet.");
    describe_counter!("assize_handshakes_dropped_total", "Handshakes that did not lead to an admission, by reason.");
    describe_gauge!("assize_sessions", "Live sessions.");
    describe_counter!("assize_admissions_total", "Admissions, by outcome.");
    describe_counter!("assize_dial_failures_total", "Targets that could not be reached or did not let the gateway in.");
    describe_counter!("assize_operations_total", "Operations judged, by verdict.");
    describe_counter!("assize_session_records_total", "Audit records that sessions queued.");
    describe_histogram!(
        "assize_record_wait_seconds",
        Unit::Seconds,
        "From queueing an intent record to its commit by a quorum, where a session waited for it."
    );
    describe_counter!("assize_not_recorded_total", "Times a session gave up waiting for a record.");
    describe_counter!("assize_late_sends_total", "Writes that ended after the lease did; the socket was reset.");
    describe_counter!("assize_cancels_total", "Cancel requests by clients.");
    describe_counter!("assize_sessions_ended_total", "Sessions ended, by who ended them.");
}
