//! One ping when somebody asks for it, beside those that watch over each connection.
use std::{
    io,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_identity::PeerId;
use libp2p_stream::{Control, OpenStreamError};

use crate::text::tame;

/// Whoever asks is waiting; what takes longer is as good as no answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are sent and must come back (libp2p, `/ipfs/ping/1.0.0`).
const SIZE: usize = 32;

/// A peer reads one stream of pings a connection at a time (libp2p-ping) and lets go of the one before: a ping that
/// meets that of the watch over the connection, or a connection that is about to be closed for another, is sent again.
const TRIES: u32 = 3;

/// Pings a connected peer on a stream of its own; why it failed, in words.
pub(crate) async fn once(mut streams: Control, peer: PeerId) -> Result<Duration, String> {
    let mut ended = Err(format!("no answer to a ping in {} s", PATIENCE.as_secs()));
    for _ in 0..TRIES {
        match tokio::time::timeout(PATIENCE / TRIES, exchange(&mut streams, peer)).await {
            Ok(Ok(took)) => return Ok(took),
            Ok(Err(reason)) => ended = Err(reason),
            Err(_) => {}
        }
    }
    ended
}

async fn exchange(streams: &mut Control, peer: PeerId) -> Result<Duration, String> {
    let failed = |error: io::Error| format!("the ping failed: {}", tame(&error.to_string()));
    let mut stream = match streams.open_stream(peer, libp2p_ping::PROTOCOL_NAME).await {
        Ok(stream) => stream,
        Err(OpenStreamError::UnsupportedProtocol(_)) => return Err("it answers no pings".into()),
        Err(OpenStreamError::Io(error)) => return Err(failed(error)),
        Err(error) => return Err(tame(&error.to_string())),
    };
    let sent: [u8; SIZE] = rand::random();
    let mut answer = [0; SIZE];
    let began = Instant::now();
    stream.write_all(&sent).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    stream.read_exact(&mut answer).await.map_err(failed)?;
    let took = began.elapsed();
    // Nothing depends on how it is closed.
    let _ = stream.close().await;
    if answer == sent {
        Ok(took)
    } else {
        Err("the answer to a ping was wrong".into())
    }
}
