//! Streams through another peer, secured and multiplexed: the relay sees none of what goes over them.
use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{Transport, muxing::StreamMuxerBox, transport::Boxed, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};

use crate::{
    security::{BuildError, Security},
    yamux,
};

pub(crate) fn build<R>(key: &Keypair, relays: R) -> Result<Boxed<(PeerId, StreamMuxerBox)>, BuildError>
where
    R: Transport + Send + Unpin + 'static,
    R::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R::Error: Send + Sync,
    R::Dial: Send,
    R::ListenerUpgrade: Send,
{
    Ok(relays
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(key)?)
        .multiplex(yamux::Upgrade::default())
        .boxed())
}
