//! What an address says about where its peer is.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use multiaddr::{Multiaddr, Protocol};

/// A subnet that one party can easily own: /24 of IPv4, /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subnet {
    V4([u8; 3]),
    V6([u16; 3]),
}

/// Whether the address only means something on this machine or this local network.
pub(crate) fn is_local(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => is_local_v4(ip),
        Some(Protocol::Ip6(ip)) => is_local_v6(ip),
        Some(Protocol::Memory(_) | Protocol::Unix(_)) => true,
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name)) => {
            name == "localhost" || name.ends_with(".local")
        }
        _ => false,
    }
}

/// The subnet of a public IP address; local addresses and names have none.
pub(crate) fn subnet(address: &Multiaddr) -> Option<Subnet> {
    if is_local(address) {
        return None;
    }
    let ip = match address.iter().next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
        _ => return None,
    };
    Some(match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Subnet::V4([a, b, c])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Subnet::V6([a, b, c])
        }
    })
}

fn is_local_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    // RFC 6598: addresses shared behind a carrier's NAT are reached from behind the same one only.
    let shared = a == 100 && (64..128).contains(&b);
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_local_v4(ip);
    }
    ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_a_machine_or_a_local_network_are_local() {
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/udp/1/quic-v1",
            "/ip4/192.168.0.9/tcp/1",
            "/ip4/172.16.0.1/tcp/1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/::ffff:192.168.0.1/tcp/1",
            "/memory/7",
            "/dns4/nas.local/tcp/1",
        ] {
            assert!(is_local(&address(text)), "{text}");
            assert_eq!(subnet(&address(text)), None, "{text}");
        }
    }

    #[test]
    fn public_addresses_are_not_local_and_have_a_subnet() {
        assert!(!is_local(&address("/ip4/100.128.0.1/tcp/1")));
        assert!(!is_local(&address("/dns4/example.org/tcp/1")));
        assert_eq!(
            subnet(&address("/ip4/198.51.100.7/tcp/1")),
            Some(Subnet::V4([198, 51, 100]))
        );
        assert_eq!(
            subnet(&address("/ip6/2001:db8:7:8::1/tcp/1")),
            Some(Subnet::V6([0x2001, 0xdb8, 7]))
        );
        assert_eq!(
            subnet(&address("/ip6/::ffff:198.51.100.7/tcp/1")),
            Some(Subnet::V4([198, 51, 100]))
        );
    }
}
