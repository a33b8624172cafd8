//! QUIC, and TCP under TLS 1.3 or Noise with yamux: tuned, and readable for every libp2p peer.
//!
//! It deliberately builds no swarm, chooses no peer and limits no connections. What it tunes is what two nodes
//! may choose freely within the libp2p specifications: which cipher, how large a frame, when to flush.
//!
//! # Invariants
//!
//! * Every byte on the wire is libp2p's: a peer with the stock stack notices nothing but the speed.
//! * What a peer can make us hold is bounded for each connection: substreams, unread bytes, buffers.
//! * Keys of a session never leave the process: `SSLKEYLOGFILE` is not honoured.
mod buffered;
mod dns;
mod quic;
mod relayed;
mod security;
mod tcp;
mod tls;
mod watched;
mod yamux;

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{
    muxing::StreamMuxerBox,
    transport::{Boxed, Transport as _, timeout::TransportTimeout},
};
use libp2p_identity::{Keypair, PeerId};

pub use self::{security::BuildError, tls::warm_up};

/// Substreams that one connection may have open, both ways together.
///
/// Each has 256 KiB of unread credit from the start, so this is what bounds the memory that a peer can make
/// us hold by sending to streams that nobody reads. The protocols of a node use up to 110.
pub(crate) const MAX_STREAMS: usize = 192;

/// Every transport of a node: what comes out is authenticated and multiplexed.
pub type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// Within what time a connection has to be through all its handshakes; else it is closed.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For connections that we make, from the first packet on.
    pub dial: Duration,
    /// For connections that others make, each of which holds one of few places until then.
    pub accept: Duration,
}

/// Makes the transports of the node whose key is `key`; needs a tokio runtime where it is polled.
///
/// # Errors
/// When `key` signs no certificate.
pub fn build(key: &Keypair, timeouts: Timeouts) -> Result<Transport, BuildError> {
    Ok(limit(direct(key)?, timeouts))
}

/// Makes the same transports, and one more that goes through relays: `relays` gives streams to a peer through
/// another one, which are secured and multiplexed like those over TCP.
///
/// # Errors
/// When `key` signs no certificate.
pub fn build_with_relays<R>(key: &Keypair, timeouts: Timeouts, relays: R) -> Result<Transport, BuildError>
where
    R: libp2p_core::Transport + Send + Unpin + 'static,
    R::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R::Error: Send + Sync,
    R::Dial: Send,
    R::ListenerUpgrade: Send,
{
    // First, and above the names: the way to the relay itself is dialled apart.
    let either = relayed::build(key, relays)?
        .or_transport(direct(key)?)
        .map(|either, _| either.into_inner());
    Ok(limit(either.boxed(), timeouts))
}

fn direct(key: &Keypair) -> Result<Transport, BuildError> {
    let streams = tcp::build(key)?
        .or_transport(quic::build(key)?)
        .map(|either, _| either.into_inner());
    Ok(dns::build(streams).boxed())
}

fn limit(transport: Transport, timeouts: Timeouts) -> Transport {
    let dialling = TransportTimeout::with_outgoing_timeout(transport, timeouts.dial);
    TransportTimeout::with_ingoing_timeout(dialling, timeouts.accept).boxed()
}
