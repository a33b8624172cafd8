//! Streams of bytes of any kind, secured and multiplexed: over TCP, through a web server, or through another peer, who
//! sees none of what goes over them.
use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{Transport, muxing::StreamMuxerBox, transport::Boxed, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};

use crate::{
    counted::Counting,
    security::{BuildError, Security},
    yamux,
};

pub(crate) fn build<T>(
    key: &Keypair,
    streams: T,
    counting: &Counting,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, BuildError>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
{
    let counting = counting.clone();
    Ok(streams
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(key)?)
        .multiplex(yamux::Upgrade::default())
        .map(move |(peer, muxer), point| (peer, counting.count(peer, &point, muxer)))
        .boxed())
}
