//! Frames put together before they are encrypted and sent.
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

/// Bytes of small frames gathered before they are written on.
const GATHERED: usize = 16 * 1024;
/// Writes from this size on go on at once, together with what was gathered, and are not copied.
const LARGE: usize = 4 * 1024;

/// A connection that gathers small writes, and is flushed when its muxer says so.
///
/// yamux writes each header by itself and flushes after each frame: through TLS that is one record of 12
/// bytes, one of the payload, and a call of the kernel for both. Clones share the connection; only the task
/// of the connection uses them, so the lock is always free.
#[derive(Debug)]
pub(super) struct Gathered<C>(Arc<Mutex<Inner<C>>>);

impl<C> Clone for Gathered<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
struct Inner<C> {
    connection: C,
    /// Not yet written on, in order.
    gathered: Vec<u8>,
    /// Whether anything was written since the last flush.
    unflushed: bool,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Gathered<C> {
    pub(super) fn new(connection: C) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            connection,
            gathered: Vec::new(),
            // The negotiation of yamux itself may still lie in the connection.
            unflushed: true,
        })))
    }

    /// Writes on and flushes, if there is anything to flush.
    pub(super) fn poll_flush_now(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }
}

impl<C> Gathered<C> {
    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: AsyncWrite + Unpin> Inner<C> {
    /// Writes what was gathered and, behind it, as much of `bytes` as goes; all that was gathered has gone
    /// when it is ready.
    fn poll_write_on(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.gathered.is_empty() {
            let parts = [IoSlice::new(&self.gathered), IoSlice::new(bytes)];
            let written = ready!(Pin::new(&mut self.connection).poll_write_vectored(cx, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(more) = written.checked_sub(self.gathered.len()) {
                self.gathered.clear();
                if more > 0 {
                    return Poll::Ready(Ok(more));
                }
            } else {
                self.gathered.drain(..written);
            }
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write_on(cx, &[]))?;
        ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gathered<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().connection).poll_read(cx, out)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.unflushed = true;
        if bytes.len() >= LARGE {
            return inner.poll_write_on(cx, bytes);
        }
        if inner.gathered.len() + bytes.len() > GATHERED {
            ready!(inner.poll_write_on(cx, &[]))?;
        }
        inner.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Does nothing: the muxer flushes once a turn, when all frames that are ready have been written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.poll_flush(cx))?;
        Pin::new(&mut inner.connection).poll_close(cx)
    }
}
