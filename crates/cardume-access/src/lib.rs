//! Who may do what, and how fast: peers, groups, rules and rates, as data.
//!
//! Peers and groups are named once, in the configuration, and everything else speaks of them by name:
//! `allow = ["nas", "group:web"]`. This crate turns those words into answers. It deliberately reads no
//! files, knows no clock and enforces nothing: whoever serves a request asks [`Roll::admits`].
//!
//! # Invariants
//!
//! * **A word means one thing or is an error.** A misspelt name never becomes a rule that lets nobody in,
//!   or everybody. Where certificates put peers into groups too, a group that configuration does not know is taken
//!   as written, since nobody can know it yet.
//! * **No words allow nobody.** What no rule at all means is for the caller to say, with an `Option`.

mod denials;
mod list;
mod names;
pub mod rates;
mod roll;
mod rules;

pub use self::{
    denials::Action,
    list::List,
    names::{NameError, Names},
    roll::Roll,
    rules::{Rule, Rules, WordError},
};
