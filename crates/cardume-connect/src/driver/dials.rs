//! Dials that callers wait for.
use std::collections::HashMap;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionId,
    dial_opts::{DialOpts, PeerCondition},
};
use tokio::sync::oneshot;

use super::answer;
use crate::ConnectError;

/// Callers that wait at once; dials are limited elsewhere, but many callers may share one.
const MAX_CALLERS: usize = 4096;

/// The way back to a caller.
pub(super) enum Reply {
    /// It knows who it wanted.
    Done(oneshot::Sender<Result<(), ConnectError>>),
    /// It wants to know who answered.
    Peer(oneshot::Sender<Result<PeerId, ConnectError>>),
}

impl Reply {
    pub(super) fn succeed(self, peer: PeerId) {
        match self {
            Self::Done(reply) => answer(reply, Ok(())),
            Self::Peer(reply) => answer(reply, Ok(peer)),
        }
    }

    pub(super) fn fail(self, error: ConnectError) {
        match self {
            Self::Done(reply) => answer(reply, Err(error)),
            Self::Peer(reply) => answer(reply, Err(error)),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Done(reply) => reply.is_closed(),
            Self::Peer(reply) => reply.is_closed(),
        }
    }
}

struct Dial {
    peer: Option<PeerId>,
    addresses: Vec<Multiaddr>,
    callers: Vec<Reply>,
}

/// Each dial of ours with its callers.
#[derive(Default)]
pub(super) struct Dials {
    running: HashMap<ConnectionId, Dial>,
}

impl Dials {
    /// Waits for `peer`; what to dial, unless one already running covers `addresses`.
    pub(super) fn connect(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: Reply,
    ) -> Option<DialOpts> {
        let reply = self.admit(reply)?;
        let covers = |dial: &&mut Dial| {
            dial.peer == Some(peer) && addresses.iter().all(|a| dial.addresses.contains(a))
        };
        if let Some(dial) = self.running.values_mut().find(covers) {
            dial.callers.push(reply);
            return None;
        }
        // Not held up by a dial of somebody else, who may not know these addresses.
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(addresses.clone())
            .extend_addresses_through_behaviour()
            .build();
        self.start(&opts, Some(peer), addresses, reply);
        Some(opts)
    }

    /// Waits for whoever is at `address`; what to dial, unless it is being dialled.
    pub(super) fn dial(&mut self, address: Multiaddr, reply: Reply) -> Option<DialOpts> {
        let reply = self.admit(reply)?;
        let same = |dial: &&mut Dial| dial.peer.is_none() && dial.addresses.contains(&address);
        if let Some(dial) = self.running.values_mut().find(same) {
            dial.callers.push(reply);
            return None;
        }
        let opts = DialOpts::unknown_peer_id().address(address.clone()).build();
        self.start(&opts, None, vec![address], reply);
        Some(opts)
    }

    /// Answers everybody who waits for this peer.
    pub(super) fn established(&mut self, id: ConnectionId, peer: PeerId) {
        self.ended(id, Ok(peer));
        let others = self.running.values_mut().filter(|dial| dial.peer == Some(peer));
        others
            .flat_map(|dial| dial.callers.drain(..))
            .for_each(|reply| reply.succeed(peer));
    }

    /// Answers the callers of one dial.
    pub(super) fn ended(&mut self, id: ConnectionId, outcome: Result<PeerId, ConnectError>) {
        for reply in self.running.remove(&id).into_iter().flat_map(|dial| dial.callers) {
            match &outcome {
                Ok(peer) => reply.succeed(*peer),
                Err(error) => reply.fail(error.clone()),
            }
        }
    }

    fn start(&mut self, opts: &DialOpts, peer: Option<PeerId>, addresses: Vec<Multiaddr>, reply: Reply) {
        let dial = Dial {
            peer,
            addresses,
            callers: vec![reply],
        };
        self.running.insert(opts.connection_id(), dial);
    }

    /// Makes room by forgetting callers that have gone; refuses when all the others still wait.
    fn admit(&mut self, reply: Reply) -> Option<Reply> {
        let waiting = |dials: &Self| {
            dials
                .running
                .values()
                .map(|dial| dial.callers.len())
                .sum::<usize>()
        };
        if waiting(self) >= MAX_CALLERS {
            for dial in self.running.values_mut() {
                dial.callers.retain(|caller| !caller.is_abandoned());
            }
            if waiting(self) >= MAX_CALLERS {
                reply.fail(ConnectError::Denied(
                    "too many callers wait for connections; try again later".into(),
                ));
                return None;
            }
        }
        Some(reply)
    }
}
