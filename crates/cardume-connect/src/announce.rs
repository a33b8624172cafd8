//! Tells the swarm which of our addresses others can dial: what we listen on, and what configuration names.
use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
};

use cardume_behaviour::Onlooker;
use libp2p_core::Multiaddr;
use libp2p_swarm::{FromSwarm, ToSwarm};

use crate::address::{bare, is_dialable, is_relayed};

/// Confirms configured and listen addresses as external.
///
/// A host that has a public address on an interface is reachable there as far as it can know; one
/// behind a NAT has private addresses only, which are told to private networks only.
pub struct Announce {
    configured: HashSet<Multiaddr>,
    pending: VecDeque<ToSwarm<Infallible, Infallible>>,
}

impl Announce {
    pub(crate) fn new(configured: &[Multiaddr]) -> Self {
        let configured: HashSet<_> = configured.iter().map(bare).collect();
        Self {
            pending: configured
                .iter()
                .cloned()
                .map(ToSwarm::ExternalAddrConfirmed)
                .collect(),
            configured,
        }
    }
}

impl Onlooker for Announce {
    type Event = Infallible;

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // A place at a relay is confirmed by who asked for it, and goes with it.
            FromSwarm::NewListenAddr(new) if is_dialable(new.addr) && !is_relayed(new.addr) => {
                self.pending
                    .push_back(ToSwarm::ExternalAddrConfirmed(bare(new.addr)));
            }
            FromSwarm::ExpiredListenAddr(expired) if !is_relayed(expired.addr) => {
                let address = bare(expired.addr);
                if !self.configured.contains(&address) {
                    self.pending.push_back(ToSwarm::ExternalAddrExpired(address));
                }
            }
            _ => {}
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
