//! The way in for the rest of the node.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cardume_behaviour::{Closed, Mailbox};
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::broadcast;

use crate::{
    BuildError, Config, Peer,
    blocked::{BlockError, Blocked},
    driver::Command,
    spans,
};

/// Asks who is connected, and changes it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    local: PeerId,
    mailbox: Mailbox<Command>,
    events: broadcast::Sender<PeerEvent>,
    blocked: Arc<Blocked>,
    streams: libp2p_stream::Control,
}

impl Handle {
    pub(crate) fn new(
        local: PeerId,
        mailbox: Mailbox<Command>,
        events: broadcast::Sender<PeerEvent>,
        blocked: Arc<Blocked>,
        streams: libp2p_stream::Control,
    ) -> Self {
        Self {
            local,
            mailbox,
            events,
            blocked,
            streams,
        }
    }

    /// Connects to `peer` at `addresses` and those already known; at once if connected.
    ///
    /// Callers that want the same peer at the same addresses share one dial.
    ///
    /// # Errors
    /// When no address is known, nobody answers, or the connection is not allowed.
    ///
    /// # Cancel safety
    /// Dropping it forgets the caller; the dial goes on to its end.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), ConnectError> {
        let command = |reply| Command::Connect {
            peer,
            addresses,
            reply,
        };
        spans::dialled(spans::to_peer(&peer), async { self.mailbox.call(command).await? }).await
    }

    /// Dials an address whose peer may be unknown; returns who answered.
    ///
    /// # Errors
    /// When nobody answers, another peer than the one named in the address does, or the connection is
    /// not allowed.
    ///
    /// # Cancel safety
    /// Dropping it forgets the caller; the dial goes on to its end.
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, ConnectError> {
        if let Some(Protocol::P2p(peer)) = address.iter().last() {
            return self.connect(peer, vec![address]).await.map(|()| peer);
        }
        let span = spans::to_address(&address);
        let command = |reply| Command::Dial { address, reply };
        spans::dialled(span, async { self.mailbox.call(command).await? }).await
    }

    /// Takes over limits, bootstrap peers and the peers that configuration names. Connections there are stay, those above
    /// a new limit too; peers to be kept or joined at are dialled at once. What else is in `config` waits for a restart.
    ///
    /// # Errors
    /// When an address contradicts itself; nothing has changed then. When the node is stopping.
    ///
    /// # Cancel safety
    /// It may be taken over or not.
    pub async fn configure(
        &self,
        config: &Config,
        peers: &BTreeMap<String, Peer>,
    ) -> Result<(), ConfigureError> {
        let settings = Box::new(config.settings(self.local, peers)?);
        let taken = self.mailbox.call(|reply| Command::Configure { settings, reply });
        Ok(taken.await?)
    }

    /// Closes all connections with `peer`; whether there was one. A kept peer is dialled again.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn disconnect(&self, peer: PeerId) -> Result<bool, Closed> {
        self.mailbox
            .call(|reply| Command::Disconnect { peer, reply })
            .await
    }

    /// Refuses a peer from now on, after a restart too: cuts it off and denies its connections. Whether it was not
    /// blocked before.
    ///
    /// # Errors
    /// When the node is stopping, too many are blocked, or the list of them cannot be written.
    ///
    /// # Cancel safety
    /// Dropping it may leave the peer blocked until restart only, or not blocked at all.
    pub async fn block(&self, peer: PeerId) -> Result<bool, BlockError> {
        if !self.blocked.has_room_for(&peer) {
            return Err(BlockError::Full);
        }
        // First of all it is cut off; the disk may take its time.
        self.mailbox.call(|reply| Command::Block { peer, reply }).await?;
        self.blocked.clone().change(peer, true).await
    }

    /// Refuses a peer until restart: cuts it off and denies its connections.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn refuse(&self, peer: PeerId) -> Result<(), Closed> {
        self.blocked.refuse(peer);
        self.mailbox.call(|reply| Command::Block { peer, reply }).await
    }

    /// Takes back [`block`](Self::block) and [`refuse`](Self::refuse); whether the peer was blocked or refused.
    ///
    /// # Errors
    /// When the node is stopping, or the list cannot be written.
    ///
    /// # Cancel safety
    /// Dropping it may leave the peer unblocked from the next restart on only.
    pub async fn unblock(&self, peer: PeerId) -> Result<bool, BlockError> {
        let was_refused = self.blocked.forgive(&peer);
        let was_blocked = self.blocked.clone().change(peer, false).await?;
        self.mailbox
            .call(|reply| Command::Unblock { peer, reply })
            .await?;
        Ok(was_blocked || was_refused)
    }

    /// The peers that are blocked, in the order of their ids.
    pub fn blocked(&self) -> Vec<PeerId> {
        self.blocked.all().into_iter().collect()
    }

    /// The peers that are refused until restart, in the order of their ids.
    pub fn refused(&self) -> Vec<PeerId> {
        self.blocked.refused().into_iter().collect()
    }

    /// Whether a peer is blocked or refused.
    pub fn is_blocked(&self, peer: &PeerId) -> bool {
        self.blocked.has(peer)
    }

    /// Asks a peer for an answer, and tells how long it took; connects first, if need be.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect), and when no right answer comes within ten seconds.
    ///
    /// # Cancel safety
    /// Dropping it forgets the caller.
    pub async fn ping(&self, peer: PeerId) -> Result<Duration, ConnectError> {
        self.connect(peer, Vec::new()).await?;
        crate::ping::once(self.streams.clone(), peer)
            .await
            .map_err(ConnectError::Failed)
    }

    /// The peers that are connected.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Closed> {
        self.mailbox.call(Command::Peers).await
    }

    /// Our own addresses.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn addresses(&self) -> Result<Addresses, Closed> {
        self.mailbox.call(Command::Addresses).await
    }

    /// Known addresses of a peer, best first.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn addresses_of(&self, peer: PeerId) -> Result<Vec<Multiaddr>, Closed> {
        self.mailbox
            .call(|reply| Command::AddressesOf { peer, reply })
            .await
    }

    /// Peers as they connect and disconnect; a slow reader is told it lagged.
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }
}

