//! Messages on the wire: protobuf, after its length as a varint.
//!
//! <https://github.com/libp2p/specs/tree/master/rendezvous>
//!
//! Records are verified where they are read, which is on the task of their connection.
use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p_core::{PeerRecord, SignedEnvelope};
use libp2p_identity::{Keypair, PeerId};
use libp2p_request_response as request_response;
use libp2p_swarm::StreamProtocol;
use multiaddr::Multiaddr;
use prost::Message as _;

mod proto;

/// The protocol's name.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/1.0.0");
/// Registrations in one answer, at most, whoever gives it.
pub(crate) const MAX_REGISTRATIONS: usize = 64;
/// The longest name of a namespace, in bytes, as in the specification.
const MAX_NAMESPACE: usize = 255;
/// The longest signed record: sixteen long addresses, a key and a signature.
const MAX_RECORD: usize = 4 * 1024;
const MAX_COOKIE: usize = 8 + MAX_NAMESPACE;
const MAX_REQUEST: usize = MAX_RECORD + 1024;
const MAX_RESPONSE: usize = MAX_REGISTRATIONS * (MAX_RECORD + 512);

/// Why a point does not do what it is asked for, as numbers of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the namespace is not valid")]
    Namespace,
    #[error("the signed record is not valid")]
    Record,
    #[error("the point does not grant as much time")]
    Ttl,
    #[error("the cookie is not valid")]
    Cookie,
    #[error("that is not allowed there")]
    NotAuthorized,
    #[error("the point has failed")]
    Internal,
    #[error("the point is full")]
    Unavailable,
}

impl Refused {
    const ALL: [(Self, i32); 7] = [
        (Self::Namespace, 100),
        (Self::Record, 101),
        (Self::Ttl, 102),
        (Self::Cookie, 103),
        (Self::NotAuthorized, 200),
        (Self::Internal, 300),
        (Self::Unavailable, 400),
    ];

    fn number(self) -> i32 {
        let found = Self::ALL.iter().find(|(refused, _)| *refused == self);
        found.map_or(300, |(_, number)| *number)
    }

    /// What the number means; nothing for that of success.
    fn check(number: Option<i32>) -> Result<(), Self> {
        match number {
            Some(0) => Ok(()),
            number => {
                let found = Self::ALL.iter().find(|(_, known)| Some(*known) == number);
                Err(found.map_or(Self::Internal, |(refused, _)| *refused))
            }
        }
    }
}

/// Where a peer says that it is, as it has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) signed: Vec<u8>,
}

impl Record {
    /// Signs where this node is; `None` when the key does not sign.
    pub(crate) fn sign(key: &Keypair, addresses: Vec<Multiaddr>) -> Option<Self> {
        // The format that libp2p's own Rust implementation of the protocol reads.
        let record = PeerRecord::new(key, addresses.clone()).ok()?;
        Some(Self {
            peer: record.peer_id(),
            addresses,
            signed: record.into_signed_envelope().into_protobuf_encoding(),
        })
    }

    fn verify(signed: Vec<u8>) -> Option<Self> {
        if signed.len() > MAX_RECORD {
            return None;
        }
        let envelope = SignedEnvelope::from_protobuf_encoding(&signed).ok()?;
        let record = PeerRecord::from_signed_envelope(envelope.clone())
            .or_else(|_| PeerRecord::from_signed_envelope_interop(envelope))
            .ok()?;
        Some(Self {
            peer: record.peer_id(),
            addresses: record.addresses().to_vec(),
            signed,
        })
    }
}

/// What a client asks of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To be known there; seconds for which, if it cares.
    Register {
        namespace: String,
        record: Record,
        ttl: Option<u64>,
    },
    /// To be known no longer; has no answer.
    Unregister { namespace: String },
    /// Who else is known; those that were not yet known with `cookie`.
    Discover {
        namespace: Option<String>,
        limit: Option<u64>,
        cookie: Option<Vec<u8>>,
    },
    /// Something that is to be refused.
    Malformed(Refused),
}

/// What a point answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Seconds for which the client is known.
    Registered(Result<u64, Refused>),
    /// Who else is.
    Discovered(Result<Discovered, Refused>),
}

/// Peers that are known at a point.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    pub(crate) registrations: Vec<Registration>,
    pub(crate) cookie: Vec<u8>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) namespace: String,
    pub(crate) record: Record,
    pub(crate) ttl: u64,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Reads and writes messages.
