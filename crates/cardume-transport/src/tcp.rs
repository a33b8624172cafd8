//! TCP, secured and multiplexed.
use libp2p_core::{Transport, muxing::StreamMuxerBox, transport::Boxed, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};
use libp2p_tcp as tcp;

use crate::{
    security::{BuildError, Security},
    yamux,
};

/// Connections that the kernel has accepted and we have not.
const BACKLOG: u32 = 1024;

pub(crate) fn build(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, BuildError> {
    // Frames leave in whole batches (see `yamux`), so Nagle's wait would only delay their ends.
    let config = tcp::Config::new().nodelay(true).listen_backlog(BACKLOG);
    Ok(tcp::tokio::Transport::new(config)
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(key)?)
        .multiplex(yamux::Upgrade::default())
        .boxed())
}
