//! A stream of bytes in the frames of RFC 6455.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use soketto::{
    Parsing,
    base::{Codec, Header, OpCode},
};

/// Bytes of one frame that we write; as many are copied, and held until the socket has taken them.
const MAX_WRITE: usize = 64 * 1024;
/// Bytes of one frame of a peer. Frames are read as they come, so this only ends what is no sane peer.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// The longest header of a frame.
const MAX_HEADER: usize = 14;
/// The longest payload of a control frame.
const MAX_CONTROL: usize = 125;
/// Frames without bytes that are read in a row before others have their turn.
const TURN: usize = 64;

/// Who asked for the WebSocket: clients mask what they send, and servers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What is being read.
#[derive(Debug)]
enum Reading {
    /// A header, of which so many bytes are there.
    Header(usize),
    /// The payload of a frame with bytes for us.
    Data(Payload),
    /// That of a frame for the connection itself.
    Control(OpCode, Payload),
    /// The peer has said that it was all.
    Ended,
}

/// What is left of a payload.
#[derive(Debug)]
struct Payload {
    left: usize,
    mask: Option<[u8; 4]>,
    /// How many of its bytes were read.
    read: usize,
}

impl Payload {
    fn of(header: &Header) -> Self {
        Self {
            left: header.payload_len(),
            mask: header.is_masked().then(|| header.mask().to_be_bytes()),
            read: 0,
        }
    }

    /// Takes in bytes that were read.
    fn take(&mut self, bytes: &mut [u8]) {
        if let Some(mask) = self.mask {
            apply(mask, self.read, bytes);
        }
        self.read += bytes.len();
        self.left -= bytes.len();
    }
}

/// A socket whose bytes go in frames.
#[derive(Debug)]
pub(crate) struct Frames<C> {
    socket: C,
    side: Side,
    codec: Codec,
    /// What came with the answer to our request.
    early: Vec<u8>,
    header: [u8; MAX_HEADER],
    reading: Reading,
    control: [u8; MAX_CONTROL],
    /// The answer to the last ping, if it was not sent yet.
    pong: Option<Vec<u8>>,
    /// Frames that wait for the socket, of which so many bytes are written.
    out: Vec<u8>,
    written: usize,
    is_closing: bool,
}

impl<C> Frames<C> {
    /// Puts the stream on `socket`, of which `early` was read already.
    pub(super) fn new(socket: C, side: Side, early: &[u8]) -> Self {
        let mut codec = Codec::new();
        codec.set_max_data_size(MAX_FRAME);
        Self {
            socket,
            side,
            codec,
            early: early.to_vec(),
            header: [0; MAX_HEADER],
            reading: Reading::Header(0),
            control: [0; MAX_CONTROL],
            pong: None,
            out: Vec::new(),
            written: 0,
            is_closing: false,
        }
    }

    /// Puts a frame behind those that wait for the socket.
    fn push(&mut self, opcode: OpCode, payload: &[u8]) {
        let mut header = Header::new(opcode);
        header.set_payload_len(payload.len());
        let mask = (self.side == Side::Client).then(rand::random::<u32>);
        if let Some(mask) = mask {
            header.set_masked(true).set_mask(mask);
        }
        self.out.extend_from_slice(self.codec.encode_header(&header));
        let start = self.out.len();
        self.out.extend_from_slice(payload);
        if let Some(mask) = mask {
            apply(mask.to_be_bytes(), 0, &mut self.out[start..]);
        }
    }

    /// Begins the frame whose header is there, or says what is wrong with it.
    fn begin(&mut self, header: &Header) -> io::Result<()> {
        if header.is_masked() != (self.side == Side::Server) {
            return Err(invalid("clients mask their frames, and servers do not"));
        }
        let payload = Payload::of(header);
        self.reading = match header.opcode() {
            OpCode::Binary | OpCode::Text | OpCode::Continue => Reading::Data(payload),
            opcode => Reading::Control(opcode, payload),
        };
        Ok(())
    }

