//! Amounts of bytes, and bytes a second.
use std::{fmt, str::FromStr};

use crate::{
    ParseUnitError, as_text,
    number::{Decimal, cut, take_unit},
};

/// Units that can be written; of two that give the same number the earlier one is displayed.
const UNITS: [(&str, u64); 13] = [
    ("EiB", 1 << 60),
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("EB", 1_000_000_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// An amount of bytes, such as `4MiB`, `20MB` or `512B`.
///
/// Units of 1024 are `KiB`, `MiB`, `GiB`, `TiB`, `PiB`, `EiB`; units of 1000 are `kB`, `MB`, `GB`, `TB`,
/// `PB`, `EB`. Fractions are allowed where they come to whole bytes (`1.5GiB`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Bytes a second, such as `20MB/s`. Units as for [`Size`]; bits may be written too, as `kbit/s`, `Mbit/s` and
/// `Gbit/s`, which are 125, 125,000 and 125,000,000 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

/// A [`Rate`] that is not to be exceeded, or `unlimited`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Limit(pub Option<Rate>);

as_text!(
    Size,
    r"^\s*[0-9]+(\.[0-9]+)?\s*(B|[kKMGTPE]B|[KMGTPE]iB)\s*$",
    ["4MiB", "20MB", "1GiB"]
);
as_text!(
    Rate,
    r"^\s*[0-9]+(\.[0-9]+)?\s*(B|[kKMGTPE]B|[KMGTPE]iB|[kMG]bit)/s\s*$",
    ["20MB/s", "512KiB/s", "100Mbit/s"]
);
as_text!(
    Limit,
    r"^\s*(unlimited|[0-9]+(\.[0-9]+)?\s*(B|[kKMGTPE]B|[KMGTPE]iB|[kMG]bit)/s)\s*$",
    ["20MB/s", "100Mbit/s", "unlimited"]
);

/// Units of bits, in bytes.
const BITS: [(&str, u64); 3] = [("Gbit", 125_000_000), ("Mbit", 125_000), ("kbit", 125)];

impl Size {
    /// Makes `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// Makes `n` KiB (1024 bytes).
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// Makes `n` MiB (1024² bytes).
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Makes `n` GiB (1024³ bytes).
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// Returns the number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Rate {
    /// Makes `n` bytes a second.
    pub const fn bytes_per_sec(n: u64) -> Self {
        Self(n)
    }

    /// Makes `n` MB (1000² bytes) a second.
    pub const fn mb_per_sec(n: u64) -> Self {
        Self(n * 1_000_000)
    }

    /// Returns the number of bytes a second.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

impl FromStr for Size {
    type Err = ParseUnitError;

    fn from_str(s: &str) -> Result<Self, ParseUnitError> {
        parse(s, "").map(Self).map_err(|reason| {
            ParseUnitError(format!(
                "{} is no size: {reason}; write it like \"4MiB\", \"20MB\" or \"1GiB\"",
                cut(s)
            ))
        })
    }
}

impl FromStr for Rate {
    type Err = ParseUnitError;

    fn from_str(s: &str) -> Result<Self, ParseUnitError> {
        parse(s, "/s").map(Self).map_err(|reason| {
            ParseUnitError(format!(
                "{} is no rate: {reason}; write it like \"20MB/s\", \"512KiB/s\" or \"100Mbit/s\"",
                cut(s)
            ))
        })
    }
}

impl FromStr for Limit {
    type Err = ParseUnitError;

    fn from_str(s: &str) -> Result<Self, ParseUnitError> {
        if s.trim() == UNLIMITED {
            return Ok(Self(None));
        }
        s.parse()
            .map(|rate| Self(Some(rate)))
            .map_err(|ParseUnitError(reason)| ParseUnitError(reason + ", or \"unlimited\""))
    }
}

const UNLIMITED: &str = "unlimited";

/// Parses a number with a unit of bytes and `suffix` after it.
fn parse(text: &str, suffix: &str) -> Result<u64, String> {
    let Some((number, rest)) = Decimal::take(text.trim()) else {
        return Err("it does not begin with a number".to_owned());
    };
    let (unit, rest) = take_unit(rest, &['/']);
    if !rest.is_empty() {
        return Err(format!("{} has no place after it", cut(rest)));
    }
    let bytes = match unit.strip_suffix(suffix) {
        Some("KB") => 1_000,
        Some(name) => {
            let bits = if suffix.is_empty() {
                [].as_slice()
            } else {
                BITS.as_slice()
            };
            match UNITS.iter().chain(bits).find(|(known, _)| *known == name) {
                Some((_, bytes)) => *bytes,
                None => return Err(wrong_unit(name)),
            }
        }
        None => return Err(format!("{suffix:?} is missing at the end")),
    };
    let product = number.times(bytes).ok_or("it is not a whole number of bytes")?;
    u64::try_from(product).map_err(|_| "it is too large".to_owned())
}

fn wrong_unit(name: &str) -> String {
    if name.is_empty() {
        return "a unit is missing".to_owned();
    }
    let near = UNITS.iter().find(|(known, _)| {
        known.eq_ignore_ascii_case(name)
            || known
                .strip_suffix('B')
                .is_some_and(|k| k.eq_ignore_ascii_case(name))
    });
    match near {
        Some((known, _)) => format!("the unit {} is unknown, {known:?} may be meant", cut(name)),
        None => format!("the unit {} is unknown", cut(name)),
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = shortest(self.0);
        f.pad(&format!("{number}{unit}"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.pad(UNLIMITED),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = shortest(self.0);
        f.pad(&format!("{number}{unit}/s"))
    }
}

/// The unit that gives the smallest whole number, and that number.
fn shortest(bytes: u64) -> (u64, &'static str) {
    UNITS
        .iter()
        .filter(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit))
        .map(|(name, unit)| (bytes / unit, *name))
        .min_by_key(|(number, _)| *number)
        .unwrap_or((bytes, "B"))
}