#[derive(Debug, Clone)]
pub struct Codec;

async fn read<T: AsyncRead + Unpin>(io: &mut T, most: usize) -> io::Result<proto::Message> {
    let (mut len, mut shift) = (0_usize, 0);
    loop {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
        if shift > 21 {
            return Err(invalid("a length of more than four bytes"));
        }
    }
    if len > most {
        return Err(invalid(format!("a message of {len} bytes")));
    }
    let mut message = vec![0; len];
    io.read_exact(&mut message).await?;
    proto::Message::decode(&message[..]).map_err(invalid)
}

async fn write<T: AsyncWrite + Unpin>(io: &mut T, message: proto::Message) -> io::Result<()> {
    io.write_all(&message.encode_length_delimited_to_vec()).await?;
    io.close().await
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_REQUEST).await?.try_into()
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_RESPONSE).await?.try_into()
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, request.into()).await
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
        write(io, response.into()).await
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    fn record() -> Record {
        let address = "/ip4/192.0.2.1/tcp/4011".parse().unwrap();
        Record::sign(&Keypair::generate_ed25519(), vec![address]).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let register = Request::Register {
            namespace: "cardume/main".into(),
            record: record(),
            ttl: Some(7200),
        };
        let discover = Request::Discover {
            namespace: Some("cardume/main".into()),
            limit: Some(5),
            cookie: Some(vec![1; 8]),
        };
        let unregister = Request::Unregister {
            namespace: "cardume/main".into(),
        };
        for request in [register, discover, unregister] {
            let mut bytes = Cursor::new(Vec::new());
            block_on(write(&mut bytes, request.clone().into())).unwrap();
            let read = block_on(read(&mut &bytes.into_inner()[..], MAX_REQUEST)).unwrap();
            assert_eq!(Request::try_from(read).unwrap(), request);
        }
        let registration = Registration {
            namespace: "cardume/main".into(),
            record: record(),
            ttl: 60,
        };
        let discovered = Discovered {
            registrations: vec![registration],
            cookie: vec![7; 20],
        };
        for response in [
            Response::Registered(Ok(60)),
            Response::Registered(Err(Refused::Unavailable)),
            Response::Discovered(Ok(discovered)),
            Response::Discovered(Err(Refused::Cookie)),
        ] {
            let message = proto::Message::from(response.clone());
            assert_eq!(Response::try_from(message).unwrap(), response);
        }
    }

    #[test]
    fn records_that_nobody_has_signed_are_refused_or_left_out() {
        let mut forged = record().signed;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let register = |record: Vec<u8>| proto::Register {
            namespace: Some("cardume/main".into()),
            record: Some(record),
            ttl: Some(1),
        };
        let request = proto::Message {
            kind: Some(proto::REGISTER),
            register: Some(register(forged.clone())),
            ..proto::Message::default()
        };
        assert_eq!(
            Request::try_from(request).unwrap(),
            Request::Malformed(Refused::Record)
        );
        let mut registrations = vec![register(forged), register(vec![0; MAX_RECORD + 1])];
        registrations.extend((0..MAX_REGISTRATIONS + 1).map(|_| register(record().signed)));
        let response = proto::Message {
            kind: Some(proto::DISCOVER_RESPONSE),
            discover_response: Some(proto::DiscoverResponse {
                registrations,
                cookie: Some(vec![0; MAX_COOKIE + 1]),
                status: Some(0),
            }),
            ..proto::Message::default()
        };
        let Response::Discovered(Ok(discovered)) = Response::try_from(response).unwrap() else {
            panic!()
        };
        assert_eq!(discovered.registrations.len(), MAX_REGISTRATIONS);
        assert!(discovered.cookie.is_empty());
    }

    #[test]
    fn messages_that_are_none_or_too_long_are_errors() {
        for bytes in [
            &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0xff, 0xff, 0x7f],
            &[5, 1, 2],
            &[3, 0xff, 0xff, 0xff],
        ] {
            block_on(read(&mut &bytes[..], MAX_REQUEST)).unwrap_err();
        }
        // A point that answers with a request, and a client that asks with an answer.
        let asked = proto::Message::from(Request::Unregister {
            namespace: "x".into(),
        });
        Response::try_from(asked).unwrap_err();
        let answered = proto::Message::from(Response::Registered(Ok(1)));
        Request::try_from(answered).unwrap_err();
    }
}
