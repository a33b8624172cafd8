//! Links to what the node shares.
use std::time::Duration;

use cardume_behaviour::Scope;
use cardume_connect::Addresses;
use cardume_content::{Cid, Link};
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};

/// Addresses in a link, at most: enough to find the node, few enough to paste.
const MAX_ADDRESSES: usize = 4;
/// A swarm that turns answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes links that say where this node is.
#[derive(Clone)]
pub(crate) struct Links {
    local: PeerId,
    connect: cardume_connect::Handle,
}

impl Links {
    pub(crate) const fn new(local: PeerId, connect: cardume_connect::Handle) -> Self {
        Self { local, connect }
    }

    /// Addresses to put into links; none when the swarm does not say in time.
    pub(crate) async fn addresses(&self) -> Vec<Multiaddr> {
        let known = tokio::time::timeout(PATIENCE, self.connect.addresses()).await;
        best(known.ok().and_then(Result::ok).unwrap_or_default(), self.local)
    }

    /// The link of one root, with `addresses` as far as they fit.
    pub(crate) fn link(cid: Cid, name: &str, size: u64, addresses: &[Multiaddr]) -> String {
        let mut link = Link::new(cid);
        link.name = Some(name.to_owned());
        link.size = Some(size);
        link.peers = addresses.to_vec();
        loop {
            let text = link.to_string();
            if text.len() <= Link::MAX_LEN {
                return text;
            }
            if link.peers.pop().is_none() {
                return Link::new(cid).to_string();
            }
        }
    }
}

/// The addresses that others most likely reach: those known to work, then those of this host, and of each kind the
/// first before the second of another. Loopback only when there is nothing else.
fn best(known: Addresses, local: PeerId) -> Vec<Multiaddr> {
    let all = || known.external.iter().chain(&known.listen);
    let kinds = [Reach::Public, Reach::Relayed, Reach::Private].map(|kind| {
        let mut of_kind = Vec::new();
        for address in all().filter(|address| reach(address) == kind) {
            add(&mut of_kind, address, local);
        }
        of_kind
    });
    let turns = 0..MAX_ADDRESSES;
    let in_turn = turns.flat_map(|turn| kinds.iter().filter_map(move |kind| kind.get(turn)));
    let mut addresses: Vec<Multiaddr> = in_turn.cloned().collect();
    if addresses.is_empty() {
        for address in all().filter(|address| reach(address) == Reach::Loopback) {
            add(&mut addresses, address, local);
        }
    }
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn add(addresses: &mut Vec<Multiaddr>, address: &Multiaddr, local: PeerId) {
    let Ok(address) = address.clone().with_p2p(local) else {
        return;
    };
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

#[derive(PartialEq, Eq)]
enum Reach {
    /// Says nothing to others: unspecified or link-local.
    None,
    Loopback,
    Private,
    Public,
    /// Through another peer: anybody, and at a price.
    Relayed,
}

fn reach(address: &Multiaddr) -> Reach {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return Reach::Relayed;
    }
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) if ip.is_loopback() => Reach::Loopback,
        Some(Protocol::Ip6(ip)) if ip.is_loopback() => Reach::Loopback,
        Some(Protocol::Ip4(ip)) if ip.is_unspecified() || ip.is_link_local() => Reach::None,
        Some(Protocol::Ip6(ip)) if ip.is_unspecified() || ip.is_unicast_link_local() => Reach::None,
        Some(Protocol::Memory(_)) | None => Reach::None,
        Some(_) if Scope::of(address) == Scope::Private => Reach::Private,
        Some(_) => Reach::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn links_name_addresses_that_others_reach() {
        let local = PeerId::random();
        let found = best(
            Addresses {
                listen: addresses(&[
                    "/ip4/127.0.0.1/tcp/1",
                    "/ip4/10.0.0.2/tcp/1",
                    "/ip6/fe80::1/tcp/1",
                ]),
                external: addresses(&["/ip4/192.0.2.1/udp/1/quic-v1"]),
                ..Addresses::default()
            },
            local,
        );
        let expected = [
            format!("/ip4/192.0.2.1/udp/1/quic-v1/p2p/{local}"),
            format!("/ip4/10.0.0.2/tcp/1/p2p/{local}"),
        ];
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_link_names_every_kind_of_way_before_two_of_one() {
        let relay =
            "/ip4/198.51.100.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit";
        let listen = [
            "/ip4/192.168.1.2/udp/1/quic-v1",
            "/ip6/2001:db8::2/udp/1/quic-v1",
            "/ip4/192.168.1.2/tcp/1",
            "/ip6/2001:db8::2/tcp/1",
            relay,
        ];
        let known = Addresses {
            listen: addresses(&listen),
            external: vec![],
            ..Addresses::default()
        };
        let found = best(known, PeerId::random());
        let places = [1, 4, 0, 3].map(|place: usize| listen[place]);
        assert_eq!(found.len(), places.len());
        for (found, expected) in found.iter().zip(places) {
            assert!(
                found.to_string().starts_with(expected),
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn loopback_is_better_than_nothing() {
        let local = PeerId::random();
        let listen = addresses(&["/ip4/127.0.0.1/tcp/1"]);
        let found = best(
            Addresses {
                listen,
                external: vec![],
                ..Addresses::default()
            },
            local,
        );
        assert_eq!(found.len(), 1);
    }
}
