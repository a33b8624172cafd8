//! The transfer protocol: requests for content out, requests for content in.
//!
//! It deliberately knows no disk, verifies no slice and chooses no peer: what is asked for goes out to the
//! peer named, what is asked of us comes out of [`Server`] with a [`Responder`] each.
//!
//! # Invariants
//!
//! * Everything is bounded: requests on the wire in all and to one peer, requests waiting for a connection,
//!   requests being answered in all and for one peer, answers not yet sent, every size on the wire.
//! * Answers to peers never wait behind requests of ours ([`cardume_behaviour`] says why).
//! * A request of ours ends: with an answer, with an error, or because its caller has gone. Then its
//!   slot is free at once, and its stream is reset.
//! * A peer that cannot be reached, or is slow, takes slots of its own and not those of others.
//! * Content goes as fast as [`rates`] allow, and questions never wait behind it.
mod awaited;
mod buffers;
mod config;
mod driver;
mod error;
mod handle;
mod inbound;
mod lines;
pub mod message;
mod outbound;
mod paced;
pub mod rates;
mod server;
mod stream;
mod traffic;
pub mod wire;

pub use self::{
    awaited::Backlog,
    buffers::{Buffer, Buffers},
    config::Config,
    driver::{Behaviour, Event, Transfer},
    error::RequestError,
    handle::Handle,
    message::{Item, Request, Response, SwarmPeer},
    server::{Inbound, Responder, Server},
    traffic::Traffic,
};
