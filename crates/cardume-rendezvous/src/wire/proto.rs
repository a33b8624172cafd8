//! Messages as protobuf has them, and what they mean.
use std::io;

use super::{
    Discovered, MAX_COOKIE, MAX_NAMESPACE, MAX_REGISTRATIONS, Record, Refused, Registration, Request,
    Response, invalid,
};

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

/// Kinds of messages.
pub(super) const REGISTER: i32 = 0;
const REGISTER_RESPONSE: i32 = 1;
const UNREGISTER: i32 = 2;
const DISCOVER: i32 = 3;
pub(super) const DISCOVER_RESPONSE: i32 = 4;

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        let mut message = Self::default();
        match request {
            Request::Register {
                namespace,
                record,
                ttl,
            } => {
                message.kind = Some(REGISTER);
                message.register = Some(Register {
                    namespace: Some(namespace),
                    record: Some(record.signed),
                    ttl,
                });
            }
            Request::Unregister { namespace } => {
                message.kind = Some(UNREGISTER);
                message.unregister = Some(Unregister {
                    namespace: Some(namespace),
                });
            }
            Request::Discover {
                namespace,
                limit,
                cookie,
            } => {
                message.kind = Some(DISCOVER);
                message.discover = Some(Discover {
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

impl TryFrom<Message> for Request {
    type Error = io::Error;

    fn try_from(message: Message) -> io::Result<Self> {
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

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        let number = |refused: &Refused| Some(refused.number());
        match response {
            Response::Registered(granted) => Self {
                kind: Some(REGISTER_RESPONSE),
                register_response: Some(RegisterResponse {
                    status: granted.as_ref().map_or_else(number, |_| Some(0)),
                    ttl: granted.ok(),
                }),
                ..Self::default()
            },
            Response::Discovered(discovered) => {
                let status = discovered.as_ref().map_or_else(number, |_| Some(0));
                let discovered = discovered.unwrap_or_default();
                let registrations = discovered.registrations.into_iter().map(|one| Register {
                    namespace: Some(one.namespace),
                    record: Some(one.record.signed),
                    ttl: Some(one.ttl),
                });
                Self {
                    kind: Some(DISCOVER_RESPONSE),
                    discover_response: Some(DiscoverResponse {
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

impl TryFrom<Message> for Response {
    type Error = io::Error;

    fn try_from(message: Message) -> io::Result<Self> {
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
