//! What a handle asks for.
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use tokio::sync::oneshot;

use crate::{Addresses, ConnectError, PeerInfo, settings::Settings};

type To<T> = oneshot::Sender<T>;

/// One call of a handle, with the way back.
#[derive(Debug)]
pub enum Command {
    Connect {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: To<Result<(), ConnectError>>,
    },
    Dial {
        address: Multiaddr,
        reply: To<Result<PeerId, ConnectError>>,
    },
    Disconnect {
        peer: PeerId,
        reply: To<bool>,
    },
    Block {
        peer: PeerId,
        reply: To<()>,
    },
    Unblock {
        peer: PeerId,
        reply: To<()>,
    },
    Configure {
        settings: Box<Settings>,
        reply: To<()>,
    },
    Peers(To<Vec<PeerInfo>>),
    Addresses(To<Addresses>),
    AddressesOf {
        peer: PeerId,
        reply: To<Vec<Multiaddr>>,
    },
}

impl cardume_behaviour::Command for Command {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Connect { reply, .. } => reply.is_closed(),
            Self::Dial { reply, .. } => reply.is_closed(),
            Self::Peers(reply) => reply.is_closed(),
            Self::Addresses(reply) => reply.is_closed(),
            Self::AddressesOf { reply, .. } => reply.is_closed(),
            // These change something, and are done even if nobody waits to hear so.
            Self::Disconnect { .. } | Self::Block { .. } | Self::Unblock { .. } | Self::Configure { .. } => {
                false
            }
        }
    }
}
