//! The yamux multiplexer, with frames of 64 KiB, one flush a turn, and room for an answer from the start.
//!
//! Streams write to the connection themselves, so what they send is copied once: when it is encrypted.
mod chunks;
mod flow;
mod frame;
mod session;
mod stream;

use std::{
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};

use self::{
    chunks::Pool,
    session::Session,
    stream::{Shared, Stream},
};

/// The yamux upgrade; clones share the memory of what is received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upgrade(Pool);

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
        ready(Ok(Muxer::new(Session::new(connection, self.0, false))))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(Session::new(connection, self.0, true))))
    }
}

/// A connection and its streams.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    session: Shared<C>,
    /// Who waits for a stream of the peer.
    waiting: Option<Waker>,
}

impl<C> Muxer<C> {
    fn new(session: Session<C>) -> Self {
        Self {
            session: Shared::new(session),
            waiting: None,
        }
    }
}

impl<C> Drop for Muxer<C> {
    /// Streams that outlive their connection hear that it has ended.
    fn drop(&mut self) {
        self.session.lock().hang_up();
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream<C>;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream<C>>> {
        let fresh = self.session.lock().take_fresh();
        match fresh {
            Some(id) => Poll::Ready(Ok(Stream::new(id, self.session.clone()))),
            None => {
                self.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream<C>>> {
        let opened = self.session.lock().poll_open(cx);
        opened.map_ok(|id| Stream::new(id, self.session.clone()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.lock().poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = &mut *self;
        let mut session = this.session.lock();
        match session.turn(cx) {
            Ok(true) => cx.waker().wake_by_ref(),
            Ok(false) => {}
            Err(error) => {
                session.end();
                return Poll::Ready(Err(error));
            }
        }
        if session.has_fresh()
            && let Some(waiting) = this.waiting.take()
        {
            waiting.wake();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
