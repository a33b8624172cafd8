//! Decimal numbers with a unit, held exactly.

/// Most digits on each side of the point: `u64::MAX` has as many, and 10²⁰ times any unit fits a `u128`.
const MAX_DIGITS: usize = 20;

/// An unsigned decimal number: `digits / 10^scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal {
    digits: u128,
    scale: u32,
}

impl Decimal {
    /// Takes a number off the front of `text`; gives it and the rest.
    pub(crate) fn take(text: &str) -> Option<(Self, &str)> {
        let (whole, rest) = take_digits(text)?;
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => take_digits(rest)?,
            None => ("", rest),
        };
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some((
            Self {
                digits,
                scale: fraction.len() as u32,
            },
            rest,
        ))
    }

    /// The number times `unit`, when that is a whole number.
    pub(crate) fn times(self, unit: u64) -> Option<u128> {
        let product = self.digits.checked_mul(unit.into())?;
        let divisor = 10_u128.pow(self.scale);
        product.is_multiple_of(divisor).then_some(product / divisor)
    }
}

fn take_digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (1..=MAX_DIGITS).contains(&end).then(|| text.split_at(end))
}

/// Takes the unit off the front of `text`, after spaces: letters, and whatever else is in `more`.
pub(crate) fn take_unit<'a>(text: &'a str, more: &[char]) -> (&'a str, &'a str) {
    let text = text.trim_start_matches(' ');
    let end = text
        .find(|c: char| !c.is_alphabetic() && !more.contains(&c))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Cuts a text that is shown in an error.
pub(crate) fn cut(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(MOST).collect::<String>())
}
