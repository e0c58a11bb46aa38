//! What is counted. Labels are names of sinks, of which there are a bounded number, and kinds.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

pub(crate) fn describe() {
    describe_counter!("assize_sink_delivered_total", "Messages that receivers took, by sink.");
    describe_counter!("assize_sink_failures_total", "Deliveries that failed and are tried again, by sink.");
    describe_counter!("assize_sink_abandoned_total", "Messages given up after the sink's time, by sink.");
    describe_gauge!("assize_sink_lag", "Leaves that a sink has not been sent or passed over yet; on the node that delivers.");
    describe_gauge!("assize_sink_failing", "1 while the sink's next message cannot be delivered; on the node that delivers.");
    describe_counter!("assize_witness_cosigned_total", "Heads that a witness co-signed, by witness.");
    describe_counter!("assize_witness_failures_total", "Times a witness did not answer or refused, by witness.");
    describe_gauge!("assize_witness_cosigned_age_seconds", Unit::Seconds, "Since a witness last co-signed; on the node that asks.");
}

pub(crate) fn delivered(sink: &str, count: u64) {
    counter!("assize_sink_delivered_total", "sink" => sink.to_owned()).increment(count);
}

pub(crate) fn failed(sink: &str) {
    counter!("assize_sink_failures_total", "sink" => sink.to_owned()).increment(1);
}

pub(crate) fn abandoned(sink: &str, count: u64) {
    counter!("assize_sink_abandoned_total", "sink" => sink.to_owned()).increment(count);
}

pub(crate) fn stands(sink: &str, lag: u64, failing: bool) {
    gauge!("assize_sink_lag", "sink" => sink.to_owned()).set(lag as f64);
    gauge!("assize_sink_failing", "sink" => sink.to_owned()).set(if failing { 1.0 } else { 0.0 });
}

pub(crate) fn cosigned(witness: &str) {
    counter!("assize_witness_cosigned_total", "witness" => witness.to_owned()).increment(1);
}

pub(crate) fn not_cosigned(witness: &str) {
    counter!("assize_witness_failures_total", "witness" => witness.to_owned()).increment(1);
}

pub(crate) fn cosigned_age(witness: &str, seconds: f64) {
    gauge!("assize_witness_cosigned_age_seconds", "witness" => witness.to_owned()).set(seconds);
}
