//! QUIC: libp2p's transport, with windows for fast links that are far away.
use std::time::Duration;

use libp2p_core::{Transport, muxing::StreamMuxerBox, transport::Boxed};
use libp2p_identity::{Keypair, PeerId};
use libp2p_quic as quic;

/// Unread bytes of one stream: above the largest answer of the transfer protocol.
const STREAM_WINDOW: u32 = 6 * 1024 * 1024;
/// Unread bytes of one connection: three times what is under way at 500 Mbit/s and 80 ms of round trip.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

pub(crate) fn build(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let mut config = quic::Config::new(key);
    config.handshake_timeout = Duration::from_secs(10);
    config.max_idle_timeout = 30_000;
    config.keep_alive_interval = Duration::from_secs(10);
    config.max_concurrent_stream_limit = crate::MAX_STREAMS as u32;
    config.max_stream_data = STREAM_WINDOW;
    config.max_connection_data = CONNECTION_WINDOW;
    quic::tokio::Transport::new(config)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}
