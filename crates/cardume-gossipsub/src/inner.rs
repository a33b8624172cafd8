//! The behaviours inside this one.
use libp2p_gossipsub as gossipsub;
use libp2p_swarm::NetworkBehaviour;

use crate::mesh::Mesh;

/// The mesh, and streams for what has been said.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude", to_swarm = "Told")]
pub struct Inner {
    pub(crate) mesh: Mesh,
    pub(crate) streams: libp2p_stream::Behaviour,
}

/// What the one of them that talks has to say.
#[derive(Debug)]
pub struct Told(pub(crate) gossipsub::Event);

impl From<gossipsub::Event> for Told {
    fn from(event: gossipsub::Event) -> Self {
        Self(event)
    }
}

impl From<()> for Told {
    fn from((): ()) -> Self {
        unreachable!("streams are handed out by their control, never as events")
    }
}
