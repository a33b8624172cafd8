//! A stream that goes as fast as it may, and fails when it stands still.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use cardume_access::rates::Class;
use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;
use tokio::time::Sleep;

use crate::rates::{Gate, Pass};

/// Bytes of a message that never wait: its header, as a rule, which is read byte by byte at first.
const FREE: usize = 1024;

/// A stream of one peer.
///
/// Time in which its other end moves nothing counts against `patience`; time in which we hold it back does not.
pub(crate) struct Paced<'a, T> {
    io: &'a mut T,
    toll: Option<Toll<'a>>,
    patience: Duration,
    /// Patience until the first byte, if another.
    first: Option<Duration>,
    /// Runs out while the other end moves nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What the bytes of a stream are counted against.
struct Toll<'a> {
    gate: &'a Gate,
    peer: PeerId,
    class: Class,
    allowed: usize,
    pass: Option<Pass>,
}

impl<'a, T> Paced<'a, T> {
    /// Watches over `io`, which no limit concerns.
    pub(crate) fn free(io: &'a mut T, patience: Duration) -> Self {
        Self {
            io,
            toll: None,
            patience,
            first: None,
            stalled: None,
        }
    }

    /// … which may take longer to begin.
    pub(crate) fn with_first(mut self, first: Duration) -> Self {
        self.first = Some(first);
        self
    }

    /// … which keeps within the limits of `gate` for `peer`.
    pub(crate) fn through(mut self, gate: &'a Gate, peer: PeerId, class: Class) -> Self {
        self.toll = Some(Toll {
            gate,
            peer,
            class,
            allowed: FREE,
            pass: None,
        });
        self
    }

    /// Notes what came of a step.
    fn stepped<R>(
        &mut self,
        cx: &mut Context<'_>,
        step: Poll<io::Result<R>>,
        bytes: impl Fn(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        if let Poll::Ready(done) = step {
            self.stalled = None;
            self.first = None;
            if let (Some(toll), Ok(done)) = (&mut self.toll, &done) {
                toll.spend(bytes(done));
            }
            return Poll::Ready(done);
        }
        let patience = self.first.unwrap_or(self.patience);
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits until some of `wanted` bytes may go; how many.
    fn allowed(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        match &mut self.toll {
            Some(toll) => toll.allowed(cx, wanted),
            None => Poll::Ready(wanted),
        }
    }
}

impl Toll<'_> {
    fn allowed(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        if !self.gate.is_limited() {
            self.pass = None;
            return Poll::Ready(wanted);
        }
        while self.allowed == 0 && wanted > 0 {
            let pass = self
                .pass
                .get_or_insert_with(|| self.gate.ask(self.peer, self.class, wanted as u64));
            self.allowed = ready!(pass.poll(cx)) as usize;
            self.pass = None;
        }
        Poll::Ready(self.allowed.min(wanted))
    }

    fn spend(&mut self, bytes: usize) {
        self.allowed = self.allowed.saturating_sub(bytes);
        self.gate.count(bytes);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = ready!(self.allowed(cx, buffer.len()));
        let step = Pin::new(&mut *self.io).poll_read(cx, &mut buffer[..allowed]);
        self.stepped(cx, step, |read| *read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let allowed = ready!(self.allowed(cx, bytes.len()));
        let step = Pin::new(&mut *self.io).poll_write(cx, &bytes[..allowed]);
        self.stepped(cx, step, |written| *written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut *self.io).poll_flush(cx);
        self.stepped(cx, step, |()| 0)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut *self.io).poll_close(cx);
        self.stepped(cx, step, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncReadExt as _;
    use tokio::{io::AsyncWriteExt as _, time::Instant};
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_times_out_and_a_slow_one_does_not() {
        let (mut other, ours) = tokio::io::duplex(64);
        let mut ours = ours.compat();
        let began = Instant::now();
        let drip = async {
            for byte in 0..20 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                other.write_u8(byte).await.expect("the reader is there");
            }
            std::future::pending::<()>().await;
        };
        let mut stream = Paced::free(&mut ours, PATIENCE);
        let mut bytes = Vec::new();
        tokio::select! {
            read = stream.read_to_end(&mut bytes) => {
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = drip => {}
        }
        assert_eq!(bytes.len(), 20);
        assert_eq!(began.elapsed().as_secs(), 20 * 29 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_longer_to_begin_than_to_go_on() {
        let (_other, ours) = tokio::io::duplex(64);
        let mut ours = ours.compat();
        let began = Instant::now();
        let mut stream = Paced::free(&mut ours, PATIENCE).with_first(PATIENCE * 2);
        let read = stream.read(&mut [0]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), PATIENCE * 2);
    }
}
