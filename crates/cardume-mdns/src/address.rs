//! Which announced addresses are believed.
use std::net::IpAddr;

use cardume_behaviour::Listening;
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;

/// Longer ones are not kept: no transport of ours needs as much.
const MAX_LENGTH: usize = 256;

/// The address as others dial it, without the peer at its end; `None` when that is another peer.
pub(crate) fn bare(peer: PeerId, announced: &Multiaddr) -> Option<Multiaddr> {
    let mut address = announced.clone();
    if let Some(Protocol::P2p(named)) = address.iter().last() {
        if named != peer {
            return None;
        }
        address.pop();
    }
    Some(address)
}

/// Whether an address is to be dialled and passed on: discovery on a link has no say about others.
///
/// It leads to this host, to a private network, or, since the answer came from the link, to where this
/// node listens itself: many a campus has public addresses only.
pub(crate) fn is_believable(address: &Multiaddr, listening: &Listening) -> bool {
    let printable = || address.to_string().bytes().all(|byte| byte.is_ascii_graphic());
    address.len() <= MAX_LENGTH
        && host(address).is_some_and(|ip| is_local(ip) || listening.is_on_link(address))
        && printable()
}

/// The IP address, if there is a port to dial at it, and no relay.
fn host(address: &Multiaddr) -> Option<IpAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let port = match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => port,
        _ => return None,
    };
    let relayed = parts.any(|part| matches!(part, Protocol::P2pCircuit));
    (port != 0 && !relayed).then_some(ip)
}

/// Whether an address is private, or that of this host.
///
/// Link-local IPv6 addresses are left out: they need the name of an interface, and cannot be dialled.
fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use libp2p_core::transport::ListenerId;
    use libp2p_swarm::{FromSwarm, NewListenAddr};

    use super::*;

    fn listening(texts: &[&str]) -> Listening {
        let mut listening = Listening::default();
        for text in texts {
            let new = NewListenAddr {
                listener_id: ListenerId::next(),
                addr: &text.parse().unwrap(),
            };
            listening.on_swarm_event(&FromSwarm::NewListenAddr(new));
        }
        listening
    }

    #[test]
    fn private_addresses_are_believed_wherever_we_listen() {
        for text in [
            "/ip4/192.168.1.7/tcp/4011",
            "/ip4/10.0.0.1/udp/4011/quic-v1",
            "/ip4/169.254.9.9/tcp/4011",
            "/ip4/127.0.0.1/tcp/4011",
            "/ip6/fd12::1/tcp/4011",
            "/ip6/fd12::1/udp/4011/quic-v1",
        ] {
            assert!(
                is_believable(&text.parse().unwrap(), &Listening::default()),
                "{text}"
            );
        }
    }

    #[test]
    fn public_addresses_are_believed_on_our_own_link_only() {
        let listening = listening(&["/ip4/192.0.2.1/tcp/4011", "/ip6/2001:db8:0:7::1/tcp/4011"]);
        for text in [
            "/ip4/192.0.2.7/tcp/4011",
            "/ip4/192.0.2.7/udp/4011/quic-v1",
            "/ip6/2001:db8:0:7::9/tcp/4011",
        ] {
            let address = text.parse().unwrap();
            assert!(is_believable(&address, &listening), "{text}");
            assert!(!is_believable(&address, &Listening::default()), "{text}");
        }
    }

    #[test]
    fn addresses_elsewhere_are_not_believed() {
        let listening = listening(&[
            "/ip4/192.0.2.1/tcp/4011",
            "/ip6/2001:db8:0:7::1/tcp/4011",
            "/ip6/fe80::9/tcp/4011",
        ]);
        for text in [
            "/ip4/203.0.113.1/tcp/4011",
            "/ip6/2001:db8::1/tcp/4011",
            "/ip6/::ffff:203.0.113.1/tcp/4011",
            "/ip6/fe80::1/tcp/4011",
            "/ip4/192.168.1.7/tcp/0",
            "/ip4/192.0.2.7/tcp/0",
            "/ip4/192.168.1.7",
            "/dns4/example.org/tcp/4011",
            "/memory/7",
            "/ip4/192.168.1.7/tcp/4011/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
        ] {
            assert!(!is_believable(&text.parse().unwrap(), &listening), "{text}");
        }
    }

    #[test]
    fn an_address_is_told_without_its_peer_and_never_with_another() {
        let (peer, address): (_, Multiaddr) =
            (PeerId::random(), "/ip4/192.168.1.7/tcp/4011".parse().unwrap());
        let named = |peer| address.clone().with_p2p(peer).unwrap();
        assert_eq!(bare(peer, &named(peer)), Some(address.clone()));
        assert_eq!(bare(peer, &address), Some(address.clone()));
        assert_eq!(bare(peer, &named(PeerId::random())), None);
    }
}
