//! Log time on the wire.

use domain::time::LogTime;

pub(crate) fn timestamp(time: LogTime) -> proto::types::Timestamp {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(time.0 % 1000).map_or(0, |ms| ms * 1_000_000);
    proto::types::Timestamp { seconds, nanos }
}
