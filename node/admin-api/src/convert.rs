//! The edge between wire types and the domain's: explicit field by field, so that nothing is assigned by accident, and
//! every field at fault is named.

pub(crate) mod fields;

pub(crate) mod break_glass;
pub(crate) mod command;
pub(crate) mod credential;
pub(crate) mod grant;
pub(crate) mod job;
pub(crate) mod lock;
pub(crate) mod principal;
pub(crate) mod receipt;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod retention;
pub(crate) mod review;
pub(crate) mod role;
pub(crate) mod sink;
pub(crate) mod target;
pub(crate) mod trigger;
pub(crate) mod usage;
pub(crate) mod witness;

use std::time::Duration;

use domain::id::Index;
use domain::permission::PermissionSet;
use domain::time::LogTime;
use proto::types;

pub(crate) fn timestamp(time: LogTime) -> types::Timestamp {
    let nanos = u32::try_from(time.0 % 1000).unwrap_or_default() * 1_000_000;
    types::Timestamp { seconds: i64::try_from(time.0 / 1000).unwrap_or(i64::MAX), nanos: i32::try_from(nanos).unwrap_or_default() }
}

pub(crate) fn span(duration: Duration) -> types::Duration {
    types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

pub(crate) fn etag(version: Index) -> String {
    version.to_string()
}

pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

pub(crate) fn permissions(set: &PermissionSet) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}
