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

mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(int32, optional, tag = "1")]
        pub(super) kind: Option<i32>,
        #[prost(message, optional, tag = "2")]
        pub(super) register: Option<Register>,
        #[prost(message, optional, tag = "3")]
        pub(super) register_response: Option<RegisterResponse>,
        #[prost(message, optional, tag = "4")]
        pub(super) unregister: Option<Unregister>,
        #[prost(message, optional, tag = "5")]
        pub(super) discover: Option<Discover>,
        #[prost(message, optional, tag = "6")]
        pub(super) discover_response: Option<DiscoverResponse>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Register {
        #[prost(string, optional, tag = "1")]
        pub(super) namespace: Option<String>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) record: Option<Vec<u8>>,
        #[prost(uint64, optional, tag = "3")]
        pub(super) ttl: Option<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RegisterResponse {
        #[prost(int32, optional, tag = "1")]
        pub(super) status: Option<i32>,
        #[prost(uint64, optional, tag = "3")]
        pub(super) ttl: Option<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Unregister {
        #[prost(string, optional, tag = "1")]
        pub(super) namespace: Option<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Discover {
        #[prost(string, optional, tag = "1")]
        pub(super) namespace: Option<String>,
        #[prost(uint64, optional, tag = "2")]
        pub(super) limit: Option<u64>,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub(super) cookie: Option<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct DiscoverResponse {
        #[prost(message, repeated, tag = "1")]
        pub(super) registrations: Vec<Register>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) cookie: Option<Vec<u8>>,
        #[prost(int32, optional, tag = "3")]
        pub(super) status: Option<i32>,
    }
}

/// Kinds of messages.
const REGISTER: i32 = 0;
const REGISTER_RESPONSE: i32 = 1;
const UNREGISTER: i32 = 2;
const DISCOVER: i32 = 3;
const DISCOVER_RESPONSE: i32 = 4;

impl From<Request> for proto::Message {
    fn from(request: Request) -> Self {
        let mut message = Self::default();
        match request {
            Request::Register {
                namespace,
                record,
                ttl,
            } => {
                message.kind = Some(REGISTER);
                message.register = Some(proto::Register {
                    namespace: Some(namespace),
                    record: Some(record.signed),
                    ttl,
                });
            }
            Request::Unregister { namespace } => {
                message.kind = Some(UNREGISTER);
                message.unregister = Some(proto::Unregister {
                    namespace: Some(namespace),
                });
            }
            Request::Discover {
                namespace,
                limit,
                cookie,
            } => {
                message.kind = Some(DISCOVER);
                message.discover = Some(proto::Discover {
                    namespace,
                    limit,
                    cookie,
                });
            }
            Request::Malformed(_) => {}
        }
        message
    }
}

impl TryFrom<proto::Message> for Request {
    type Error = io::Error;

    fn try_from(message: proto::Message) -> io::Result<Self> {
        let is_long =
            |namespace: &Option<String>| namespace.as_ref().is_some_and(|n| n.len() > MAX_NAMESPACE);
        match (
            message.kind,
            message.register,
            message.unregister,
            message.discover,
        ) {
            (Some(REGISTER), Some(register), ..) => {
                let Some(namespace) = register.namespace.filter(|name| name.len() <= MAX_NAMESPACE) else {
                    return Ok(Self::Malformed(Refused::Namespace));
                };
                let Some(record) = register.record.and_then(Record::verify) else {
                    return Ok(Self::Malformed(Refused::Record));
                };
                Ok(Self::Register {
                    namespace,
                    record,
                    ttl: register.ttl,
                })
            }
            (Some(UNREGISTER), _, Some(unregister), _) => Ok(Self::Unregister {
                namespace: unregister.namespace.unwrap_or_default(),
            }),
            (Some(DISCOVER), _, _, Some(discover)) if !is_long(&discover.namespace) => Ok(Self::Discover {
                namespace: discover.namespace,
                limit: discover.limit,
                cookie: discover.cookie,
            }),
            _ => Err(invalid("no request of the rendezvous protocol")),
        }
    }
}

impl From<Response> for proto::Message {
    fn from(response: Response) -> Self {
        let number = |refused: &Refused| Some(refused.number());
        match response {
            Response::Registered(granted) => Self {
                kind: Some(REGISTER_RESPONSE),
                register_response: Some(proto::RegisterResponse {
                    status: granted.as_ref().map_or_else(number, |_| Some(0)),
                    ttl: granted.ok(),
                }),
                ..Self::default()
            },
            Response::Discovered(discovered) => {
                let status = discovered.as_ref().map_or_else(number, |_| Some(0));
                let discovered = discovered.unwrap_or_default();
                let registrations = discovered.registrations.into_iter().map(|one| proto::Register {
                    namespace: Some(one.namespace),
                    record: Some(one.record.signed),
                    ttl: Some(one.ttl),
                });
                Self {
                    kind: Some(DISCOVER_RESPONSE),
                    discover_response: Some(proto::DiscoverResponse {
                        registrations: registrations.collect(),
                        cookie: Some(discovered.cookie),
                        status,
                    }),
                    ..Self::default()
                }
            }
        }
    }
}

impl TryFrom<proto::Message> for Response {
    type Error = io::Error;

    fn try_from(message: proto::Message) -> io::Result<Self> {
        match (message.kind, message.register_response, message.discover_response) {
            (Some(REGISTER_RESPONSE), Some(answer), _) => {
                let granted = Refused::check(answer.status).map(|()| answer.ttl.unwrap_or_default());
                Ok(Self::Registered(granted))
            }
            (Some(DISCOVER_RESPONSE), _, Some(answer)) => {
                Ok(Self::Discovered(Refused::check(answer.status).map(|()| {
                    // One that is not valid is that peer's own fault.
                    let valid = answer.registrations.into_iter().filter_map(|one| {
                        Some(Registration {
                            namespace: one.namespace?,
                            record: one.record.and_then(Record::verify)?,
                            ttl: one.ttl.unwrap_or_default(),
                        })
                    });
                    Discovered {
                        registrations: valid.take(MAX_REGISTRATIONS).collect(),
                        cookie: answer
                            .cookie
                            .filter(|c| c.len() <= MAX_COOKIE)
                            .unwrap_or_default(),
                    }
                })))
            }
            _ => Err(invalid("no answer of the rendezvous protocol")),
        }
    }
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
            kind: Some(REGISTER),
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
            kind: Some(DISCOVER_RESPONSE),
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
