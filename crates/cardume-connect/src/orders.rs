//! What the driver asks of the swarm: dials and closes.
use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
};

use cardume_behaviour::Onlooker;
use libp2p_identity::PeerId;
use libp2p_swarm::{CloseConnection, ToSwarm, dial_opts::DialOpts};

/// Hands orders to the swarm in turn.
#[derive(Default)]
pub struct Orders {
    pending: VecDeque<ToSwarm<Infallible, Infallible>>,
}

impl Orders {
    pub(crate) fn dial(&mut self, opts: DialOpts) {
        self.pending.push_back(ToSwarm::Dial { opts });
    }

    pub(crate) fn close(&mut self, peer_id: PeerId, connection: CloseConnection) {
        self.pending
            .push_back(ToSwarm::CloseConnection { peer_id, connection });
    }
}

impl Onlooker for Orders {
    type Event = Infallible;

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
