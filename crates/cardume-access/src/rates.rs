//! How fast bytes may go: budgets as data, and who is next.
//!
//! Deliberately has no clock and waits for nothing: instants are passed in, and [`Pacer`] says when to come
//! again. Whoever moves bytes asks it before each chunk.
use std::num::NonZeroU64;

use multiaddr::{Multiaddr, Protocol};

mod bucket;
mod pacer;

pub use self::pacer::Pacer;

/// Bytes that go at once, at most: a group of content, and small enough that nobody waits long behind it.
const MAX_CHUNK: u64 = 64 * 1024;
/// … and at least, so that a slow line is not spent on headers.
const MIN_CHUNK: u64 = 4 * 1024;
/// Chunks a second that a budget is spent in, between those two.
const CHUNKS_PER_SEC: u64 = 100;

/// Where a peer is, by its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// On this host or a private network.
    Lan,
    /// Anywhere else, or at an address that does not tell.
    Wan,
    /// Behind a relay, wherever that is.
    Relay,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Lan, Self::Wan, Self::Relay];

    /// Tells the class of a peer whose connection goes to `address`.
    ///
    /// 100.64.0.0/10 (RFC 6598) is shared by customers of a provider and by overlay networks, which run
    /// over the same line as everything else: it counts as [`Wan`](Self::Wan), and so does a name.
    pub fn of(address: &Multiaddr) -> Self {
        if address.iter().any(|part| part == Protocol::P2pCircuit) {
            return Self::Relay;
        }
        // Whoever it passes on may be anywhere, wherever the web server is.
        let is_web = |part: Protocol<'_>| matches!(part, Protocol::Ws(_) | Protocol::Wss(_));
        if address.iter().any(is_web) {
            return Self::Wan;
        }
        let is_near = match address.iter().next() {
            Some(Protocol::Memory(_)) => true,
            Some(Protocol::Ip4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Some(Protocol::Ip6(ip)) => match ip.to_ipv4_mapped() {
                Some(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
                None => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
            },
            _ => false,
        };
        if is_near { Self::Lan } else { Self::Wan }
    }

    /// What configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Relay => "relay",
        }
    }
}

/// Limits in bytes a second; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Content to all peers together.
    pub upload: Option<NonZeroU64>,
    /// Content from all peers together.
    pub download: Option<NonZeroU64>,
    /// Content to one peer, and as much from it.
    pub per_peer: Option<NonZeroU64>,
}

/// All limits that hold at one time; each byte keeps within all that concern it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// For every peer.
    pub all: Limits,
    /// For peers of [`Class::Lan`].
    pub lan: Limits,
    /// For peers of [`Class::Wan`].
    pub wan: Limits,
    /// For peers of [`Class::Relay`].
    pub relay: Limits,
}

impl Rates {
    /// Returns the limits of one class.
    pub const fn class(&self, class: Class) -> &Limits {
        match class {
            Class::Lan => &self.lan,
            Class::Wan => &self.wan,
            Class::Relay => &self.relay,
        }
    }

    /// Returns what holds for content to peers.
    pub fn upload(&self) -> Budgets {
        self.budgets(|limits| limits.upload)
    }

    /// Returns what holds for content from peers.
    pub fn download(&self) -> Budgets {
        self.budgets(|limits| limits.download)
    }

    fn budgets(&self, total: impl Fn(&Limits) -> Option<NonZeroU64>) -> Budgets {
        let classes = Class::ALL.map(|class| {
            let limits = self.class(class);
            Budget {
                total: total(limits),
                per_peer: narrower(self.all.per_peer, limits.per_peer),
            }
        });
        Budgets {
            total: total(&self.all),
            classes,
        }
    }
}

/// What one direction may take, in bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    total: Option<NonZeroU64>,
    classes: [Budget; 3],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Budget {
    total: Option<NonZeroU64>,
    per_peer: Option<NonZeroU64>,
}

impl Budgets {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what all peers may take together.
    pub const fn total(&self) -> Option<NonZeroU64> {
        self.total
    }

    /// Returns what the peers of a class may take together.
    pub const fn class(&self, class: Class) -> Option<NonZeroU64> {
        self.classes[class as usize].total
    }

    /// Returns what each peer of a class may take.
    pub const fn per_peer(&self, class: Class) -> Option<NonZeroU64> {
        self.classes[class as usize].per_peer
    }

    /// Returns the narrowest limit that concerns a peer of `class`.
    pub fn narrowest(&self, class: Class) -> Option<NonZeroU64> {
        narrower(self.total, narrower(self.class(class), self.per_peer(class)))
    }

    /// Returns how many bytes a peer of `class` should ask for at once: 10 ms' worth, from 4 to 64 KiB.
    pub fn chunk(&self, class: Class) -> u64 {
        self.narrowest(class).map_or(MAX_CHUNK, |rate| {
            (rate.get() / CHUNKS_PER_SEC).clamp(MIN_CHUNK, MAX_CHUNK)
        })
    }
}

fn narrower(one: Option<NonZeroU64>, other: Option<NonZeroU64>) -> Option<NonZeroU64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_where_its_connection_goes() {
        for (address, class) in [
            ("/memory/7", Class::Lan),
            ("/ip4/127.0.0.1/tcp/1", Class::Lan),
            ("/ip4/192.168.1.9/udp/1/quic-v1", Class::Lan),
            ("/ip4/169.254.3.4/tcp/1", Class::Lan),
            ("/ip6/::1/tcp/1", Class::Lan),
            ("/ip6/fe80::1/tcp/1", Class::Lan),
            ("/ip6/fd00::1/tcp/1", Class::Lan),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Class::Lan),
            ("/ip6/::ffff:192.0.2.1/tcp/1", Class::Wan),
            ("/ip4/192.0.2.1/tcp/1", Class::Wan),
            ("/ip4/100.64.0.1/tcp/1", Class::Wan),
            ("/ip6/2001:db8::1/tcp/1", Class::Wan),
            ("/dns4/example.org/tcp/1", Class::Wan),
            ("/ip4/127.0.0.1/tcp/1/ws", Class::Wan),
            (
                "/ip4/192.168.1.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
                Class::Relay,
            ),
        ] {
            assert_eq!(Class::of(&address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn the_narrowest_limit_sets_the_size_of_a_chunk() {
        let mut rates = Rates::default();
        assert!(rates.upload().is_unlimited());
        rates.all.upload = NonZeroU64::new(20_000_000);
        rates.wan.upload = NonZeroU64::new(1_000_000);
        rates.all.per_peer = NonZeroU64::new(2_000_000);
        rates.relay.per_peer = NonZeroU64::new(20_000);
        let upload = rates.upload();
        assert_eq!(upload.narrowest(Class::Lan), rates.all.per_peer);
        assert_eq!(upload.chunk(Class::Lan), 20_000);
        assert_eq!(upload.chunk(Class::Wan), 10_000);
        assert_eq!(upload.chunk(Class::Relay), MIN_CHUNK);
        assert_eq!(rates.download().total(), None);
        assert_eq!(rates.download().per_peer(Class::Relay), rates.relay.per_peer);
    }
}
