//! The swarm: its transports, its limits, and the loop that turns it.

use std::{
    io,
    net::SocketAddr,
    num::{NonZeroU8, NonZeroUsize},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, TransportError,
    core::upgrade::Version,
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{self, SwarmEvent},
};
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio_util::sync::CancellationToken;

use crate::{behaviour::Behaviour, error::StartError};

/// Substreams whose protocol is still being negotiated; a peer that opens more and says nothing is shut out.
const MAX_NEGOTIATING_STREAMS: usize = 32;
/// Connections tried at once for one dial.
const DIAL_CONCURRENCY: NonZeroU8 = NonZeroU8::new(8).expect("8 is not 0");
/// Events for one connection that wait for it.
const HANDLER_BUFFER: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");

/// Builds the swarm on the transports of [`cardume_transport`]; every connection passes `gate` first.
pub(crate) fn build(
    key: &Keypair,
    config: &cardume_connect::Config,
    transport: cardume_transport::Options,
    relays: cardume_nat::Transport,
    gate: &cardume_membership::Gate,
    behaviour: Behaviour,
) -> Result<Swarm<Behaviour>, StartError> {
    let transport = cardume_transport::Options {
        screen: gate.screen().map(cardume_transport::Screen::new),
        ..transport
    };
    let transport = cardume_transport::build_with_relays(key, transport, relays)
        .map_err(|error| StartError::Identity(error.to_string()))?;
    // Last, over all of them: no behaviour may meet a peer that the gate has not let through.
    let transport = gate.guard(transport);
    let swarm = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.idle_timeout.get())
        .with_smart_dial()
        .with_dial_concurrency_factor(DIAL_CONCURRENCY)
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
        .with_notify_handler_buffer_size(HANDLER_BUFFER)
        .with_per_connection_event_buffer_size(32);
    let local = key.public().to_peer_id();
    Ok(Swarm::new(transport, behaviour, local, swarm))
}

/// Listens on every address, or says which one is taken.
///
/// An IPv6 address on a host without IPv6 is passed over, as long as another one works.
pub(crate) fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<(), StartError> {
    let mut listening = 0;
    for address in addresses {
        let result = probe(address).and_then(|()| {
            swarm.listen_on(address.clone()).map_err(|error| match error {
                TransportError::MultiaddrNotSupported(_) => io::Error::new(
                    io::ErrorKind::Unsupported,
                    "no transport of this node listens there",
                ),
                TransportError::Other(error) => error,
            })
        });
        match result {
            Ok(_) => listening += 1,
            Err(error) if is_ip6(address) && lacks_ip6(&error) => {
                tracing::info!(%address, %error, "this host has no IPv6 there; passed over");
            }
            Err(source) => {
                return Err(StartError::Listen {
                    address: address.clone(),
                    source,
                });
            }
        }
    }
    if listening == 0 && !addresses.is_empty() {
        return Err(StartError::Deaf);
    }
    Ok(())
}

/// Binds and lets go. libp2p sets SO_REUSEPORT on TCP listeners (to dial from their port), so two daemons of
/// one user would both bind, and each would get half of the connections; a plain bind finds the other.
fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => bind(SocketAddr::new(ip, port), SocketType::STREAM),
        Some(Protocol::Udp(port)) if port != 0 => bind(SocketAddr::new(ip, port), SocketType::DGRAM),
        _ => Ok(()),
    }
}

fn bind(address: SocketAddr, kind: SocketType) -> io::Result<()> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = rustix::net::socket(family, kind, None)?;
    if address.is_ipv6() {
        // As the transports do: the IPv4 port is another listener's.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        // Connections of a node that has just stopped may linger on the port; they are not in the way.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&socket, 1)?;
    }
    Ok(())
}

fn is_ip6(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(_)))
}

fn lacks_ip6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::AddrNotAvailable || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

/// Turns the swarm until `stop`. It only logs: features answer their callers themselves.
pub(crate) async fn run(mut swarm: Swarm<Behaviour>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = swarm.select_next_some() => log(&event),
        }
    }
}

fn log<E: std::fmt::Debug>(event: &SwarmEvent<E>) {
    match event {
        SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
        SwarmEvent::ExpiredListenAddr { address, .. } => tracing::info!(%address, "no longer listening"),
        SwarmEvent::ListenerClosed {
            addresses,
            reason: Err(error),
            ..
        } => tracing::error!(?addresses, %error, "a listener died"),
        SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener failed to accept"),
        SwarmEvent::ExternalAddrConfirmed { address } => tracing::info!(%address, "reachable at"),
        SwarmEvent::ConnectionEstablished {
            peer_id,
            endpoint,
            num_established,
            ..
        } => {
            tracing::debug!(peer = %peer_id, address = %endpoint.get_remote_address(), connections = num_established, "connected");
        }
        SwarmEvent::ConnectionClosed {
            peer_id,
            cause,
            num_established,
            ..
        } => {
            tracing::debug!(peer = %peer_id, ?cause, connections = num_established, "disconnected");
        }
        SwarmEvent::IncomingConnectionError {
            send_back_addr,
            error,
            ..
        } => {
            tracing::debug!(address = %send_back_addr, %error, "an incoming connection failed");
        }
        SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
            tracing::debug!(peer = ?peer_id, %error, "could not connect")
        }
        event => tracing::trace!(?event),
    }
}
