//! The store against a real disk.
mod fetch;
mod import;
mod keep;
mod stand;
