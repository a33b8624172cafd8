//! Numbers and names as people read them.

/// Characters of a name that is shown.
const MAX_NAME: usize = 80;

/// A name that somebody else may have chosen: without control characters, and not too long.
pub(crate) fn cut(name: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = name.chars().map(plain).take(MAX_NAME).collect();
    if name.chars().nth(MAX_NAME).is_some() {
        shown.push('…');
    }
    shown
}

/// An id, by its last characters: those differ.
pub(crate) fn short(id: &str) -> String {
    let count = id.chars().count();
    let end: String = id.chars().skip(count.saturating_sub(8)).collect();
    format!("…{end}")
}

/// Bytes, rounded.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Seconds, in their two largest units.
pub(crate) fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_names_are_cut() {
        assert_eq!(
            [0, 1023, 1536, 5 << 30].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
        );
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(
            [59, 60, 3_661, 90_000].map(age),
            ["59 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
        assert_eq!(cut("a\u{7}b"), "a\u{fffd}b");
        assert_eq!(cut(&"x".repeat(90)).chars().count(), MAX_NAME + 1);
        assert_eq!(
            (short("12D3KooWabcdefgh"), short("ab")),
            ("…abcdefgh".into(), "…ab".into())
        );
    }
}
