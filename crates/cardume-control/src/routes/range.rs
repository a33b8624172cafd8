//! `Range` as of RFC 9110 section 14.
use std::ops::Range;

/// Which bytes were asked for, before the size is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All: there is no range, or one that a server ignores.
    All,
    /// From a byte to another (not included) or to the end.
    From(u64, Option<u64>),
    /// As many bytes at the end.
    Last(u64),
}

/// Which bytes are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// All: 200.
    All,
    /// Some: 206.
    Part(Range<u64>),
    /// None of those asked for exist: 416.
    Unsatisfiable,
}

impl Wanted {
    /// Reads the field's value. A value that is malformed, of another unit, or of several ranges is ignored, as
    /// section 14.2 allows; so a client gets more than it asked for and never less.
    pub(super) fn parse(value: &str) -> Self {
        Self::parse_one(value).unwrap_or(Self::All)
    }

    fn parse_one(value: &str) -> Option<Self> {
        let (unit, ranges) = value.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = ranges.trim().split_once('-')?;
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(number(last)?)),
            (false, true) => Some(Self::From(number(first)?, None)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then(|| Self::From(first, Some(last.saturating_add(1))))
            }
        }
    }

    /// What of a file of `size` bytes is sent. An end past the file is the file's end.
    pub(super) fn of(&self, size: u64) -> Sent {
        match *self {
            Self::All => Sent::All,
            Self::Last(0) => Sent::Unsatisfiable,
            // The last bytes of nothing are nothing, which no Content-Range can say.
            Self::Last(_) if size == 0 => Sent::All,
            Self::Last(count) => Sent::Part(size.saturating_sub(count)..size),
            Self::From(first, _) if first >= size => Sent::Unsatisfiable,
            Self::From(first, end) => Sent::Part(first..end.map_or(size, |end| end.min(size))),
        }
    }
}

/// Digits only: no sign, no space. More than fits is as good as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_the_rfc_says() {
        let table = [
            ("bytes=0-", 10, Sent::Part(0..10)),
            ("bytes=0-0", 10, Sent::Part(0..1)),
            ("bytes=2-4", 10, Sent::Part(2..5)),
            ("bytes=2-100", 10, Sent::Part(2..10)),
            ("bytes=9-", 10, Sent::Part(9..10)),
            ("bytes=10-", 10, Sent::Unsatisfiable),
            ("bytes=10-20", 10, Sent::Unsatisfiable),
            ("bytes=-3", 10, Sent::Part(7..10)),
            ("bytes=-30", 10, Sent::Part(0..10)),
            ("bytes=-0", 10, Sent::Unsatisfiable),
            ("BYTES = 1-2", 10, Sent::Part(1..3)),
            ("bytes=0-18446744073709551615", 10, Sent::Part(0..10)),
            ("bytes=0-99999999999999999999999", 10, Sent::Part(0..10)),
            ("bytes=99999999999999999999999-", 10, Sent::Unsatisfiable),
            // Ignored: all of it.
            ("bytes=4-2", 10, Sent::All),
            ("bytes=-", 10, Sent::All),
            ("bytes=", 10, Sent::All),
            ("bytes=0-1,3-4", 10, Sent::All),
            ("bytes=+1-2", 10, Sent::All),
            ("bytes=a-b", 10, Sent::All),
            ("lines=0-1", 10, Sent::All),
            ("0-1", 10, Sent::All),
            // An empty file.
            ("bytes=0-", 0, Sent::Unsatisfiable),
            ("bytes=-5", 0, Sent::All),
        ];
        for (value, size, expected) in table {
            assert_eq!(Wanted::parse(value).of(size), expected, "{value} of {size}");
        }
    }
}
