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

    /// How far away the peer at the other end of a connection, at `remote`, has to be taken to be: behind a relay may
    /// sit anybody, and so behind a web server that passes WebSockets on, which itself is often on this host.
    pub fn of_remote(remote: &Multiaddr) -> Self {
        let is_passed_on =
            |part: Protocol<'_>| matches!(part, Protocol::P2pCircuit | Protocol::Ws(_) | Protocol::Wss(_));
        if remote.iter().any(is_passed_on) {
            Self::Public
        } else {
            Self::of(remote)
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

    #[test]
    fn whoever_is_passed_on_may_be_anybody() {
        let relay = "/ip4/10.0.0.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        for (text, expected) in [
            ("/ip4/127.0.0.1/tcp/1", Scope::Host),
            ("/ip4/127.0.0.1/tcp/1/ws", Scope::Public),
            ("/ip4/192.168.1.2/tcp/1/tls/ws", Scope::Public),
            ("/ip4/192.168.1.2/tcp/1/wss", Scope::Public),
            (&format!("{relay}/p2p-circuit"), Scope::Public),
        ] {
            assert_eq!(Scope::of_remote(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
