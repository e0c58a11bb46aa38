//! Log time: what the entries of the control log say it is. No clock is read here.

use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01 00:00 UTC, as stamped into the log. Monotone over the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogTime(pub u64);

impl LogTime {
    pub fn after(self, span: Duration) -> LogTime {
        LogTime(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// As RFC 3339 has it: UTC, to the millisecond. What no calendar holds is its number.
    pub fn rfc_3339(self) -> String {
        let at = i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        at.map_or_else(|| self.0.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: LogTime) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_the_calendar_has_them() {
        for (millis, told) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(LogTime(millis).rfc_3339(), told);
        }
    }
}
