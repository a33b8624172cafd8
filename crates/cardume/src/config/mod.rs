//! The configuration: found, read strictly, merged, checked. Nothing here ever writes a file.
mod chain;
mod check;
mod given;
mod layer;
mod locate;
mod mistake;
mod parse;
mod wording;

pub(crate) use self::{
    chain::{Chain, Given, VENDOR_DIR, load},
    locate::Environment,
    mistake::{MAX_MISTAKES, Mistake, Mistakes, Place},
};

/// A commented file with every key at its default.
pub(crate) const EXAMPLE: &str = include_str!("../../../../config/cardume.toml");

#[cfg(test)]
mod tests;