/// Why a running node does not take a configuration over.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// It cannot work.
    #[error(transparent)]
    Mistake(#[from] BuildError),
    /// The node is stopping.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who it is.
    pub peer: PeerId,
    /// Where its best connection leads: the oldest of the most direct ones.
    pub address: Multiaddr,
    /// How that one gets there.
    pub path: Path,
    /// Whether we dialled it.
    pub outbound: bool,
    /// What it calls its program: escaped, and cut at 128 bytes.
    pub agent: Option<String>,
    /// The protocols it speaks: escaped, and each cut at 128 bytes.
    pub protocols: Vec<String>,
    /// The last time a ping took, there and back.
    pub rtt: Option<Duration>,
    /// Connections with it.
    pub connections: u32,
    /// Age of the oldest one.
    pub connected_for: Duration,
}

/// How a connection gets to its peer; the order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Straight.
    Direct,
    /// Straight, since a connection through a relay was there to arrange it.
    Punched,
    /// Through a relay.
    Relayed,
}

/// Our own addresses.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Where we listen.
    pub listen: Vec<Multiaddr>,
    /// Where others can reach us, as far as we know.
    pub external: Vec<Multiaddr>,
    /// Where connected peers on other networks see the socket that we have dialled them from.
    pub observed: Vec<Observed>,
}

/// Where one peer sees us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The address that it sees.
    pub address: Multiaddr,
    /// Who sees it.
    pub by: PeerId,
}

/// What became of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// Its first connection is there.
    Connected(PeerId),
    /// It said what it is; again whenever that changes.
    Identified {
        /// Who it is.
        peer: PeerId,
        /// What it calls its program: escaped, and cut at 128 bytes.
        agent: String,
        /// The protocols it speaks: escaped, and each cut at 128 bytes.
        protocols: Vec<String>,
    },
    /// Its best connection goes another way than before.
    Rerouted {
        /// Who it is.
        peer: PeerId,
        /// How that one gets there.
        path: Path,
    },
    /// Its last connection is gone.
    Disconnected(PeerId),
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The node is stopping.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// There is nowhere to dial.
    #[error("no address of {0} is known; give one, as in /ip4/192.0.2.1/tcp/4011/p2p/{0}")]
    NoAddress(PeerId),
    /// Each address and what went wrong there.
    #[error("nobody answered: {0}")]
    Failed(String),
    /// Somebody answered and hung up before it was known who: the peer has no room, or does not want us.
    #[error("hung up on: {0}; the peer may be busy, try again")]
    TurnedAway(String),
    /// A limit or a block stands against it.
    #[error("refused: {0}")]
    Denied(String),
    /// The address belongs to somebody else now.
    #[error("another peer answered: {found}; if that is the one you meant, use its id")]
    WrongPeer {
        /// Who answered.
        found: PeerId,
    },
}
