//! The frames of one connection, in and out.
use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures::{AsyncRead, AsyncWrite};

use super::{
    chunks::Pool,
    flow::{CREDIT, Flow, Spare},
    frame::{ACK, FIN, HEADER, Header, Kind, RST, SYN},
};
use crate::MAX_STREAMS;

/// Bytes of one frame of ours with its header: four TLS records, exactly. With the usual 16 KiB the work for each
/// frame costs more than its encryption; much larger ones would hold up the other streams of a slow link.
const FRAME: usize = 64 * 1024;
/// Unread bytes that all streams together may have beyond the 256 KiB which each has from the start: three
/// times what is under way at 500 Mbit/s and 80 ms of round trip.
const EXTRA_WINDOW: u32 = 16 * 1024 * 1024;
/// What a stream that we open has beyond those 256 KiB from its first frame on, as long as there is room: enough for
/// the answer with one piece, which else would wait for the line to go there and back twice.
const FIRST_EXTRA: u32 = 1024 * 1024;
/// Bytes of small frames gathered before they are written on; larger writes go on at once, and are not copied.
const GATHERED: usize = 16 * 1024;
const LARGE: usize = 4 * 1024;
/// Streams of the peer that are taken from the connection at once, so that a flood of them cannot keep the
/// task from its other work.
const TURN_STREAMS: usize = 32;
/// Bytes read before those that they are for have their turn: what the processor's cache still has then.
const TURN_BYTES: usize = 256 * 1024;
/// Frames owed to the peer for frames of it, above which no more are read: whoever asks and does not listen
/// would fill our memory.
const OWED: usize = 1024;

