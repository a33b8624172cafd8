//! What the codec alone cannot do: deadlines of one request, and callers that go away.
//!
//! `libp2p-request-response` has one timeout for everything and cannot cancel a request. But it clones the
//! codec for each stream, so the clone that has written a request knows, while it reads the response,
//! whose it is.
use std::{io, time::Duration};

use cardume_access::rates::Class;
use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;
use libp2p_request_response as request_response;
use libp2p_swarm::StreamProtocol;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{Buffers, Request, Response, lines::Lines, paced::Paced, rates, wire};

/// Time for a peer to send its request once it has opened a stream; a request is one small message.
const READ_REQUEST: Duration = Duration::from_secs(10);
/// Times its patience that a request or an answer may take in all while something of it moves.
///
/// Whoever lets single bytes through holds a slot that long, and not for ever. At 16 kB/s, the lowest limit, it
/// is enough for two of the largest answers.
pub(crate) const WHOLE: u32 = 20;

/// A request with what ends it.
#[derive(Debug)]
pub struct Ask {
    pub(crate) request: Request,
    /// `None` for a request that came in.
    pub(crate) terms: Option<Terms>,
}

/// When a request of ours ends without an answer.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Who is asked.
    pub(crate) peer: PeerId,
    /// Time until the answer begins.
    pub(crate) first: Duration,
    /// Time in which at least something of it has to come, from then on.
    pub(crate) patience: Duration,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) over: CancellationToken,
    /// The peer's slot, free when the stream (or the wait for a connection) has really ended.
    pub(crate) slot: OwnedSemaphorePermit,
}

/// A response with what its bytes count against.
#[derive(Debug)]
pub struct Reply {
    pub(crate) response: Response,
    /// `None` for one that came in, and for one that no limit concerns.
    to: Option<(PeerId, Class)>,
}

impl Reply {
    /// A response to a peer, which waits its turn if it has content in it.
    pub(crate) fn to(peer: PeerId, class: Class, response: Response) -> Self {
        let to = (response.payload_len() > 0).then_some((peer, class));
        Self { response, to }
    }

    pub(crate) fn free(response: Response) -> Self {
        Self { response, to: None }
    }
}

/// The wire's codec with deadlines and limits; one for each stream.
#[derive(Debug)]
pub struct Codec {
    wire: wire::Codec,
    /// Time in which at least something has to move.
    patience: Duration,
    rates: rates::Handle,
    lines: Lines,
    /// What responses are read into.
    buffers: Buffers,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    peer: PeerId,
    first: Duration,
    patience: Duration,
    /// Bytes of payload worth reading: what was asked for, so that a peer that answers with more cannot make
    /// us allocate it.
    max_payload: u64,
    over: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Codec {
    pub(crate) fn new(patience: Duration, rates: rates::Handle, lines: Lines, buffers: Buffers) -> Self {
        Self {
            wire: wire::Codec,
            patience,
            rates,
            lines,
            buffers,
            running: None,
        }
    }
}

impl Clone for Codec {
    /// Makes the codec of another stream.
    fn clone(&self) -> Self {
        Self::new(
            self.patience,
            self.rates.clone(),
            self.lines.clone(),
            self.buffers.clone(),
        )
    }
}

impl Running {
    async fn run<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(io::ErrorKind::Interrupted.into()),
            done = work => done,
        }
    }

    async fn read<T: AsyncRead + Unpin>(
        &self,
        io: &mut T,
        rates: &rates::Handle,
        lines: &Lines,
        buffers: &Buffers,
    ) -> io::Result<Response> {
        let mut io = Paced::free(io, self.patience).with_first(self.first);
        if self.max_payload > 0 {
            io = io.through(rates.download(), self.peer, lines.of_peer(&self.peer));
        }
        wire::read_response(&mut io, self.max_payload, buffers).await
    }
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Ask;
    type Response = Reply;

    async fn read_request<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Ask>
    where
        T: AsyncRead + Unpin + Send,
    {
        let request = timeout(READ_REQUEST, self.wire.read_request(protocol, io)).await??;
        Ok(Ask { request, terms: None })
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Reply>
    where
        T: AsyncRead + Unpin + Send,
    {
        let response = match &self.running {
            Some(running) => {
                running
                    .run(running.read(io, &self.rates, &self.lines, &self.buffers))
                    .await?
            }
            None => self.wire.read_response(protocol, io).await?,
        };
        Ok(Reply::free(response))
    }

    async fn write_request<T>(&mut self, protocol: &StreamProtocol, io: &mut T, ask: Ask) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let max_payload = ask.request.max_payload();
        let mut io = Paced::free(io, self.patience);
        let write = self.wire.write_request(protocol, &mut io, ask.request);
        let Some(terms) = ask.terms else {
            return write.await;
        };
        let running = self.running.insert(Running {
            peer: terms.peer,
            first: terms.first,
            patience: terms.patience,
            max_payload,
            over: terms.over,
            _slot: terms.slot,
        });
        running.run(write).await
    }

    async fn write_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        reply: Reply,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let mut io = Paced::free(io, self.patience);
        if let Some((peer, class)) = reply.to {
            io = io.through(self.rates.upload(), peer, class);
        }
        self.wire.write_response(protocol, &mut io, reply.response).await
    }
}