    /// Does what a control frame asks for.
    fn controlled(&mut self, opcode: OpCode, len: usize) {
        self.reading = Reading::Header(0);
        match opcode {
            OpCode::Close => self.reading = Reading::Ended,
            OpCode::Ping => self.pong = Some(self.control[..len].to_vec()),
            _ => {}
        }
    }
}

/// Masks bytes, or takes the mask off, from the `at`th of a payload on.
fn apply(mask: [u8; 4], at: usize, bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[(at + index) % 4];
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<C: AsyncRead + Unpin> Frames<C> {
    fn poll_socket(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, into);
        }
        let len = into.len().min(self.early.len());
        into[..len].copy_from_slice(&self.early[..len]);
        self.early.drain(..len);
        Poll::Ready(Ok(len))
    }

    /// Reads a header to its end, however it is cut; `false` at the end of the stream.
    fn poll_header(&mut self, cx: &mut Context<'_>, mut have: usize) -> Poll<io::Result<bool>> {
        loop {
            let missing = match self.codec.decode_header(&self.header[..have]).map_err(invalid)? {
                Parsing::Done { value, .. } => {
                    self.begin(&value)?;
                    return Poll::Ready(Ok(true));
                }
                Parsing::NeedMore(missing) => missing,
            };
            let mut header = self.header;
            let read = ready!(self.poll_socket(cx, &mut header[have..have + missing]))?;
            if read == 0 {
                let ended = if have == 0 {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
                return Poll::Ready(ended);
            }
            self.header = header;
            have += read;
            self.reading = Reading::Header(have);
        }
    }

    /// Reads a control frame to its end, and does what it asks for.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Reading::Control(opcode, payload) = &self.reading else {
                return Poll::Ready(Ok(()));
            };
            let (opcode, read, left) = (*opcode, payload.read, payload.left);
            if left == 0 {
                self.controlled(opcode, read);
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; MAX_CONTROL];
            let got = ready!(self.poll_socket(cx, &mut bytes[..left]))?;
            if got == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Reading::Control(_, payload) = &mut self.reading {
                payload.take(&mut bytes[..got]);
            }
            self.control[read..read + got].copy_from_slice(&bytes[..got]);
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        for _ in 0..TURN {
            match &mut self.reading {
                Reading::Ended => return Poll::Ready(Ok(0)),
                Reading::Header(have) => {
                    let have = *have;
                    if !ready!(self.poll_header(cx, have))? {
                        return Poll::Ready(Ok(0));
                    }
                }
                Reading::Control(..) => ready!(self.poll_control(cx))?,
                Reading::Data(payload) if payload.left == 0 => self.reading = Reading::Header(0),
                Reading::Data(payload) => {
                    let len = into.len().min(payload.left);
                    let read = ready!(self.poll_socket(cx, &mut into[..len]))?;
                    if read == 0 && len > 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    if let Reading::Data(payload) = &mut self.reading {
                        payload.take(&mut into[..read]);
                    }
                    return Poll::Ready(Ok(read));
                }
            }
        }
        // Nothing but control frames: whoever sends them must not hold up the others.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<C: AsyncWrite + Unpin> Frames<C> {
    /// Hands what waits to the socket.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.written < self.out.len() {
                let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out[self.written..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += written;
            }
            self.out.clear();
            self.written = 0;
            let Some(pong) = self.pong.take().filter(|_| !self.is_closing) else {
                return Poll::Ready(Ok(()));
            };
            self.push(OpCode::Pong, &pong);
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.poll_data(cx, into);
        if self.pong.is_some() {
            // Whoever only reads has to answer too; what cannot go now goes with the next write.
            if let Poll::Ready(Err(error)) = self.poll_out(cx) {
                return Poll::Ready(Err(error));
            }
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
        }
        read
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(cx))?;
        let len = bytes.len().min(MAX_WRITE);
        if len > 0 {
            self.push(OpCode::Binary, &bytes[..len]);
            // What the socket does not take at once goes with the next write, or the flush.
            if let Poll::Ready(Err(error)) = self.poll_out(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closing {
            self.is_closing = true;
            self.push(OpCode::Close, &[]);
        }
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
