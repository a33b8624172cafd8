//! The control API served on a local socket.
//!
//! Does no work of its own: every answer comes from a handle of the node. Is never reached over the network, but
//! for its numbers where `[metrics]` says so: it listens on a unix socket, and who may do what follows from who connected.
//!
//! # Invariants
//!
//! * A caller never reaches, through the node, a file that it could not open itself.
//! * Nothing here grows without bound: connections, running operations, ended ones, events, headers and bodies.
//! * No request can hold the node open: streams end when it stops.

mod board;
mod caller;
mod config;
mod configuration;
mod events;
mod extract;
mod link;
mod operations;
mod problem;
mod routes;
mod scrape;
mod server;
mod socket;

pub use self::{
    board::{Board, Follows, Wanted},
    config::{BuildError, Config, Handles, NodeInfo},
    configuration::{Asked, Configuration, Facts, Wish},
    routes::openapi,
    scrape::Metrics,
    server::Server,
    socket::BindError,
};
