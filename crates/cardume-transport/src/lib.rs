//! QUIC, and TCP and WebSocket under TLS 1.3 or Noise with yamux: tuned, and readable for every libp2p peer.
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
mod counted;
mod dns;
mod quic;
mod screened;
mod security;
mod streams;
mod tcp;
mod tls;
mod traffic;
mod watched;
mod ws;
mod yamux;

use std::{sync::Arc, time::Duration};

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{
    muxing::StreamMuxerBox,
    transport::{Boxed, Transport as _, timeout::TransportTimeout},
};
use libp2p_identity::{Keypair, PeerId};

use self::{counted::Counting, screened::Screened, tcp::Tcp};
pub use self::{
    screened::Screen,
    security::BuildError,
    tls::warm_up,
    traffic::{Bytes, Share, Traffic},
};

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

/// What a node may set of its transports.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long handshakes may take.
    pub timeouts: Timeouts,
    /// Where all bytes are counted.
    pub traffic: Traffic,
    /// Whom to believe, behind a name, that it is the web server of a `/wss` address; nobody, if not set.
    pub trust: Option<Arc<rustls::ClientConfig>>,
    /// Whom to let go before the handshake, of those that come over TCP or QUIC: what comes through relays and web
    /// servers has their addresses.
    pub screen: Option<Screen>,
}

impl From<Timeouts> for Options {
    fn from(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            traffic: Traffic::new("main"),
            trust: None,
            screen: None,
        }
    }
}

/// Makes the transports of the node whose key is `key`; needs a tokio runtime where it is polled.
///
/// # Errors
/// When `key` signs no certificate.
pub fn build(key: &Keypair, options: impl Into<Options>) -> Result<Transport, BuildError> {
    let options = options.into();
    Ok(limit(direct(key, &options)?, options.timeouts))
}

/// Makes the same transports, and one more that goes through relays: `relays` gives streams to a peer through
/// another one, which are secured and multiplexed like those over TCP.
///
/// # Errors
/// When `key` signs no certificate.
pub fn build_with_relays<R>(
    key: &Keypair,
    options: impl Into<Options>,
    relays: R,
) -> Result<Transport, BuildError>
where
    R: libp2p_core::Transport + Send + Unpin + 'static,
    R::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R::Error: Send + Sync,
    R::Dial: Send,
    R::ListenerUpgrade: Send,
{
    let options = options.into();
    // First, and above the names: the way to the relay itself is dialled apart.
    let relayed = streams::build(key, relays, &Counting::new(options.traffic.clone()))?;
    let either = relayed
        .or_transport(direct(key, &options)?)
        .map(|either, _| either.into_inner());
    Ok(limit(either.boxed(), options.timeouts))
}

fn direct(key: &Keypair, options: &Options) -> Result<Transport, BuildError> {
    let counting = Counting::new(options.traffic.clone());
    let tcp = Screened::new(Tcp::new(tcp::config()), options.screen.clone());
    let streams = streams::build(key, tcp, &counting)?
        .or_transport(quic::build(key, &counting, options.screen.clone())?)
        .map(|either, _| either.into_inner());
    // Before the names, which it resolves itself.
    let trust = options.trust.clone().unwrap_or_else(tls::nobody);
    Ok(ws::build(key, trust, &counting)?
        .or_transport(dns::build(streams))
        .map(|either, _| either.into_inner())
        .boxed())
}

fn limit(transport: Transport, timeouts: Timeouts) -> Transport {
    let dialling = TransportTimeout::with_outgoing_timeout(transport, timeouts.dial);
    TransportTimeout::with_ingoing_timeout(dialling, timeouts.accept).boxed()
}
