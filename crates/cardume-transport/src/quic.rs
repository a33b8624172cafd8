//! QUIC as libp2p speaks it (`/quic-v1`), on the `quinn` crate.
//!
//! <https://github.com/libp2p/specs/blob/master/quic/README.md>
//!
//! libp2p's own transport keeps its TLS configuration to itself, and with it the choice of the cipher; this one
//! shares that of TCP. Its packets are as large as the path takes: on loopback and on private networks they may be
//! larger than Ethernet's.
mod address;
mod configs;
mod connection;
mod handshake;
mod listener;
mod punch;
mod socket;
mod stream;
mod transport;

use std::{io, net::SocketAddr};

use libp2p_core::{Transport as _, muxing::StreamMuxerBox, transport::Boxed};
use libp2p_identity::{Keypair, PeerId};

use self::{configs::Configs, transport::Transport};
use crate::{counted::Counting, screened::Screen, tls};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error(transparent)]
    Handshake(#[from] tls::HandshakeError),
    #[error("expected {expected}, and {found} answered")]
    OtherPeer {
        expected: Box<PeerId>,
        found: Box<PeerId>,
    },
    #[error("no listener of this node can wait for the peer")]
    NoListener,
    #[error("already waiting for a connection from {0}")]
    AlreadyWaiting(SocketAddr),
    #[error("the listener is gone while it was waited for a peer")]
    ListenerGone,
}

/// Makes the transport of the node whose key is `key`.
pub(crate) fn build(
    key: &Keypair,
    counting: &Counting,
    screen: Option<Screen>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, tls::KeyError> {
    let transport = Transport::new(Configs::new(key)?, screen);
    let counting = counting.clone();
    Ok(transport
        .map(move |(peer, connection), point| (peer, counting.count(peer, &point, connection)))
        .boxed())
}
