//! What the codec alone cannot do: deadlines of one request, and callers that go away.
//!
//! `libp2p-request-response` has one timeout for everything and cannot cancel a request. But it clones the
//! codec for each stream, so the clone that has written a request knows, while it reads the response,
//! whose it is.
use std::{io, time::Duration};

use futures::{AsyncRead, AsyncWrite};
use libp2p_request_response as request_response;
use libp2p_swarm::StreamProtocol;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{Request, Response, wire};

/// Time for a peer to send its request once it has opened a stream; a request is one small message.
const READ_REQUEST: Duration = Duration::from_secs(10);

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
    /// From the first byte out to the last byte in.
    pub(crate) limit: Duration,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) over: CancellationToken,
    /// The peer's slot, free when the stream (or the wait for a connection) has really ended.
    pub(crate) slot: OwnedSemaphorePermit,
}

/// The wire's codec with deadlines; one for each stream.
#[derive(Debug)]
pub struct Codec {
    wire: wire::Codec,
    /// Time to write one response.
    write_response: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    until: Instant,
    /// Bytes of payload worth reading: what was asked for, so that a peer that answers with more cannot make
    /// us allocate it.
    max_payload: u64,
    over: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Codec {
    pub(crate) fn new(write_response: Duration) -> Self {
        Self {
            wire: wire::Codec,
            write_response,
            running: None,
        }
    }
}

impl Clone for Codec {
    /// Makes the codec of another stream.
    fn clone(&self) -> Self {
        Self::new(self.write_response)
    }
}

impl Running {
    async fn run<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(io::ErrorKind::Interrupted.into()),
            done = timeout_at(self.until, work) => done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Ask;
    type Response = Response;

    async fn read_request<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Ask>
    where
        T: AsyncRead + Unpin + Send,
    {
        let request = timeout(READ_REQUEST, self.wire.read_request(protocol, io)).await??;
        Ok(Ask { request, terms: None })
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        match &self.running {
            Some(running) => running.run(wire::read_response(io, running.max_payload)).await,
            None => self.wire.read_response(protocol, io).await,
        }
    }

    async fn write_request<T>(&mut self, protocol: &StreamProtocol, io: &mut T, ask: Ask) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let max_payload = ask.request.max_payload();
        let write = self.wire.write_request(protocol, io, ask.request);
        let Some(Terms { limit, over, slot }) = ask.terms else {
            return write.await;
        };
        let running = self.running.insert(Running {
            until: Instant::now() + limit,
            max_payload,
            over,
            _slot: slot,
        });
        running.run(write).await
    }

    async fn write_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        timeout(
            self.write_response,
            self.wire.write_response(protocol, io, response),
        )
        .await?
    }
}
