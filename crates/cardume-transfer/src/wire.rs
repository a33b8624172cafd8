//! `transfer/1` on a stream: one request, one response, each closed by its sender.
//!
//! Every message is an unsigned varint (its header's length), a header in DAG-CBOR, and for slices the raw
//! payload. `docs/protocols/transfer.md` describes every byte. [`Codec`] is all that a second behaviour
//! needs to speak, or to abuse, the protocol; it enforces sizes and shapes and has no clock.
//!
//! # Invariants
//!
//! * A length is compared with its bound before anything of that length is allocated.
//! * No bytes from a peer cause a panic; whatever is not exactly one message is `InvalidData`.
//! * Payload is read into one buffer, which all slices share.
mod frame;
mod request;
mod response;

use std::io;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use libp2p_request_response as request_response;
use libp2p_swarm::StreamProtocol;

use crate::{Buffers, Request, Response, message::MAX_PAYLOAD};

/// Bytes of a request's header, at most.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Bytes of a response's header, at most.
pub const MAX_RESPONSE: usize = 256 * 1024;

/// The protocol's name in `network`: `/cardume/<network>/transfer/1`.
///
/// Two networks have two names, so their peers cannot ask each other.
pub fn protocol(network: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/cardume/{network}/transfer/1"))
        .expect("the name begins with a slash")
}

/// Reads and writes the messages of `transfer/1`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let header = frame::read(io, MAX_REQUEST).await?;
        let request = request::decode(&header)?;
        frame::read_end(io).await?;
        Ok(request)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_response(io, MAX_PAYLOAD, &Buffers::default()).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&frame::encode(request::encode(&request)?, MAX_REQUEST)?)
            .await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let header = response::encode(&response)?;
        io.write_all(&frame::encode(header, MAX_RESPONSE)?).await?;
        for slice in response::into_slices(response) {
            io.write_all(&slice).await?;
        }
        Ok(())
    }
}

/// Reads a response whose payload, as far as the reader knows, needs at most `max_payload` bytes, into one of
/// `buffers`.
///
/// # Errors
/// `InvalidData` when the bytes are no response; `UnexpectedEof` when they end early.
pub async fn read_response<T: AsyncRead + Unpin>(
    io: &mut T,
    max_payload: u64,
    buffers: &Buffers,
) -> io::Result<Response> {
    let header = response::Header::decode(&frame::read(io, MAX_RESPONSE).await?)?;
    let len = header.payload_len();
    if len as u64 > max_payload {
        return Err(invalid(format_args!(
            "a payload of {len} bytes; at most {max_payload} are needed"
        )));
    }
    let payload = frame::read_payload(io, len, buffers).await?;
    frame::read_end(io).await?;
    Ok(header.join(payload))
}

/// The error for bytes of a peer that are no message.
fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}

/// The error for a message of ours that may not be sent.
fn refused(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.to_string())
}
