//! How far an address reaches.
use std::net::{IpAddr, Ipv4Addr};

use libp2p_core::{Multiaddr, multiaddr::Protocol};

/// How far an address reaches; the order is that of distance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This host only: loopback and in-process addresses.
    #[default]
    Host,
    /// A private network: RFC 1918, link-local, unique local, shared address space, multicast DNS names.
    Private,
    /// Anywhere.
    Public,
}

impl Scope {
    /// Every scope, the nearest first.
    pub const ALL: [Self; 3] = [Self::Host, Self::Private, Self::Public];

    /// How far `address` reaches. A name reaches anywhere, since only its owner knows better, unless it is
    /// one that means something on a link only.
    pub fn of(address: &Multiaddr) -> Self {
        match address.iter().next() {
            Some(Protocol::Memory(_) | Protocol::Unix(_)) => Self::Host,
            Some(Protocol::Ip4(ip)) => Self::of_ip(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => Self::of_ip(IpAddr::V6(ip)),
            Some(
                Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name),
            ) => Self::of_name(&name),
            _ => Self::Public,
        }
    }

    fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() => Self::Host,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => Self::Private,
            IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_unique_local() => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_name(name: &str) -> Self {
        if name == "localhost" {
            Self::Host
        } else if name.ends_with(".local") {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// 100.64.0.0/10, RFC 6598: between the customers of one provider.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reaches_as_far_as_its_host() {
        for (text, expected) in [
            ("/memory/7", Scope::Host),
            ("/ip4/127.0.0.1/tcp/1", Scope::Host),
            ("/ip4/0.0.0.0/tcp/1", Scope::Host),
            ("/ip6/::1/tcp/1", Scope::Host),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Scope::Host),
            ("/dns4/localhost/tcp/1", Scope::Host),
            ("/ip4/10.1.2.3/tcp/1", Scope::Private),
            ("/ip4/172.31.0.1/udp/1/quic-v1", Scope::Private),
            ("/ip4/192.168.1.9/tcp/1", Scope::Private),
            ("/ip4/169.254.3.4/tcp/1", Scope::Private),
            ("/ip4/100.64.0.1/tcp/1", Scope::Private),
            ("/ip6/fe80::1/tcp/1", Scope::Private),
            ("/ip6/fd00::1/tcp/1", Scope::Private),
            ("/ip6/::ffff:192.168.1.1/tcp/1", Scope::Private),
            ("/dns4/nas.local/tcp/1", Scope::Private),
            ("/ip4/100.128.0.1/tcp/1", Scope::Public),
            ("/ip4/172.32.0.1/tcp/1", Scope::Public),
            ("/ip6/2001:db8::1/tcp/1", Scope::Public),
            ("/dns4/example.org/tcp/1", Scope::Public),
        ] {
            assert_eq!(Scope::of(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
