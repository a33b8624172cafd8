//! WebSocket as libp2p speaks it (`/ws`, `/tls/ws`, `/wss`): bytes in binary messages, on TCP.
//!
//! <https://github.com/libp2p/specs/tree/master/websockets>
//!
//! Listens for plain WebSocket only: what stands before it, and has a name and a certificate, is a web server. Dials
//! both. A message is read as it comes, whatever its length says, so a peer cannot make us hold one; libp2p's own
//! transport gathers messages, and bounds those of whom it dials at 256 MiB.
mod address;
mod frames;
mod transport;

use std::{io, sync::Arc};

use futures_rustls::rustls::ClientConfig;
use libp2p_core::{Transport as _, muxing::StreamMuxerBox, transport::Boxed};
use libp2p_identity::{Keypair, PeerId};

use self::transport::Transport;
use crate::{
    counted::Counting,
    dns,
    security::BuildError,
    streams,
    tcp::{self, Tcp},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tcp(#[from] libp2p_dns::Error<io::Error>),
    #[error("TLS with the web server: {0}")]
    Tls(#[from] io::Error),
    #[error("WebSocket handshake: {0}")]
    Handshake(#[from] soketto::handshake::Error),
    #[error("the web server answers {0} instead of passing WebSocket on")]
    Refused(u16),
}

/// Makes the transport of the node whose key is `key`; `trust` is whom to believe that they are the web server that a
/// name says.
pub(crate) fn build(
    key: &Keypair,
    trust: Arc<ClientConfig>,
    counting: &Counting,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, BuildError> {
    // Names are resolved below: the certificate is for the name.
    let web = Transport::new(dns::build(Tcp::new(tcp::config())), trust);
    Ok(streams::build(key, web, counting)?.boxed())
}
