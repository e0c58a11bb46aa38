//! Times and spans as people type them: `90d`, `12h`, `2026-12-31`, RFC 3339.

use std::time::Duration;

use jiff::Timestamp;
use proto::types;

/// A moment: given as such, or as a span from when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(Timestamp),
    In(Duration),
}

/// `10s 30m 12h 90d 2w`, and sums of them such as `1d12h`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time like 30s, 15m, 12h, 90d, 2w or 1d12h");
    let (mut total, mut number) = (0u64, None::<u64>);
    for c in text.chars() {
        match (c.to_digit(10), number) {
            (Some(digit), _) => {
                let next = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit.into()));
                number = Some(next.ok_or_else(wrong)?);
            }
            (None, Some(count)) => {
                let unit = match c {
                    's' => 1,
                    'm' => 60,
                    'h' => 3600,
                    'd' => 86_400,
                    'w' => 604_800,
                    _ => return Err(wrong()),
                };
                total = count.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(wrong)?;
                number = None;
            }
            (None, None) => return Err(wrong()),
        }
    }
    // Ten thousand years and more are a typing error, and overflow calendars.
    if number.is_some() || text.is_empty() || total > 315_360_000_000 { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

pub(crate) fn parse(text: &str) -> Result<When, String> {
    if let Ok(span) = parse_span(text) {
        return Ok(When::In(span));
    }
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp());
    let at = text.parse::<Timestamp>().ok().or_else(day);
    at.map(When::At).ok_or_else(|| format!("{text:?} is neither a span like 90d nor a time like 2026-12-31T12:00:00Z"))
}

impl When {
    /// The moment, a span counting back from now.
    pub(crate) fn back(self) -> types::Timestamp {
        to_wire(match self {
            When::At(at) => at,
            When::In(span) => Timestamp::now().saturating_sub(span).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// The moment, counted from now.
    pub(crate) fn resolve(self) -> types::Timestamp {
        let at = match self {
            When::At(at) => at,
            When::In(span) => Timestamp::now().saturating_add(span).unwrap_or(Timestamp::MAX),
        };
        to_wire(at)
    }
}

pub(crate) fn to_wire(at: Timestamp) -> types::Timestamp {
    types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

pub(crate) fn span_to_wire(span: Duration) -> types::Duration {
    types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

pub(crate) fn from_wire(time: &types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// To the second, UTC; `-` for none.
pub(crate) fn show(time: Option<&types::Timestamp>) -> String {
    time.and_then(from_wire).map_or_else(|| "-".into(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

pub(crate) fn show_span(span: Option<&types::Duration>) -> String {
    let Some(span) = span else { return "-".into() };
    let mut rest = u64::try_from(span.seconds).unwrap_or_default();
    let mut out = String::new();
    for (unit, seconds) in [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)] {
        if rest >= seconds {
            out.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, seconds: Option<u64>) {
        assert_eq!(parse_span(text).ok(), seconds.map(Duration::from_secs), "{text:?}");
    }

    #[test]
    fn spans_are_numbers_with_units() {
        check("90d", Some(90 * 86_400));
        check("1d12h", Some(129_600));
        check("2w", Some(1_209_600));
        check("0s", Some(0));
        for wrong in ["", "90", "d", "90x", "1d 2h", "-1d", "99999999999999999999d", "1d2"] {
            check(wrong, None);
        }
    }

    #[test]
    fn times_are_rfc_3339_or_days() {
        assert_eq!(parse("1970-01-02T00:00:00Z"), Ok(When::At(Timestamp::from_second(86_400).expect("in range"))));
        assert_eq!(parse("1970-01-02"), Ok(When::At(Timestamp::from_second(86_400).expect("in range"))));
        assert_eq!(parse("30m"), Ok(When::In(Duration::from_secs(1800))));
        assert!(parse("tomorrow").is_err());
    }

    #[test]
    fn shown_spans_can_be_typed() {
        for text in ["20s", "1d12h", "1h1m1s"] {
            let span = parse_span(text).expect("a span");
            assert_eq!(show_span(Some(&span_to_wire(span))), text);
        }
    }
}
