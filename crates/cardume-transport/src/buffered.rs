//! Large reads below layers that ask for small ones.
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

/// Bytes of the buffer of a connection that has little to say.
const SMALL: usize = 16 * 1024;
/// … and of one that carries bulk: what a socket on a fast link has gathered between two reads.
const LARGE: usize = 256 * 1024;
/// Small reads in a row after which the small buffer is enough again.
const QUIET: u32 = 8;

/// A socket that is read in pieces of up to 256 KiB, whatever the layer above asks for.
///
/// rustls asks for 4 KiB at a time, Noise for 8 KiB: each would be one call of the kernel.
#[derive(Debug)]
pub(crate) struct Buffered<C> {
    socket: C,
    /// Its length is how much one read may bring.
    buffer: Vec<u8>,
    /// What was read and not yet taken: `buffer[start..end]`.
    start: usize,
    end: usize,
    quiet: u32,
}

impl<C> Buffered<C> {
    pub(crate) fn new(socket: C) -> Self {
        Self {
            socket,
            buffer: vec![0; SMALL],
            start: 0,
            end: 0,
            quiet: 0,
        }
    }

    /// Chooses the size of the next read after one that brought `read` bytes.
    fn adapt(&mut self, read: usize) {
        self.quiet = if read <= SMALL / 4 { self.quiet + 1 } else { 0 };
        let len = self.buffer.len();
        let wanted = if read == len {
            (len * 4).min(LARGE)
        } else if self.quiet >= QUIET {
            SMALL
        } else {
            len
        };
        if wanted != len {
            self.buffer = vec![0; wanted];
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Buffered<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.start == this.end {
            // The last read is used up, so it may be judged and its buffer replaced.
            if this.end > 0 {
                this.adapt(this.end);
            }
            (this.start, this.end) = (0, 0);
            this.end = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut this.buffer))?;
        }
        let len = out.len().min(this.end - this.start);
        out[..len].copy_from_slice(&this.buffer[this.start..this.start + len]);
        this.start += len;
        Poll::Ready(Ok(len))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Buffered<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
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
    use futures::{AsyncReadExt as _, executor::block_on, io::Cursor};

    use super::*;

    #[test]
    fn bulk_is_read_in_large_pieces_and_a_quiet_connection_holds_a_small_buffer() {
        let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at >> 7) as u8).collect();
        let mut reader = Buffered::new(Cursor::new(sent.clone()));
        let mut got = vec![0; sent.len()];
        for part in got.chunks_mut(5_000) {
            block_on(reader.read_exact(part)).unwrap();
        }
        assert_eq!(reader.buffer.len(), LARGE);
        assert_eq!(got, sent);

        let mut reader = Buffered {
            socket: Slow,
            ..Buffered::new(Slow)
        };
        reader.buffer = vec![0; LARGE];
        for _ in 0..=QUIET {
            block_on(reader.read_exact(&mut [0; 10])).unwrap();
        }
        assert_eq!(reader.buffer.len(), SMALL);
    }

    /// Ten bytes at a time.
    struct Slow;

    impl AsyncRead for Slow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
            out[..10].fill(1);
            Poll::Ready(Ok(10))
        }
    }
}
