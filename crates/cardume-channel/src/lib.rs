//! Signed names that point at content and move.
//!
//! A channel is an Ed25519 key. Its [`Record`]s, numbered and signed, say what content is at it now; they go through
//! the DHT and over a topic, and whoever follows the channel keeps the newest and passes it on. `docs/protocols/channel.md` is the
//! wire's page. It deliberately fetches no content: [`versions`] lays out on the disk what somebody else has got.
//!
//! # Invariants
//!
//! * Nothing is believed, kept or passed on that the channel's key has not signed.
//! * The newest record known never becomes an older one: not by a peer, a restart or a kill.
//! * A record is on the disk before anybody is told of it, so no number is ever signed twice for two contents.
//! * The link to a version always leads to one that is complete.

mod config;
mod counts;
mod gossip;
mod handle;
mod id;
mod judge;
mod keys;
mod record;
mod server;
mod shelf;
mod table;
pub mod update;
pub mod versions;

pub use self::{
    config::{BuildError, Follow, Mode, Publish, build, share_name},
    counts::{Counts, Refused},
    gossip::topic,
    handle::{Channel, ChannelError, Handle},
    id::{Id, ParseIdError},
    judge::{Judge, record_key},
    keys::{KeyFiles, check_name},
    record::{Body, MAX_NOTE, MAX_RECORD, NoteError, Record, RecordError, check_note},
    server::Server,
};

/// Seconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
