//! Quantities as people write them: `"30s"`, `"4MiB"`, `"20MB/s"`.
//!
//! Strings in TOML and JSON; never bare numbers, so that a unit is never guessed.
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseUnitError(String);

macro_rules! quantity { ($name:ident, $inner:ty) => {
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct $name(pub $inner);
    impl FromStr for $name { type Err = ParseUnitError; fn from_str(_s: &str) -> Result<Self, ParseUnitError> { todo!() } }
    impl fmt::Display for $name { fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
    impl serde::Serialize for $name { fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) } }
    impl<'de> serde::Deserialize<'de> for $name { fn deserialize<D: serde::Deserializer<'de>>(_d: D) -> Result<Self, D::Error> { todo!() } }
    impl schemars::JsonSchema for $name {
        fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
        fn json_schema(_g: &mut schemars::SchemaGenerator) -> schemars::Schema { schemars::json_schema!({"type": "string"}) }
    }
} }
quantity!(Duration, std::time::Duration);
quantity!(Size, u64);
quantity!(Rate, u64);
impl Duration {
    pub const fn from_secs(s: u64) -> Self {
        Self(std::time::Duration::from_secs(s))
    }
    pub const fn from_millis(s: u64) -> Self {
        Self(std::time::Duration::from_millis(s))
    }
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}
impl Size {
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }
    pub const fn get(self) -> u64 {
        self.0
    }
}
