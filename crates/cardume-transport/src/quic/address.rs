//! Addresses of QUIC: `/ip4/192.0.2.1/udp/4011/quic-v1`, perhaps with `/p2p/` and a peer at the end.
use std::net::{IpAddr, SocketAddr};

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;

/// Where `address` leads, and to whom if it says so; `None` when it is of another transport.
pub(super) fn parse(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else {
        return None;
    };
    let Protocol::QuicV1 = parts.next()? else {
        return None;
    };
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    parts
        .next()
        .is_none()
        .then_some((SocketAddr::new(ip, port), peer))
}

/// As [`parse`], for an address that can be dialled: one with a host and a port.
pub(super) fn parse_remote(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    parse(address).filter(|(at, _)| at.port() != 0 && !at.ip().is_unspecified())
}

/// The address of `at`.
pub(super) fn of(at: SocketAddr) -> Multiaddr {
    Multiaddr::from(at.ip())
        .with(Protocol::Udp(at.port()))
        .with(Protocol::QuicV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooW9xk7Zp1gejwfwNpfm6L9zH5NL4Bx5rm94LRYJJHJuARZ";

    #[test]
    fn an_address_is_one_of_quic_or_none_of_ours() {
        let peer: PeerId = PEER.parse().unwrap();
        for (text, expected) in [
            ("/ip4/192.0.2.1/udp/4011/quic-v1", Some(("192.0.2.1:4011", None))),
            ("/ip6/::1/udp/1/quic-v1", Some(("[::1]:1", None))),
            (
                &format!("/ip4/192.0.2.1/udp/1/quic-v1/p2p/{PEER}"),
                Some(("192.0.2.1:1", Some(peer))),
            ),
            ("/ip4/192.0.2.1/udp/1", None),
            ("/ip4/192.0.2.1/udp/1/quic", None),
            ("/ip4/192.0.2.1/tcp/1", None),
            ("/ip4/192.0.2.1/udp/1/quic-v1/p2p-circuit", None),
            (
                &format!("/ip4/192.0.2.1/udp/1/quic-v1/p2p/{PEER}/p2p-circuit"),
                None,
            ),
            ("/dns4/example.org/udp/1/quic-v1", None),
        ] {
            let expected = expected.map(|(at, peer)| (at.parse().unwrap(), peer));
            assert_eq!(parse(&text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn nobody_is_dialled_without_a_host_or_a_port() {
        for text in ["/ip4/0.0.0.0/udp/1/quic-v1", "/ip6/::1/udp/0/quic-v1"] {
            let address = text.parse().unwrap();
            assert!(
                parse(&address).is_some() && parse_remote(&address).is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_that_is_written_reads_the_same() {
        for text in ["192.0.2.1:4011", "[2001:db8::1]:1"] {
            let at = text.parse().unwrap();
            assert_eq!(parse(&of(at)), Some((at, None)));
        }
    }
}
