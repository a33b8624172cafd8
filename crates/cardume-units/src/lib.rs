//! Quantities as people write them: `"30s"`, `"4MiB"`, `"20MB/s"`.
//!
//! Strings in TOML and JSON; never bare numbers, so that a unit is never guessed. Does not know what a
//! quantity is for, nor which values make sense there.
//!
//! # Invariants
//!
//! * What is displayed parses to the same quantity, exactly.
//! * A value that cannot be held exactly is refused, never rounded.

mod duration;
mod number;
mod size;

pub use self::{
    duration::Duration,
    size::{Limit, Rate, Size},
};

/// Why a text is no quantity: what is wrong with it, and how it could be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseUnitError(String);

/// Serializes a quantity as its text, and takes nothing but a text.
macro_rules! as_text {
    ($name:ident, $pattern:literal, [$($example:literal),+]) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(crate::TextVisitor::new(&[$($example),+]))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "examples": [$($example),+],
                })
            }
        }
    };
}
use as_text;

/// Takes a text and parses it; for a number says that a unit is missing.
struct TextVisitor<T> {
    examples: &'static [&'static str],
    quantity: std::marker::PhantomData<T>,
}

impl<T> TextVisitor<T> {
    fn new(examples: &'static [&'static str]) -> Self {
        Self {
            examples,
            quantity: std::marker::PhantomData,
        }
    }

    fn bare<E: serde::de::Error>(&self, number: impl std::fmt::Display) -> E {
        let examples = self
            .examples
            .iter()
            .map(|example| format!("{example:?}"))
            .collect::<Vec<_>>();
        E::custom(format!(
            "{number} has no unit; write a text such as {}",
            examples.join(" or ")
        ))
    }
}

impl<T: std::str::FromStr<Err = ParseUnitError>> serde::de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a text with a unit, such as {:?}", self.examples[0])
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        Err(self.bare(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        Err(self.bare(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        Err(self.bare(number))
    }
}
