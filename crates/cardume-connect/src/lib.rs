//! Who a node is connected to.
//!
//! Dials and keeps peers, limits who may connect, tells peers what they may know of us, and remembers
//! where peers were, across restarts. It deliberately finds nobody (mDNS and kad do), moves no content,
//! and listens nowhere by itself: the node opens the listeners.
//!
//! # Invariants
//!
//! * A peer at a public address never learns an address of our private networks or of this host, and
//!   is never believed when it tells one.
//! * Whatever peers do, memory is bounded: connections by the limits, the address book by 4,096 peers
//!   with 8 addresses each, strings by 128 bytes.
//! * Peers that configuration names find room even when strangers fill every limit.
//! * The address book on disk is whole at any moment, and a damaged one never stops a node. A damaged list of
//!   blocked peers does: without it they would get in.
//! * Nothing is dialled in a loop: each failure makes the next wait longer, up to five minutes.

mod address;
mod announce;
mod blocked;
mod book;
mod config;
mod driver;
mod failure;
mod handle;
mod identify;
mod keep;
mod limits;
mod memory;
mod orders;
mod pending;
mod ping;
mod replace;
mod server;
mod settings;
mod spans;
mod text;

pub use self::{
    blocked::BlockError,
    config::{BuildError, Config, Peer},
    handle::{Addresses, ConfigureError, ConnectError, Handle, Observed, Path, PeerEvent, PeerInfo},
    server::Server,
};

/// The behaviour of this feature, for the node's swarm.
pub type Behaviour = cardume_behaviour::Driven<driver::Driver>;
