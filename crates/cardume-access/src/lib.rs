//! Who may do what, and how fast: peers, groups, rules and rates, as data.
//!
//! Peers and groups are named once, in the configuration, and everything else speaks of them by name:
//! `allow = ["nas", "group:web"]`. This crate turns those words into answers. It deliberately reads no
//! files, knows no clock and enforces nothing: whoever serves a request asks [`Rules::allows`].
//!
//! # Invariants
//!
//! * **A word means one thing or is an error.** A misspelt name never becomes a rule that lets nobody in,
//!   or everybody.
//! * **No words allow nobody.** What no rule at all means is for the caller to say, with an `Option`.

mod names;
pub mod rates;
mod rules;

pub use self::{
    names::{NameError, Names},
    rules::{Rule, Rules, WordError},
};
