//! One stream, as its owner has it.
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};

use super::session::Session;

/// A connection, shared with its streams.
///
/// As a rule all are polled by one task, so the lock is free.
#[derive(Debug)]
pub(super) struct Shared<C>(Arc<Mutex<Session<C>>>);

impl<C> Clone for Shared<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Shared<C> {
    pub(super) fn new(session: Session<C>) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Session<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of a connection; when it is dropped before both sides have ended it, the peer is told.
#[derive(Debug)]
pub(crate) struct Stream<C> {
    id: u32,
    session: Shared<C>,
}

impl<C> Stream<C> {
    pub(super) const fn new(id: u32, session: Shared<C>) -> Self {
        Self { id, session }
    }
}

impl<C> Drop for Stream<C> {
    fn drop(&mut self) {
        self.session.lock().drop_stream(self.id);
    }
}

impl<C> AsyncRead for Stream<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        self.session.lock().poll_read(self.id, cx, out)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.session.lock().poll_write(self.id, cx, bytes)
    }

    /// Does nothing: the muxer flushes once a turn, when all frames that are ready have been written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.lock().close(self.id);
        Poll::Ready(Ok(()))
    }
}
