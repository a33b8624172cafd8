//! Connections whose path has died without a word.
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a peer that was spoken to may say nothing. A node pings its peers more often than that, so there is
/// always something to answer.
const SILENCE: Duration = Duration::from_secs(10);
/// What is more than that may itself be on its way for so long.
const BULK: usize = 64 * 1024;

/// A socket that fails when nothing comes for long after something was said.
///
/// The kernel would go on for minutes, and a ping may rightly wait behind bulk: this asks for any byte at all, and
/// only of a peer to whom nothing large is on its way.
#[derive(Debug)]
pub(crate) struct Watched<C> {
    socket: C,
    silence: Duration,
    /// When something was said first since the peer was heard last, and how much since.
    said: Option<(Instant, usize)>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<C> Watched<C> {
    pub(crate) fn new(socket: C) -> Self {
        Self {
            socket,
            silence: SILENCE,
            said: None,
            alarm: None,
        }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, bytes: usize) -> io::Result<()> {
        let (_, said) = self.said.get_or_insert_with(|| (Instant::now(), 0));
        *said = said.saturating_add(bytes);
        // Nobody may ask for bytes again before the time is up, so the alarm is set here as well.
        match self.poll_silence(cx) {
            Poll::Ready(error) => Err(error),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some((since, said)) = self.said else {
            return Poll::Pending;
        };
        if said > BULK {
            return Poll::Pending;
        }
        let due = since + self.silence;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // It may have been set for an earlier silence that was broken.
        while alarm.deadline() < due {
            ready!(alarm.as_mut().poll(cx));
            alarm.as_mut().reset(due);
        }
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the peer has been silent for {:?}", self.silence),
        ))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.said = None;
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.wrote(cx, written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, parts))?;
        self.wrote(cx, written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    fn impatient<C>(socket: C) -> Watched<C> {
        Watched {
            silence: Duration::from_millis(20),
            ..Watched::new(socket)
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_answer_is_given_up_and_one_that_nobody_spoke_to_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut ours = impatient(ours.compat());
        let mut byte = [0];
        ours.write_all(b"?").await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"!")
            .await
            .unwrap();
        ours.read_exact(&mut byte).await.unwrap();
        // The silence is broken, and nobody has spoken since.
        assert!(ours.read(&mut byte).now_or_never().is_none());
        ours.write_all(b"?").await.unwrap();
        let error = ours.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_with_bulk_on_its_way_to_it_may_take_its_time() {
        let (ours, _theirs) = tokio::io::duplex(2 * BULK);
        let mut ours = impatient(ours.compat());
        ours.write_all(&[0; BULK + 1]).await.unwrap();
        assert!(ours.alarm.is_none() && ours.read(&mut [0]).now_or_never().is_none());
    }
}
