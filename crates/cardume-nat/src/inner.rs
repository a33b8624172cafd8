//! The behaviours inside this one.
use std::convert::Infallible;

use cardume_behaviour::Onlooking;
use libp2p_autonat::v2 as autonat;
use libp2p_dcutr as dcutr;
use libp2p_relay as relay;
use libp2p_swarm::{NetworkBehaviour, behaviour::toggle::Toggle};
use libp2p_upnp as upnp;

use crate::{checker::Checker, paths::Paths, places::Places, prober::Prober};

/// Everything that reachability has to do with.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude", to_swarm = "Told")]
pub struct Inner {
    pub(crate) places: Onlooking<Places>,
    pub(crate) paths: Onlooking<Paths>,
    pub(crate) client: relay::client::Behaviour,
    pub(crate) server: Toggle<relay::Behaviour>,
    pub(crate) prober: Prober,
    pub(crate) checker: Toggle<Checker>,
    pub(crate) punch: Toggle<dcutr::Behaviour>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
}

/// What those of them that talk have to say.
#[derive(Debug)]
pub enum Told {
    Client(relay::client::Event),
    Server(relay::Event),
    Probed(autonat::client::Event),
    Checked(autonat::server::Event),
    Punched(dcutr::Event),
    Upnp(upnp::Event),
}

macro_rules! told {
    ($($variant:ident($event:ty)),* $(,)?) => {
        $(impl From<$event> for Told {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

told!(
    Client(relay::client::Event),
    Server(relay::Event),
    Probed(autonat::client::Event),
    Checked(autonat::server::Event),
    Punched(dcutr::Event),
    Upnp(upnp::Event),
);

impl From<Infallible> for Told {
    fn from(event: Infallible) -> Self {
        match event {}
    }
}
