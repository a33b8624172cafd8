//! The control API, served on a local socket, and over TCP to who shows a token.
//!
//! Does no work of its own: every answer comes from a handle of the node. Is reached over the network only where
//! configuration says so, and speaks no TLS: that is for a proxy. Who may do what follows from who connected to the
//! socket, or from the scopes of the token.
//!
//! # Invariants
//!
//! * A caller never reaches, through the node, a file that it could not open itself.
//! * What a call takes is in one table (`rights`); what is not in it is for administrators alone.
//! * A secret is kept as its hash, and compared in a time that tells nothing.
//! * Nothing here grows without bound: connections, running operations, ended ones, events, headers and bodies.
//! * No request can hold the node open: streams end when it stops.

mod attempts;
mod board;
mod caller;
mod config;
mod configuration;
mod doctor;
mod events;
mod extract;
mod flows;
mod gate;
mod hosts;
mod link;
mod listen;
mod log;
mod operations;
mod problem;
mod rights;
mod routes;
mod scrape;
mod secret;
mod server;
mod sessions;
mod socket;
mod tcp;
mod tokens;

pub use self::{
    board::{Board, Follows, Wanted},
    config::{BuildError, Config, Handles, NodeInfo},
    configuration::{Asked, Configuration, Facts, Wish},
    doctor::{Doctor, Examine},
    listen::{Listen, ListenError},
    log::Log,
    routes::openapi,
    scrape::Metrics,
    server::Server,
    socket::BindError,
    tokens::TokenFileError,
};
