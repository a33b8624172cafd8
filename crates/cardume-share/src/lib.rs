//! Files and directories that configuration shares, kept as they are on the disk.
//!
//! Each is taken in at the start, watched, and taken in again when it has changed and come to rest: what has not
//! changed is not read again, what was only moved is not hashed again. Knows no peers and no DHT: whoever builds it
//! hands in a function that is told which roots are announced and which no more.
//!
//! # Invariants
//!
//! * A change that the kernel does not tell of is found by the next rescan.
//! * A directory is watched before it is listed, so nothing happens between the two unseen.
//! * What has an `allow` list is nobody's before it is below a root that has it.
//! * The old root stays until the new one is durable.
//! * Memory grows with the number of directories, never with that of files or changes.
mod config;
mod follow;
mod known;
mod server;
mod state;
mod tree;

pub use self::{
    config::Config,
    server::{Server, Tell, renew},
    state::{Handle, Phase, State},
};
