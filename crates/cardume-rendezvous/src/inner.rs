//! The behaviours inside this one.
use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
};

use cardume_behaviour::{Onlooker, Onlooking};
use libp2p_identity::PeerId;
use libp2p_request_response as request_response;
use libp2p_swarm::{NetworkBehaviour, ToSwarm, dial_opts::DialOpts};
use multiaddr::Multiaddr;

use crate::wire::{Codec, Request, Response};

/// Requests and answers, and what is asked of the swarm.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude", to_swarm = "Told")]
pub struct Inner {
    pub(crate) requests: request_response::Behaviour<Codec>,
    pub(crate) orders: Onlooking<Orders>,
}

/// What is said of requests.
#[derive(Debug)]
pub struct Told(pub(crate) request_response::Event<Request, Response>);

impl From<request_response::Event<Request, Response>> for Told {
    fn from(event: request_response::Event<Request, Response>) -> Self {
        Self(event)
    }
}

impl From<Infallible> for Told {
    fn from(event: Infallible) -> Self {
        match event {}
    }
}

/// Hands orders to the swarm in turn.
#[derive(Default)]
pub struct Orders {
    pending: VecDeque<ToSwarm<Infallible, Infallible>>,
}

impl Orders {
    pub(crate) fn dial(&mut self, opts: DialOpts) {
        self.pending.push_back(ToSwarm::Dial { opts });
    }

    /// Tells the other behaviours where a peer may be.
    pub(crate) fn tell(&mut self, peer_id: PeerId, address: Multiaddr) {
        self.pending
            .push_back(ToSwarm::NewExternalAddrOfPeer { peer_id, address });
    }
}

impl Onlooker for Orders {
    type Event = Infallible;

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
