//! The store against a real disk.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::print_stderr, reason = "a test that cannot run says so")]
mod fetch;
mod guard;
mod import;
mod keep;
mod link;
mod repair;
mod room;
mod stand;
mod stress;
