//! One stream of a connection.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use quinn::{RecvStream, SendStream};

/// Both directions of a stream. Dropped before its end has been read, it asks the peer to send no more of it.
pub(crate) struct Stream {
    send: SendStream,
    receive: RecvStream,
    is_closed: bool,
}

impl From<(SendStream, RecvStream)> for Stream {
    fn from((send, receive): (SendStream, RecvStream)) -> Self {
        Self {
            send,
            receive,
            is_closed: false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.receive.poll_read(cx, buffer).map_err(io::Error::from)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send)
            .poll_write(cx, bytes)
            .map_err(io::Error::from)
    }

    /// What has been written is on its way without that.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Tells the peer that this was all; may be called again.
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            self.send.finish().map_err(io::Error::from)?;
            self.is_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
