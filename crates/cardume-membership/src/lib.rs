//! Who belongs to a network, and the gate that every connection passes before any protocol answers.
//!
//! The gate stands on the transport: behind the handshake that proves the peer's id, and before the swarm sees the
//! connection. So it holds for every way in alike. In a certified network both sides show there what an authority has
//! signed; `docs/protocols/membership.md` describes every byte. It deliberately limits no rates and knows no content:
//! who of those let in may do what is for [`cardume_access`](../cardume_access/index.html) and for whoever serves the
//! request.
//!
//! # Invariants
//!
//! * In a network that is not open, nothing but the gate itself speaks to a peer that has not passed it.
//! * Who only listens shows its certificate to members only.
//! * Nothing that is signed counts before its signature is verified, and it has one encoding only.
//! * Who is no member any more is cut off within seconds.
//! * Whatever strangers do, each has one stream, one message of 3 KiB and five seconds.
mod agree;
mod armor;
mod authority;
mod build;
mod certificate;
mod config;
mod files;
mod gate;
mod handle;
mod handshake;
mod members;
mod message;
mod revocation;
mod sealed;
mod server;
mod suspects;
mod watch;

pub use self::{
    armor::Armored,
    authority::{Authority, AuthorityError},
    build::BuildError,
    certificate::{
        CLOCK_SKEW, Certificate, Flaw, MAX_CERTIFICATE, MAX_GROUP, MAX_GROUPS, MAX_LIFETIME, Serial,
        SerialError, SignError, Terms,
    },
    config::{Access, AuthoritiesError, Config, MAX_AUTHORITIES},
    files::{
        FileError, certificate as read_certificate, keep as write_revocations,
        revocations as read_revocations,
    },
    gate::{Gate, Refused, Transport},
    handle::{Handle, Own},
    revocation::{MAX_LIST, RevocationList, Revoked},
    server::{Files, Server},
    watch::Watch,
};

/// The behaviour of this feature, for the node's swarm.
#[derive(libp2p_swarm::NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude", to_swarm = "Told")]
pub struct Behaviour {
    watch: cardume_behaviour::Onlooking<Watch>,
    streams: libp2p_stream::Behaviour,
}

/// Nothing: neither part of [`Behaviour`] has anything to say.
#[derive(Debug)]
pub enum Told {}

impl From<std::convert::Infallible> for Told {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<()> for Told {
    fn from((): ()) -> Self {
        unreachable!("streams are handed out by their control, never as events")
    }
}
