//! Connections whose streams are counted, each by the protocol that was agreed on for it.
//!
//! The protocol is read in passing: by multistream-select the side that did not open a stream names the protocol that it
//! agrees to, in the first bytes that it sends. Until then bytes are kept aside. From then on a read or a write costs one
//! addition.
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use cardume_access::rates::Class;
use futures::{AsyncRead, AsyncWrite};
use libp2p_core::{
    ConnectedPoint,
    muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
};
use libp2p_identity::PeerId;

use crate::traffic::{Connection, Traffic};

mod agreed;

use self::agreed::Agreement;

/// Counts connections as they are made.
#[derive(Debug, Clone)]
pub(crate) struct Counting(Traffic);

impl Counting {
    pub(crate) const fn new(traffic: Traffic) -> Self {
        Self(traffic)
    }

    /// Has `muxer`, the connection with `peer`, counted.
    pub(crate) fn count<M>(&self, peer: PeerId, point: &ConnectedPoint, muxer: M) -> StreamMuxerBox
    where
        M: StreamMuxer + Send + Unpin + 'static,
        M::Substream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        M::Error: Send + Sync,
    {
        // Who comes to us through a relay has no address that says so.
        let class = if point.is_relayed() {
            Class::Relay
        } else {
            Class::of(point.get_remote_address())
        };
        StreamMuxerBox::new(Counted {
            muxer,
            connection: Arc::new(self.0.open(peer, class)),
        })
    }
}

/// A connection that is counted.
struct Counted<M> {
    muxer: M,
    connection: Arc<Connection>,
}

impl<M> StreamMuxer for Counted<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Stream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let opened = Pin::new(&mut self.muxer).poll_inbound(cx);
        opened.map_ok(|stream| Stream::new(stream, self.connection.clone(), Opener::Peer))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let opened = Pin::new(&mut self.muxer).poll_outbound(cx);
        opened.map_ok(|stream| Stream::new(stream, self.connection.clone(), Opener::We))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.muxer).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}

/// Who has opened a stream; the other one agrees to a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    We,
    Peer,
}

/// What a stream is for.
#[derive(Debug)]
enum Purpose {
    /// It is not agreed on yet.
    Open {
        agreement: Box<Agreement>,
        sent: u64,
        received: u64,
    },
    /// The protocol's place among those that are counted.
    Agreed(usize),
}

/// A stream that is counted.
struct Stream<S> {
    stream: S,
    connection: Arc<Connection>,
    opener: Opener,
    purpose: Purpose,
}

impl<S> Stream<S> {
    fn new(stream: S, connection: Arc<Connection>, opener: Opener) -> Self {
        Self {
            stream,
            connection,
            opener,
            purpose: Purpose::Open {
                agreement: Box::default(),
                sent: 0,
                received: 0,
            },
        }
    }

    fn sent(&mut self, parts: &[IoSlice<'_>], len: usize) {
        match &mut self.purpose {
            Purpose::Agreed(protocol) => self.connection.sent(*protocol, len as u64),
            Purpose::Open { sent, .. } => {
                *sent += len as u64;
                if self.opener == Opener::Peer {
                    let mut left = len;
                    for part in parts {
                        let part = &part[..part.len().min(left)];
                        left -= part.len();
                        self.watch(part);
                    }
                }
            }
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        match &mut self.purpose {
            Purpose::Agreed(protocol) => self.connection.received(*protocol, bytes.len() as u64),
            Purpose::Open { received, .. } => {
                *received += bytes.len() as u64;
                if self.opener == Opener::We {
                    self.watch(bytes);
                }
            }
        }
    }

    /// Looks for the protocol in what the side says that agrees.
    fn watch(&mut self, bytes: &[u8]) {
        let Purpose::Open { agreement, .. } = &mut self.purpose else {
            return;
        };
        if let Some(name) = agreement.read(bytes) {
            let protocol = self.connection.protocol(name);
            self.settle(protocol);
        }
    }

    /// Counts what was kept aside.
    fn settle(&mut self, protocol: usize) {
        if let Purpose::Open { sent, received, .. } = self.purpose {
            self.connection.sent(protocol, sent);
            self.connection.received(protocol, received);
            self.purpose = Purpose::Agreed(protocol);
        }
    }
}

impl<S> Drop for Stream<S> {
    fn drop(&mut self) {
        self.settle(self.connection.protocol(""));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(len)) = read {
            self.received(&buffer[..len]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(len)) = written {
            self.sent(&[IoSlice::new(bytes)], len);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        if let Poll::Ready(Ok(len)) = written {
            self.sent(parts, len);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
