//! Spans of time.
use std::{fmt, str::FromStr};

use crate::{
    ParseUnitError, as_text,
    number::{Decimal, cut, take_unit},
};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Units that can be written, in nanoseconds, longest first. A day is always 24 hours.
const UNITS: [(&str, u64); 8] = [
    ("w", 7 * 86_400 * NANOS_PER_SEC),
    ("d", 86_400 * NANOS_PER_SEC),
    ("h", 3_600 * NANOS_PER_SEC),
    ("m", 60 * NANOS_PER_SEC),
    ("s", NANOS_PER_SEC),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A span of time, such as `30s`, `1h30m`, `500ms` or `2d`.
///
/// Units are `w`, `d`, `h`, `m`, `s`, `ms`, `us` and `ns`, from the longest to the shortest, each at most
/// once; fractions (`1.5s`) and spaces between are allowed. Precision is a nanosecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

as_text!(
    Duration,
    r"^\s*([0-9]+(\.[0-9]+)?\s*(w|d|h|m|s|ms|us|µs|ns)\s*)+$",
    ["30s", "1h30m", "500ms", "2d"]
);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(std::time::Duration::ZERO);

    /// Makes a span of `s` seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(std::time::Duration::from_secs(s))
    }

    /// Makes a span of `s` milliseconds.
    pub const fn from_millis(s: u64) -> Self {
        Self(std::time::Duration::from_millis(s))
    }

    /// Makes a span of `n` minutes.
    pub const fn from_mins(n: u64) -> Self {
        Self::from_secs(n * 60)
    }

    /// Makes a span of `n` hours.
    pub const fn from_hours(n: u64) -> Self {
        Self::from_secs(n * 3_600)
    }

    /// Makes a span of `n` days of 24 hours.
    pub const fn from_days(n: u64) -> Self {
        Self::from_secs(n * 86_400)
    }

    /// Returns the standard library's type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(span: std::time::Duration) -> Self {
        Self(span)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(span: Duration) -> Self {
        span.0
    }
}

impl FromStr for Duration {
    type Err = ParseUnitError;

    fn from_str(s: &str) -> Result<Self, ParseUnitError> {
        let refuse = |reason: String| {
            ParseUnitError(format!(
                "{} is no duration: {reason}; write it like \"30s\", \"1h30m\", \"500ms\" or \"2d\"",
                cut(s)
            ))
        };
        let mut rest = s.trim();
        let mut units = UNITS.iter();
        let mut nanos = 0_u128;
        if rest.is_empty() {
            return Err(refuse("it is empty".to_owned()));
        }
        while !rest.is_empty() {
            let Some((number, after)) = Decimal::take(rest) else {
                return Err(refuse(format!("{} does not begin with a number", cut(rest))));
            };
            let (unit, after) = take_unit(after, &[]);
            rest = after.trim_start_matches(' ');
            let unit = if matches!(unit, "µs" | "μs") { "us" } else { unit };
            let Some((_, length)) = units.find(|(name, _)| *name == unit) else {
                return Err(refuse(wrong_unit(unit)));
            };
            nanos += number
                .times(*length)
                .ok_or_else(|| refuse("it is finer than a nanosecond".to_owned()))?;
        }
        let secs = u64::try_from(nanos / u128::from(NANOS_PER_SEC))
            .map_err(|_| refuse("it is too long".to_owned()))?;
        Ok(Self(std::time::Duration::new(
            secs,
            (nanos % u128::from(NANOS_PER_SEC)) as u32,
        )))
    }
}

fn wrong_unit(unit: &str) -> String {
    if unit.is_empty() {
        "a unit is missing".to_owned()
    } else if UNITS.iter().any(|(name, _)| *name == unit) {
        format!("{unit:?} may come only once and after longer units")
    } else {
        format!("the unit {} is unknown", cut(unit))
    }
}

/// The shortest exact form in days, hours, minutes, seconds and below: `1d12h`, `1m30s`, `0s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut nanos = self.0.as_nanos();
        for (name, length) in UNITS.iter().skip(1) {
            let length = u128::from(*length);
            if nanos >= length {
                text.push_str(&format!("{}{name}", nanos / length));
                nanos %= length;
            }
        }
        f.pad(&text)
    }
}
