//! Peers on the local network, found by multicast DNS.
//!
//! Finds peers, tells the other behaviours where they are, and connects to them. It deliberately trusts
//! nobody: what anyone on the link shouts is bounded, filtered, and proven by the handshake only. There
//! is no handle, since nothing is ever asked of it.
//!
//! # Invariants
//!
//! * At most `max_peers` peers with 8 addresses each are kept, whatever is announced and with whatever
//!   lifetime; newcomers are ignored when the room is taken.
//! * Only addresses of private networks and on-link ones, in the /24 (IPv4) or /64 (IPv6) of a listen
//!   address, are believed, so that nobody on the link can make nodes dial the world.
//! * At most four dials start in a second, and each failure makes the next wait longer.
//! * An interface whose socket fails costs that interface only.

mod address;
mod config;
mod finder;
mod neighbours;

pub use self::{config::Config, finder::Event};

/// The behaviour of this feature, for the node's swarm.
pub type Behaviour = cardume_behaviour::Onlooking<finder::Finder>;
