//! Reachability: whether others can dial this node, and ways to it when they can't.
//!
//! Asks peers to dial back (AutoNAT v2), keeps places at the relays that configuration names (Circuit Relay v2),
//! turns relayed connections into direct ones (DCUtR), has a router open ports (UPnP), and, where configuration says
//! so, does for others what relays and AutoNAT servers do. It deliberately looks for no relays by itself, and moves
//! no content: how much goes over a relay is for those to say who send it.
//!
//! # Invariants
//!
//! * Nobody is contacted but relays and gateways that configuration names or switches on, relays in addresses that
//!   somebody else dials, and peers that are connected anyway, to have an address tested again.
//! * When a direct connection with a peer opens, the relayed ones it replaces are closed: nothing is sent there any
//!   more.
//! * A relay is asked again with back-off, at most a minute apart: a place lost with the network is back soon after.
//! * Whoever is not on `relay_limits.allow` keeps no place here and connects to nobody through here.
//! * As an AutoNAT server, this node dials an address only if the peer that asks comes from the same IP address.
//! * A relay tells those who keep places at it only the addresses that reach farthest, never those of its own
//!   networks beside a public one.

mod checker;
mod config;
mod driver;
mod handle;
mod inner;
mod paths;
mod places;
mod prober;
mod shown;

pub use libp2p_relay::client::Transport;

pub use self::{
    config::{BuildError, Config, RelayLimits},
    handle::{Handle, Place, PlaceState, Reachability, Status, Tested, Upnp},
};

/// The behaviour of this feature, for the node's swarm.
pub type Behaviour = cardume_behaviour::Driven<driver::Nat>;
