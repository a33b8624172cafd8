//! A connection as the swarm wants it: streams in, streams out, and an end.
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, future::BoxFuture};
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use quinn::{ConnectionError, VarInt};

use super::stream::Stream;

type Opening = BoxFuture<'static, Result<Stream, ConnectionError>>;

/// One connection; quinn moves its packets in a task of its own.
pub(crate) struct Connection {
    connection: quinn::Connection,
    inbound: Option<Opening>,
    outbound: Option<Opening>,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self {
            connection,
            inbound: None,
            outbound: None,
        }
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let this = &mut *self;
        let inbound = this.inbound.get_or_insert_with(|| {
            let connection = this.connection.clone();
            async move { connection.accept_bi().await.map(Stream::from) }.boxed()
        });
        let stream = ready!(inbound.poll_unpin(cx));
        this.inbound = None;
        Poll::Ready(stream)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        let this = &mut *self;
        let outbound = this.outbound.get_or_insert_with(|| {
            let connection = this.connection.clone();
            async move { connection.open_bi().await.map(Stream::from) }.boxed()
        });
        let stream = ready!(outbound.poll_unpin(cx));
        this.outbound = None;
        Poll::Ready(stream)
    }

    /// The peer is told; what was not yet acknowledged may be lost.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.close(VarInt::from_u32(0), &[]);
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        Poll::Pending
    }
}
