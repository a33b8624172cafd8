//! Where this node listens, and so which links it is on.
use std::net::IpAddr;

use libp2p_core::{Multiaddr, multiaddr::Protocol, transport::ListenerId};
use libp2p_swarm::{ExpiredListenAddr, FromSwarm, NewListenAddr};

/// The listen addresses of the swarm, as its events tell them.
#[derive(Debug, Default)]
pub struct Listening {
    addresses: Vec<(ListenerId, Multiaddr)>,
}

impl Listening {
    /// Takes in what the swarm tells a behaviour; events about anything else change nothing.
    pub fn on_swarm_event(&mut self, event: &FromSwarm<'_>) {
        match event {
            // What a relay says of itself says nothing of the links that we are on.
            FromSwarm::NewListenAddr(NewListenAddr { addr, .. }) if is_relayed(addr) => {}
            FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }) => {
                let new = (*listener_id, (*addr).clone());
                if !self.addresses.contains(&new) {
                    self.addresses.push(new);
                }
            }
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr }) => {
                self.addresses
                    .retain(|(id, known)| (id, known) != (listener_id, *addr));
            }
            _ => {}
        }
    }

    /// The listen addresses, each with its listener.
    pub fn iter(&self) -> impl Iterator<Item = (ListenerId, &Multiaddr)> {
        self.addresses.iter().map(|(id, address)| (*id, address))
    }

    /// Whether `address` is in the same /24 (IPv4) or /64 (IPv6) as an address listened on, and so, as
    /// far as this node can tell, on a link that it is on itself, be its addresses private or public.
    ///
    /// Never true of a name, of what is behind a relay, of loopback addresses, and of link-local IPv6
    /// addresses, which are in the same /64 on every link.
    pub fn is_on_link(&self, address: &Multiaddr) -> bool {
        Subnet::of(address).is_some_and(|theirs| {
            !is_relayed(address)
                && self
                    .addresses
                    .iter()
                    .any(|(_, ours)| Subnet::of(ours) == Some(theirs))
        })
    }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// What a link commonly has: how long its prefix really is, a listen address does not say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subnet {
    V4([u8; 3]),
    V6([u16; 4]),
}

impl Subnet {
    fn of(address: &Multiaddr) -> Option<Self> {
        let ip = match address.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
            return None;
        }
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Some(Self::V4([a, b, c]))
            }
            IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Some(Self::V6([a, b, c, d]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn listening(texts: &[&str]) -> Listening {
        let mut listening = Listening::default();
        for text in texts {
            begin(&mut listening, ListenerId::next(), &address(text));
        }
        listening
    }

    fn begin(listening: &mut Listening, listener_id: ListenerId, addr: &Multiaddr) {
        listening.on_swarm_event(&FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
    }

    fn end(listening: &mut Listening, listener_id: ListenerId, addr: &Multiaddr) {
        listening.on_swarm_event(&FromSwarm::ExpiredListenAddr(ExpiredListenAddr {
            listener_id,
            addr,
        }));
    }

    #[test]
    fn neighbours_of_a_listen_address_are_on_the_link() {
        let listening = listening(&["/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8:0:7::1/udp/1/quic-v1"]);
        for text in [
            "/ip4/192.0.2.200/udp/9/quic-v1",
            "/ip6/::ffff:192.0.2.9/tcp/9",
            "/ip6/2001:db8:0:7:ffff::2/tcp/9",
        ] {
            assert!(listening.is_on_link(&address(text)), "{text}");
        }
        for text in [
            "/ip4/192.0.3.1/tcp/9",
            "/ip6/2001:db8:0:8::1/tcp/9",
            "/dns4/192.0.2.1/tcp/9",
            "/memory/9",
            "/ip4/192.0.2.9/tcp/9/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
        ] {
            assert!(!listening.is_on_link(&address(text)), "{text}");
        }
    }

    #[test]
    fn addresses_that_every_host_has_say_nothing_about_the_link() {
        let texts = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/0.0.0.0/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
        ];
        let listening = listening(&texts);
        for text in texts {
            assert!(!listening.is_on_link(&address(text)), "{text}");
        }
        assert!(!listening.is_on_link(&address("/ip6/::9/tcp/1")));
    }

    #[test]
    fn a_place_at_a_relay_is_on_no_link() {
        let relay = "/ip4/192.168.1.5/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let listening = listening(&[&format!("{relay}/p2p-circuit")]);
        assert!(!listening.is_on_link(&address("/ip4/192.168.1.6/tcp/9")));
    }

    #[test]
    fn a_link_is_left_with_the_last_address_on_it() {
        let (mut listening, first, second) = (Listening::default(), ListenerId::next(), ListenerId::next());
        let (tcp, quic) = (
            address("/ip4/192.0.2.1/tcp/1"),
            address("/ip4/192.0.2.1/udp/1/quic-v1"),
        );
        begin(&mut listening, first, &tcp);
        begin(&mut listening, first, &tcp);
        begin(&mut listening, second, &quic);
        assert_eq!(
            listening.iter().collect::<Vec<_>>(),
            [(first, &tcp), (second, &quic)]
        );

        end(&mut listening, first, &tcp);
        assert!(listening.is_on_link(&quic));
        end(&mut listening, second, &quic);
        assert!(!listening.is_on_link(&quic));
    }
}