/// What a peer's bytes are called that are no frame, or one that may not be.
fn violation(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn open<C: Unpin>(socket: &mut Option<C>) -> io::Result<Pin<&mut C>> {
    let socket = socket.as_mut().map(Pin::new);
    socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// What of the peer's bytes comes next.
#[derive(Debug)]
enum Reading {
    Header { bytes: [u8; HEADER], filled: usize },
    Body { stream: u32, left: u32, is_last: bool },
}

impl Reading {
    const START: Self = Self::Header {
        bytes: [0; HEADER],
        filled: 0,
    };
}

/// A connection and what goes over it.
#[derive(Debug)]
pub(super) struct Session<C> {
    /// None when the connection is gone and only streams are left.
    socket: Option<C>,
    pool: Pool,
    streams: HashMap<u32, Flow>,
    /// Opened by the peer, and not taken yet.
    fresh: VecDeque<u32>,
    next_id: u32,
    spare: Spare,
    reading: Reading,
    /// Not yet written on, in order.
    gathered: Vec<u8>,
    /// The socket took less than there was.
    is_blocked: bool,
    /// Whether anything was written since the last flush.
    is_unflushed: bool,
    /// Frames in `gathered` that the peer has made us send.
    owed: usize,
    is_over: bool,
    /// The task that runs the connection.
    task: Waker,
    /// Who waits until the socket takes more.
    writers: Vec<Waker>,
    /// Who waits for a stream to end, to open another.
    opener: Option<Waker>,
}

impl<C> Session<C> {
    pub(super) fn new(socket: C, pool: Pool, is_client: bool) -> Self {
        Self {
            socket: Some(socket),
            pool,
            streams: HashMap::new(),
            fresh: VecDeque::new(),
            next_id: if is_client { 1 } else { 2 },
            spare: Spare(EXTRA_WINDOW),
            reading: Reading::START,
            gathered: Vec::new(),
            is_blocked: false,
            // The negotiation of yamux itself may still lie in the socket.
            is_unflushed: true,
            owed: 0,
            is_over: false,
            task: Waker::noop().clone(),
            writers: Vec::new(),
            opener: None,
        }
    }

    #[cfg(test)]
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether there are streams that the peer has opened and nobody has taken.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The next of them.
    pub(super) fn take_fresh(&mut self) -> Option<u32> {
        self.fresh.pop_front()
    }

    /// Opens a stream; waits while there are as many as there may be.
    pub(super) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<io::Result<u32>> {
        if self.is_over {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        if self.streams.len() >= MAX_STREAMS {
            self.opener = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let id = self.next_id;
        let Some(next) = id.checked_add(2) else {
            return Poll::Ready(Err(io::Error::other("all numbers of streams are used up")));
        };
        self.next_id = next;
        let extra = self.spare.take(FIRST_EXTRA);
        self.streams
            .insert(id, Flow::new(self.pool.clone(), CREDIT, extra, 0));
        self.put(Kind::Window, SYN, id, extra);
        Poll::Ready(Ok(id))
    }

    /// Adds a frame without a body to what is to be written.
    fn put(&mut self, kind: Kind, flags: u16, stream: u32, len: u32) {
        let header = Header {
            kind,
            flags,
            stream,
            len,
        };
        self.gathered.extend_from_slice(&header.encode());
        if !std::mem::replace(&mut self.is_unflushed, true) {
            self.task.wake_by_ref();
        }
    }

    /// … that answers one of the peer's.
    fn owe(&mut self, kind: Kind, flags: u16, stream: u32, len: u32) {
        self.owed += 1;
        self.put(kind, flags, stream, len);
    }

    /// The flags that the next frame of a stream has to have, with `more`.
    fn flags(&mut self, id: u32, more: u16) -> u16 {
        let flow = self.streams.get_mut(&id);
        more | flow.map_or(0, |flow| std::mem::take(&mut flow.flags))
    }

    // -- streams

    /// Reads from a stream.
    pub(super) fn poll_read(&mut self, id: u32, cx: &Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(flow) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let read = flow.chunks.read(out);
        if read > 0 {
            if let Some(more) = flow.reads(read, &mut self.spare) {
                let flags = self.flags(id, 0);
                self.put(Kind::Window, flags, id, more);
            }
            return Poll::Ready(Ok(read));
        }
        if out.is_empty() || (flow.is_whole && !flow.is_coming) {
            return Poll::Ready(Ok(0));
        }
        if !flow.is_whole {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        flow.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends our half of a stream.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(flow) = self.streams.get_mut(&id)
            && std::mem::replace(&mut flow.is_going, false)
        {
            let flags = self.flags(id, FIN);
            self.put(Kind::Data, flags, id, 0);
        }
    }

    /// Forgets a stream that nobody has any more.
    pub(super) fn drop_stream(&mut self, id: u32) {
        let Some(flow) = self.streams.remove(&id) else {
            return;
        };
        self.spare.0 += flow.extra();
        if flow.is_going && !self.is_over {
            // Whole or not: the peer hears whether more could have come.
            let end = if flow.is_coming { RST } else { FIN };
            self.put(Kind::Data, flow.flags | end, id, 0);
        }
        if let Some(opener) = self.opener.take() {
            opener.wake();
        }
    }

    /// Ends everything.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        self.streams.values_mut().for_each(|flow| {
            if flow.is_coming {
                flow.cut();
            } else {
                flow.is_going = false;
                flow.wake();
            }
        });
        self.wake_writers();
        if let Some(opener) = self.opener.take() {
            opener.wake();
        }
    }

    /// Ends everything, and lets go of the socket.
    pub(super) fn hang_up(&mut self) {
        self.end();
        self.socket = None;
    }

    fn wake_writers(&mut self) {
        self.writers.drain(..).for_each(Waker::wake);
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Session<C> {
    /// Reads, writes and, when nothing more is to be done at once, flushes; whether there is more to do already.
    ///
    /// # Errors
    /// When the connection has ended, whatever the reason.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        self.task.clone_from(cx.waker());
        let may_have_more = self.poll_frames(cx)?.is_ready();
        let is_owing = self.owed >= OWED;
        // What is left goes out when the socket takes it: then the task is woken.
        let is_flushed = self.poll_flush(cx)?.is_ready();
        Ok(may_have_more || (is_owing && is_flushed))
    }

    /// Writes to a stream, as one frame.
    pub(super) fn poll_write(&mut self, id: u32, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(flow) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if !flow.is_going {
            let kind = if flow.is_whole {
                io::ErrorKind::WriteZero
            } else {
                io::ErrorKind::ConnectionReset
            };
            return Poll::Ready(Err(kind.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if flow.send == 0 {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.is_blocked {
            self.writers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes.len().min(FRAME - HEADER).min(flow.send as usize);
        flow.send -= len as u32;
        let flags = self.flags(id, 0);
        self.put(Kind::Data, flags, id, len as u32);
        self.write_on(&bytes[..len])?;
        Poll::Ready(Ok(len))
    }

    /// Takes all of `bytes`: what the socket does not take now is gathered.
    fn write_on(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let is_small = bytes.len() < LARGE && self.gathered.len() + bytes.len() <= GATHERED;
        if !is_small && !self.is_blocked {
            let task = self.task.clone();
            if let Poll::Ready(written) = self.poll_push(&mut Context::from_waker(&task), bytes)? {
                bytes = &bytes[written..];
            }
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what was gathered and behind it as much of `bytes` as goes; pending while something gathered is left.
    fn poll_push(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pushed = 0;
        self.is_blocked = true;
        while pushed < bytes.len() || !self.gathered.is_empty() {
            let parts = [IoSlice::new(&self.gathered), IoSlice::new(&bytes[pushed..])];
            let parts = if self.gathered.is_empty() {
                &parts[1..]
            } else {
                &parts[..]
            };
            let written = match open(&mut self.socket)?.poll_write_vectored(cx, parts)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written,
                Poll::Pending if self.gathered.is_empty() => return Poll::Ready(Ok(pushed)),
                Poll::Pending => return Poll::Pending,
            };
            let of_gathered = written.min(self.gathered.len());
            self.gathered.drain(..of_gathered);
            pushed += written - of_gathered;
        }
        self.owed = 0;
        self.is_blocked = false;
        Poll::Ready(Ok(pushed))
    }

    /// Writes on and flushes, if there is anything to flush; those who waited for the socket may write again.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(self.poll_push(cx, &[]))?;
            self.wake_writers();
            ready!(open(&mut self.socket)?.poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye and closes.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_over {
            self.put(Kind::GoAway, 0, 0, 0);
            self.end();
        }
        ready!(self.poll_flush(cx))?;
        open(&mut self.socket)?.poll_close(cx)
    }

    // -- in

    /// Takes in what the socket has; ready when it may have more, but those who read have their turn first.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let most = self.fresh.len() + TURN_STREAMS;
        let mut left = TURN_BYTES;
        while self.fresh.len() < most && left > 0 {
            if self.owed >= OWED {
                // Goes on when the socket has taken some of it, for which this task is woken.
                return Poll::Pending;
            }
            match &mut self.reading {
                Reading::Header { bytes, filled } => {
                    let read = ready!(open(&mut self.socket)?.poll_read(cx, &mut bytes[*filled..]))?;
                    if read == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    *filled += read;
                    if *filled == HEADER {
                        let header = Header::decode(*bytes);
                        self.reading = Reading::START;
                        self.on_frame(header.ok_or_else(|| violation("no frame of yamux"))?)?;
                    }
                }
                Reading::Body { .. } => left = left.saturating_sub(ready!(self.poll_body(cx))?),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads some of the body of a frame to its stream, or to nowhere if nobody has that any more.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Reading::Body {
            stream,
            left,
            is_last,
        } = &mut self.reading
        else {
            return Poll::Ready(Ok(0));
        };
        let flow = self.streams.get_mut(stream).filter(|flow| flow.is_whole);
        let (read, flow) = match flow {
            Some(flow) => {
                let room = flow.chunks.room(*left as usize);
                let read = ready!(open(&mut self.socket)?.poll_read(cx, room))?;
                flow.chunks.fill(read);
                (read, Some(flow))
            }
            None => {
                let mut nowhere = [0; 4096];
                let len = nowhere.len().min(*left as usize);
                (
                    ready!(open(&mut self.socket)?.poll_read(cx, &mut nowhere[..len]))?,
                    None,
                )
            }
        };
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        *left -= read as u32;
        if let Some(flow) = flow {
            if *left == 0 && *is_last {
                flow.is_coming = false;
            }
            if let Some(reader) = flow.reader.take() {
                reader.wake();
            }
        }
        if *left == 0 {
            self.reading = Reading::START;
        }
        Poll::Ready(Ok(read))
    }

    fn on_frame(&mut self, header: Header) -> io::Result<()> {
        match header.kind {
            Kind::Data | Kind::Window => self.on_stream_frame(header),
            Kind::Ping => {
                if header.has(SYN) {
                    self.owe(Kind::Ping, ACK, 0, header.len);
                }
                Ok(())
            }
            Kind::GoAway => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn on_stream_frame(&mut self, header: Header) -> io::Result<()> {
        let id = header.stream;
        let body = if header.kind == Kind::Data { header.len } else { 0 };
        if header.has(SYN) && !header.has(RST) {
            self.on_opened(id)?;
        }
        let Some(flow) = self.streams.get_mut(&id) else {
            if body > 0 {
                self.skip(id, body, header.flags);
            }
            // Others are on their way from before the peer knew.
            return Ok(());
        };
        if header.has(RST) {
            flow.cut();
        }
        match header.kind {
            Kind::Window => {
                let send = flow.send.checked_add(header.len);
                flow.send = send.ok_or_else(|| violation("more credit than there can be"))?;
                if flow.send > 0
                    && let Some(writer) = flow.writer.take()
                {
                    writer.wake();
                }
            }
            _ if !flow.receives(body) => return Err(violation("more bytes than there is credit for")),
            _ => {}
        }
        if body > 0 {
            let is_last = header.has(FIN);
            self.reading = Reading::Body {
                stream: id,
                left: body,
                is_last,
            };
        } else if header.has(FIN) {
            flow.is_coming = false;
            flow.wake();
        }
        Ok(())
    }

    /// Reads past the bytes of a stream that nobody has, and tells a peer that would go on.
    fn skip(&mut self, id: u32, body: u32, flags: u16) {
        if flags & (FIN | RST) == 0 {
            self.owe(Kind::Data, RST, id, 0);
        }
        self.reading = Reading::Body {
            stream: id,
            left: body,
            is_last: false,
        };
    }

    fn on_opened(&mut self, id: u32) -> io::Result<()> {
        // Ours are odd if we dialled, and the peer's are not.
        if id == 0 || id % 2 == self.next_id % 2 || self.streams.contains_key(&id) {
            return Err(violation("a stream that cannot be opened"));
        }
        if self.streams.len() >= MAX_STREAMS {
            self.owe(Kind::Data, RST, id, 0);
            return Ok(());
        }
        self.streams
            .insert(id, Flow::new(self.pool.clone(), CREDIT, 0, ACK));
        self.fresh.push_back(id);
        Ok(())
    }
}
