//! The yamux multiplexer, with frames of 64 KiB and one flush a turn.
mod gathered;

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use ::yamux::{Config, Connection, ConnectionError, Mode};
use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};

use self::gathered::Gathered;
use crate::MAX_STREAMS;

/// Payload of one frame of ours: four TLS records. At the usual 16 KiB the work for each frame costs more
/// than its encryption; much larger ones would hold up the other streams of a slow link.
const FRAME: usize = 64 * 1024;
/// Unread bytes that all streams together may have beyond the 256 KiB which each has from the start: three
/// times what is under way at 500 Mbit/s and 80 ms of round trip.
const EXTRA_WINDOW: usize = 16 * 1024 * 1024;
/// Streams of the peer that are taken from the connection at once, so that a flood of them cannot keep the
/// task from its other work.
const TURN: usize = 32;

/// The yamux upgrade.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade(Config);

impl Default for Upgrade {
    fn default() -> Self {
        let mut config = Config::default();
        config
            .set_max_num_streams(MAX_STREAMS)
            .set_max_connection_receive_window(Some(
                MAX_STREAMS * ::yamux::DEFAULT_CREDIT as usize + EXTRA_WINDOW,
            ))
            .set_split_send_size(FRAME);
        Self(config)
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_inbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(connection, self.0, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(connection, self.0, Mode::Client)))
    }
}

/// A connection and its streams.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: Connection<Gathered<C>>,
    /// The same socket that `connection` writes to.
    socket: Gathered<C>,
    /// Streams that the peer has opened and nobody has asked for; as many as there may be streams.
    inbound: VecDeque<::yamux::Stream>,
    /// Who waits for one.
    waiting: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(connection: C, config: Config, mode: Mode) -> Self {
        let socket = Gathered::new(connection);
        Self {
            connection: Connection::new(socket.clone(), config, mode),
            socket,
            inbound: VecDeque::new(),
            waiting: None,
        }
    }

    /// Reads, writes and, when nothing more is to be done at once, flushes.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        for _ in 0..TURN {
            match self.connection.poll_next_inbound(cx) {
                Poll::Pending => return self.flush(cx),
                Poll::Ready(None) => return Err(ConnectionError::Closed),
                Poll::Ready(Some(stream)) => self.inbound.push_back(stream?),
            }
        }
        cx.waker().wake_by_ref();
        self.flush(cx)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        match self.socket.poll_flush_now(cx) {
            // What is left goes out when the socket takes it: then the task is woken.
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => Err(ConnectionError::Io(error)),
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = ::yamux::Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<::yamux::Stream, ConnectionError>> {
        if self.inbound.is_empty() {
            self.turn(cx)?;
        }
        if let Some(stream) = self.inbound.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<::yamux::Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        self.turn(cx)?;
        if !self.inbound.is_empty()
            && let Some(waiting) = self.waiting.take()
        {
            waiting.wake();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncWriteExt as _, future::poll_fn};
    use libp2p_core::muxing::StreamMuxerExt as _;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    /// The header of a frame: version, kind, flags, stream, length.
    fn header(kind: u8, flags: u16, stream: u32, len: u32) -> Vec<u8> {
        [
            &[0, kind][..],
            &flags.to_be_bytes(),
            &stream.to_be_bytes(),
            &len.to_be_bytes(),
        ]
        .concat()
    }

    /// How a connection ends whose peer sends `bytes` and says no more.
    async fn ends(bytes: &[u8]) -> ConnectionError {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let mut muxer = Upgrade::default()
            .upgrade_inbound(ours.compat(), "/yamux/1.0.0")
            .await
            .unwrap();
        let mut theirs = theirs.compat();
        theirs.write_all(bytes).await.unwrap();
        theirs.close().await.unwrap();
        poll_fn(|cx| muxer.poll_unpin(cx)).await.unwrap_err()
    }

    #[tokio::test]
    async fn frames_that_are_none_end_the_connection() {
        const SYN: u16 = 1;
        let cases = [
            vec![0xff; 5_000],
            vec![0; 5],
            header(0, SYN, 1, u32::MAX),
            header(0, SYN, 1, 300 * 1024),
            header(1, SYN, 2, 0),
            [header(1, SYN, 1, 0), header(1, SYN, 1, 0)].concat(),
            [header(1, SYN, 1, u32::MAX), header(1, 0, 1, u32::MAX)].concat(),
            header(2, 2, 0, 77),
            header(3, 0, 0, 2),
        ];
        for bytes in cases {
            ends(&bytes).await;
        }
    }

    #[tokio::test]
    async fn a_peer_cannot_open_more_streams_than_there_may_be() {
        let flood: Vec<u8> = (0..=MAX_STREAMS as u32)
            .flat_map(|n| header(1, 1, 2 * n + 1, 0))
            .collect();
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let mut muxer = Upgrade::default()
            .upgrade_inbound(ours.compat(), "/yamux/1.0.0")
            .await
            .unwrap();
        let mut theirs = theirs.compat();
        theirs.write_all(&flood).await.unwrap();
        theirs.close().await.unwrap();
        poll_fn(|cx| muxer.poll_unpin(cx)).await.unwrap_err();
        assert_eq!(muxer.inbound.len(), MAX_STREAMS);
    }
}
