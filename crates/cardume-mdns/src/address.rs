//! Which announced addresses are believed.
use std::net::IpAddr;

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;

/// Longer ones are not kept: no transport of ours needs as much.
const MAX_LENGTH: usize = 256;

/// The address as others dial it, without the peer at its end; `None` when it is not to be believed.
pub(crate) fn believe(peer: PeerId, announced: &Multiaddr) -> Option<Multiaddr> {
    let mut address = announced.clone();
    if let Some(Protocol::P2p(named)) = address.iter().last() {
        if named != peer {
            return None;
        }
        address.pop();
    }
    let printable = |address: &Multiaddr| address.to_string().bytes().all(|byte| byte.is_ascii_graphic());
    (address.len() <= MAX_LENGTH && is_local(&address) && printable(&address)).then_some(address)
}

/// Whether an address leads to this link or this host: discovery on a link has no say about others.
///
/// Link-local IPv6 addresses are left out: they need the name of an interface, and cannot be dialled.
fn is_local(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return false,
    };
    let port = match parts.next() {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => port,
        _ => return false,
    };
    let relayed = parts.any(|part| matches!(part, Protocol::P2pCircuit));
    port != 0 && !relayed && is_local_ip(ip)
}

fn is_local_ip(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_on_the_link_are_believed() {
        let peer = PeerId::random();
        for text in [
            "/ip4/192.168.1.7/tcp/4011",
            "/ip4/10.0.0.1/udp/4011/quic-v1",
            "/ip4/169.254.9.9/tcp/4011",
            "/ip4/127.0.0.1/tcp/4011",
            "/ip6/fd12::1/tcp/4011",
            "/ip6/fd12::1/udp/4011/quic-v1",
        ] {
            let address: Multiaddr = text.parse().unwrap();
            let announced = address.clone().with_p2p(peer).unwrap();
            assert_eq!(believe(peer, &announced), Some(address), "{text}");
        }
    }

    #[test]
    fn addresses_elsewhere_are_not() {
        let peer = PeerId::random();
        for text in [
            "/ip4/203.0.113.1/tcp/4011",
            "/ip6/2001:db8::1/tcp/4011",
            "/ip6/::ffff:203.0.113.1/tcp/4011",
            "/ip6/fe80::1/tcp/4011",
            "/ip4/192.168.1.7/tcp/0",
            "/ip4/192.168.1.7",
            "/dns4/example.org/tcp/4011",
            "/memory/7",
            "/ip4/192.168.1.7/tcp/4011/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
        ] {
            assert_eq!(believe(peer, &text.parse().unwrap()), None, "{text}");
        }
        let other: Multiaddr = "/ip4/192.168.1.7/tcp/4011".parse().unwrap();
        assert_eq!(believe(peer, &other.with_p2p(PeerId::random()).unwrap()), None);
    }
}
