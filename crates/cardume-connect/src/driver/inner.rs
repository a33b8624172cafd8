//! The behaviours inside this one.
use std::{collections::HashSet, convert::Infallible};

use cardume_behaviour::Onlooking;
use libp2p_allow_block_list::{self as block_list, BlockedPeers};
use libp2p_connection_limits as connection_limits;
use libp2p_identify as identify_protocol;
use libp2p_identity::PeerId;
use libp2p_ping as ping;
use libp2p_swarm::NetworkBehaviour;

use crate::{announce, book, identify, keep, limits, memory, orders, pending, settings::Settings};

/// Everything that a connection has to do with, those that may refuse it first.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude", to_swarm = "Told")]
pub struct Inner {
    pub(crate) sources: Onlooking<limits::Limits>,
    pub(crate) pending: Onlooking<pending::Pending>,
    pub(crate) totals: connection_limits::Behaviour,
    pub(crate) memory: Onlooking<memory::Memory>,
    pub(crate) blocked: block_list::Behaviour<BlockedPeers>,
    pub(crate) identify: identify::Scoped,
    pub(crate) ping: ping::Behaviour,
    pub(crate) announce: Onlooking<announce::Announce>,
    pub(crate) book: Onlooking<book::reader::Reader>,
    pub(crate) keep: keep::Behaviour,
    pub(crate) orders: Onlooking<orders::Orders>,
    /// Opens streams for pings on demand; takes none.
    pub(crate) streams: libp2p_stream::Behaviour,
}

impl Inner {
    /// Takes over what can change while the swarm turns, in place of `before`. Connections there are stay.
    pub(crate) fn configure(
        &mut self,
        settings: &Settings,
        before: &HashSet<PeerId>,
        is_connected: impl Fn(&PeerId) -> bool,
    ) {
        let Settings { config, named } = settings;
        let addresses = || named.addresses.iter().map(|(_, address)| address);
        self.sources.set(config.max_per_address);
        self.pending.set(config.max_pending_inbound, addresses());
        self.memory.set(config.memory_ceiling.get());
        self.book.configure(&named.addresses);
        *self.totals.limits_mut() = config.totals();
        before.iter().for_each(|peer| self.totals.remove_peer_id(peer));
        named
            .known
            .iter()
            .for_each(|peer| self.totals.bypass_peer_id(peer));
        self.keep.set(
            &named.keep,
            &named.bootstrap,
            config.idle_connections(),
            is_connected,
        );
    }
}

/// What those of them that talk have to say.
#[derive(Debug)]
pub enum Told {
    /// A peer said what it is.
    Identify(Box<identify_protocol::Event>),
    /// A ping was answered, or not.
    Ping(ping::Event),
}

impl From<identify_protocol::Event> for Told {
    fn from(event: identify_protocol::Event) -> Self {
        Self::Identify(Box::new(event))
    }
}

impl From<ping::Event> for Told {
    fn from(event: ping::Event) -> Self {
        Self::Ping(event)
    }
}

impl From<()> for Told {
    fn from((): ()) -> Self {
        unreachable!("streams are handed out by their control, never as events")
    }
}

impl From<Infallible> for Told {
    fn from(event: Infallible) -> Self {
        match event {}
    }
}
