//! Rendezvous points: where peers of a network register, and find each other.
//!
//! A node registers at the points that configuration names, asks them who else is there, and connects to some of those;
//! and it is a point for others where configuration says so. Speaks libp2p's rendezvous protocol, version 1. It
//! deliberately believes no point: what it says of a peer is signed by that peer, and only where to dial; who answers
//! there proves itself in the handshake.
//!
//! # Invariants
//!
//! * Nobody is contacted but the points that configuration names, and peers that those name.
//! * A point is told only addresses that reach as far as it is away, and believed only those.
//! * However many peers a point names, dials are few at once, spaced, and end at `max_connections`.
//! * As a point, this node keeps so many registrations and no more: in all, of each peer, and of each range of
//!   addresses; a peer that registers anew replaces what it has said before.
//! * Whatever a point or a peer answers, no message is kept that is longer than the protocol needs.

mod config;
mod driver;
mod found;
mod handle;
mod inner;
mod points;
mod reach;
mod registry;
mod wire;

pub use self::{
    config::{BuildError, Config, Limits},
    handle::{Handle, Point, PointState, Status},
};

/// The behaviour of this feature, for the node's swarm.
pub type Behaviour = cardume_behaviour::Driven<driver::Rendezvous>;
