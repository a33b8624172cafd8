//! Everything the swarm runs, in one struct.
//!
//! A new networking feature is one field here, and its `Config::build` in [`crate::wiring`].

use libp2p::swarm::{NetworkBehaviour, behaviour::toggle::Toggle};

/// The behaviours of one node; those that configuration switches off are absent.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First: what it denies, the others never see.
    pub(crate) connect: cardume_connect::Behaviour,
    /// In a network with certificates.
    pub(crate) membership: Toggle<cardume_membership::Behaviour>,
    pub(crate) mdns: Toggle<cardume_mdns::Behaviour>,
    pub(crate) nat: cardume_nat::Behaviour,
    pub(crate) rendezvous: Toggle<cardume_rendezvous::Behaviour>,
    pub(crate) kad: Toggle<cardume_kad::Behaviour>,
    pub(crate) gossipsub: Toggle<cardume_gossipsub::Behaviour>,
    pub(crate) transfer: cardume_transfer::Behaviour,
    pub(crate) tunnel: cardume_tunnel::Behaviour,
}
