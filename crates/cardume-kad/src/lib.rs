//! Providers and records in the distributed hash table.
//!
//! A libp2p Kademlia DHT under a protocol id of its own, so that two networks never mix. It answers
//! "who has this CID", "where is this peer" and "what value has this key", and tells others what we have.
//! It deliberately does not fetch content, believe what it is told (a provider is a hint, proven by the
//! bytes it sends), or keep the peers it meets connected. `docs/protocols/kad.md` is the wire's page.
//!
//! # Invariants
//!
//! * **Ours are ours.** What this node provides or has put is kept apart from what others store here; no
//!   remote peer can displace, block or overwrite it.
//! * **Everything of others is bounded**: records, providers, their addresses, what one source may hold, and
//!   for how long.
//! * **The swarm task never touches the disk.** Rows are written behind by [`Server::run`]; a row lost on
//!   the way costs a lookup its answer, never a wrong one.
//! * **A value that is judged is true**: it is neither kept nor handed out before its [`Judge`] has said so, and an
//!   older one never takes the place of a newer one.
//! * **A routing table is hard to own**: public addresses are admitted at most three to a subnet.

mod address;
mod announce;
mod command;
mod config;
mod disk;
mod driver;
mod found;
mod handle;
mod inner;
mod journal;
mod judge;
mod ledger;
mod lookups;
mod reach;
mod records;
mod routing;
mod tell;

pub use self::{
    config::{BuildError, Config, Mode},
    disk::LoadError,
    handle::{Handle, KadError, Provider, Status},
    journal::Server,
    judge::{Judge, Nothing},
};

/// What the node's swarm carries: the DHT behind its mailbox.
pub type Behaviour = cardume_behaviour::Driven<driver::Kad>;

/// What the node's loop is told: nothing.
pub type Event = std::convert::Infallible;
