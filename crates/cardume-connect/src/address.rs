//! How far an address reaches, and which addresses are worth keeping.
use std::net::{IpAddr, Ipv4Addr};

use cardume_behaviour::Scope;
use multiaddr::{Multiaddr, Protocol};

/// Longer addresses are forgotten: no transport of ours needs as much, and every one of them is stored.
const MAX_LENGTH: usize = 256;

/// How far away the peer at the other end of a connection has to be taken to be.
///
/// Behind a relay, a web server, a name, or an address shared by the customers of a provider may sit anybody.
pub(crate) fn distance(remote: &Multiaddr) -> Scope {
    let shared = ip(remote).is_some_and(|ip| matches!(ip, IpAddr::V4(v4) if is_shared(v4)));
    if shared {
        Scope::Public
    } else {
        Scope::of_remote(remote)
    }
}

/// Whether `address` may be told to, or believed of, a peer at this distance.
pub(crate) fn is_visible(address: &Multiaddr, distance: Scope) -> bool {
    Scope::of(address) >= distance
}

/// The IP address that `address` starts with; IPv4 inside IPv6 is unwrapped.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// `address` without the `/p2p/<peer>` at its end, so that one address has one spelling.
pub(crate) fn bare(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether an address can be dialled at all, and printed.
///
/// A link-local IPv6 address needs the name of an interface, which an address has no room for; a DNS name
/// may have anything in it, such as what steers a terminal.
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        Some(Protocol::Ip6(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        Some(Protocol::Memory(port)) => return port != 0,
        _ => false,
    };
    let port = match parts.next() {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => port != 0,
        _ => false,
    };
    host && port && address.len() <= MAX_LENGTH && is_printable(address)
}

fn is_printable(address: &Multiaddr) -> bool {
    address.to_string().bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether the way to `address` leads through another peer.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// 100.64.0.0/10, RFC 6598: between the customers of one provider.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_behind_a_relay_or_a_shared_address_are_far_away() {
        let relayed =
            "/ip4/192.168.1.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit";
        assert_eq!(distance(&address(relayed)), Scope::Public);
        assert_eq!(distance(&address("/ip4/100.64.0.1/tcp/1")), Scope::Public);
        assert_eq!(distance(&address("/ip4/192.168.1.1/tcp/1")), Scope::Private);
    }

    #[test]
    fn private_addresses_are_visible_at_private_distance_only() {
        let private = address("/ip4/192.168.1.1/tcp/1");
        assert!(is_visible(&private, Scope::Host));
        assert!(is_visible(&private, Scope::Private));
        assert!(!is_visible(&private, Scope::Public));
        assert!(!is_visible(&address("/ip4/127.0.0.1/tcp/1"), Scope::Private));
    }

    #[test]
    fn addresses_that_nobody_can_dial_are_refused() {
        for text in [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/1.2.3.4/tcp/0",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/ip4/1.2.3.4",
            "/ip6/fe80::1/tcp/1",
            "/memory/0",
            "/dnsaddr/example.org",
            "/dns4/\u{1b}[2J/tcp/1",
            "/dns4/b\u{fc}cher/tcp/1",
        ] {
            assert!(!is_dialable(&address(text)), "{text}");
        }
        let long = format!("/dns4/{}.org/tcp/1", "a".repeat(MAX_LENGTH));
        assert!(!is_dialable(&address(&long)));
        assert!(is_dialable(&address("/ip4/1.2.3.4/udp/1/quic-v1")));
    }
}
