//! TCP and UDP services reached through a peer: one node exposes what listens beside it, another listens in its stead.
//!
//! It opens no connections with peers itself, but asks for them; it knows no service and looks into nothing that passes.
//! `docs/protocols/tunnel.md` has the bytes.
//!
//! # Invariants
//!
//! * Nothing is reached that configuration, or an operator, has not named with its address and with who may use it.
//! * A peer that may not use a service is told what it would be told if there were none.
//! * What a peer sends chooses a service by its name, and nothing else: no address, no port.
//! * Memory for one connection is two buffers, and for one sender of datagrams a queue with a bound in bytes, whoever is
//!   slower; datagrams that wait too long are lost, as on any line.
mod board;
mod config;
mod expose;
mod forward;
mod handle;
mod lines;
mod pipe;
mod place;
mod queue;
mod server;
mod wire;

use std::{collections::BTreeMap, sync::Arc};

use cardume_access::Roll;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use tokio::sync::watch;

pub use self::{
    board::{State, Status},
    config::{Config, Mistake, Protocol, Role},
    handle::{CloseError, Handle, OpenError},
    place::Place,
    server::Server,
};

/// For the swarm: streams of its own, and nothing else.
pub type Behaviour = libp2p_stream::Behaviour;

/// Sees to it that there is a connection with a peer; what is wrong is told in words.
pub type Dial = Arc<dyn Fn(PeerId) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Builds what opens and serves the tunnels of a node of `network`: `table` is what configuration says, `roll` who is meant by
/// names in it, and `dial` how others are reached.
pub fn build(
    table: &BTreeMap<String, Config>,
    network: &str,
    roll: Roll,
    dial: Dial,
) -> (Behaviour, Handle, Server) {
    let behaviour = libp2p_stream::Behaviour::new();
    let mut control = behaviour.new_control();
    let protocol = wire::protocol(network);
    let incoming = control.accept(protocol.clone());
    let incoming = incoming.expect("nobody else takes this protocol");
    let board = board::Board::default();
    let entries = handle::Entries::configured(table);
    let handle = Handle::new(watch::Sender::new(entries), board.clone());
    let lines = lines::Lines {
        control,
        protocol,
        dial,
        roll,
    };
    let server = Server::new(handle.clone(), lines, incoming);
    (behaviour, handle, server)
}
