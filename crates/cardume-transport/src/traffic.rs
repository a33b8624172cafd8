//! How many bytes went over connections, and for what.
use std::{
    array,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cardume_access::rates::Class;
use libp2p_identity::PeerId;

/// Names under which bytes are counted: there are no others, whatever peers speak.
const PROTOCOLS: [&str; 13] = [
    "transfer",
    "kad",
    "gossipsub",
    "channel",
    "tunnel",
    "membership",
    "identify",
    "ping",
    "relay",
    "dcutr",
    "autonat",
    "rendezvous",
    OTHER,
];
const OTHER: &str = "other";

/// Protocols of libp2p by the beginning of their names.
const BY_PREFIX: [(&str, &str); 9] = [
    ("/ipfs/id/", "identify"),
    ("/ipfs/ping/", "ping"),
    ("/ipfs/kad/", "kad"),
    ("/meshsub/", "gossipsub"),
    ("/floodsub/", "gossipsub"),
    ("/libp2p/circuit/", "relay"),
    ("/libp2p/dcutr", "dcutr"),
    ("/libp2p/autonat/", "autonat"),
    ("/rendezvous/", "rendezvous"),
];

/// Bytes both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// What peers sent us.
    pub received: u64,
    /// What we sent.
    pub sent: u64,
}

impl Bytes {
    /// Adds more to them.
    pub const fn add(&mut self, more: Self) {
        self.received = self.received.saturating_add(more.received);
        self.sent = self.sent.saturating_add(more.sent);
    }

    const fn is_none(self) -> bool {
        self.received == 0 && self.sent == 0
    }
}

/// Bytes of one protocol on connections of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The protocol, as one word; `other` for all that this node does not speak of by name.
    pub protocol: &'static str,
    /// Where the peers are.
    pub class: Class,
    /// How many.
    pub bytes: Bytes,
}

/// The bytes on all connections of a node since it started. Cheap to clone.
///
/// Counted is what is inside of streams, with the negotiation of their protocols; what encryption and multiplexing add
/// is not. What goes through a relay is counted as the protocol that it is of, in the class of relays, and on the way to
/// the relay as `relay` in another class.
#[derive(Debug, Clone)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    /// What protocols of the node's own network begin with.
    network: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: HashMap<u64, Open>,
    /// Bytes of connections that are closed.
    closed: [Sums; Class::ALL.len()],
}

type Sums = [Bytes; PROTOCOLS.len()];

#[derive(Debug)]
struct Open {
    peer: PeerId,
    class: Class,
    cells: Arc<Cells>,
}

/// The bytes of one connection by protocol.
#[derive(Debug)]
struct Cells([Cell; PROTOCOLS.len()]);

#[derive(Debug, Default)]
struct Cell {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Cells {
    fn read(&self) -> Sums {
        self.0.each_ref().map(|cell| Bytes {
            received: cell.received.load(Ordering::Relaxed),
            sent: cell.sent.load(Ordering::Relaxed),
        })
    }
}

fn add(sums: &mut Sums, more: &Sums) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| sum.add(*more));
}

fn shares(class: Class, sums: &Sums) -> impl Iterator<Item = Share> {
    let of = move |(protocol, bytes): (&&'static str, &Bytes)| Share {
        protocol,
        class,
        bytes: *bytes,
    };
    let used = PROTOCOLS.iter().zip(sums).filter(|(_, bytes)| !bytes.is_none());
    used.map(of)
}

impl Traffic {
    /// Nothing yet, on a node of `network`.
    pub fn new(network: &str) -> Self {
        Self(Arc::new(Counters {
            network: format!("/cardume/{network}/"),
            state: Mutex::default(),
        }))
    }

    /// All bytes since the start, by protocol and class; what there was none of is left out.
    pub fn all(&self) -> Vec<Share> {
        let state = self.lock();
        let mut sums = state.closed;
        for open in state.open.values() {
            add(&mut sums[open.class as usize], &open.cells.read());
        }
        let by_class = Class::ALL.iter().zip(&sums);
        by_class.flat_map(|(class, sums)| shares(*class, sums)).collect()
    }

    /// Bytes on the open connections with a peer, by protocol and class.
    pub fn with(&self, peer: &PeerId) -> Vec<Share> {
        let mut sums = [Sums::default(); Class::ALL.len()];
        for open in self.lock().open.values().filter(|open| open.peer == *peer) {
            add(&mut sums[open.class as usize], &open.cells.read());
        }
        let by_class = Class::ALL.iter().zip(&sums);
        by_class.flat_map(|(class, sums)| shares(*class, sums)).collect()
    }

    /// Counts a connection from now on, until what is returned is dropped.
    pub(crate) fn open(&self, peer: PeerId, class: Class) -> Connection {
        let cells = Arc::new(Cells(array::from_fn(|_| Cell::default())));
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let open = Open {
            peer,
            class,
            cells: cells.clone(),
        };
        state.open.insert(id, open);
        Connection {
            id,
            cells,
            traffic: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Sums are whole after every statement, so a panic elsewhere leaves nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is being counted.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    cells: Arc<Cells>,
    traffic: Traffic,
}

impl Connection {
    pub(crate) fn received(&self, protocol: usize, bytes: u64) {
        self.cells.0[protocol]
            .received
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, protocol: usize, bytes: u64) {
        self.cells.0[protocol].sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The place of a protocol, by its name on the wire.
    pub(crate) fn protocol(&self, name: &str) -> usize {
        let own = name.strip_prefix(&self.traffic.0.network);
        let word = match own.and_then(|rest| rest.split('/').next()) {
            Some(own) => own,
            None => BY_PREFIX
                .iter()
                .find(|(prefix, _)| name.starts_with(prefix))
                .map_or(OTHER, |(_, word)| word),
        };
        let place = PROTOCOLS.iter().position(|known| *known == word);
        place.unwrap_or(PROTOCOLS.len() - 1)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.traffic.lock();
        if let Some(open) = state.open.remove(&self.id) {
            add(&mut state.closed[open.class as usize], &open.cells.read());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_counted_when_their_connection_is_closed_and_a_peer_has_those_of_open_ones() {
        let (traffic, peer) = (Traffic::new("main"), PeerId::random());
        let (near, far) = (traffic.open(peer, Class::Lan), traffic.open(peer, Class::Relay));
        let transfer = near.protocol("/cardume/main/transfer/1");
        near.sent(transfer, 7);
        far.received(transfer, 5);
        far.received(far.protocol("/cardume/other/transfer/1"), 1);
        let share = |protocol, class, received, sent| Share {
            protocol,
            class,
            bytes: Bytes { received, sent },
        };
        let all = [
            share("transfer", Class::Lan, 0, 7),
            share("transfer", Class::Relay, 5, 0),
            share("other", Class::Relay, 1, 0),
        ];
        assert_eq!(traffic.all(), all);
        assert_eq!(traffic.with(&peer), all);
        drop(far);
        assert_eq!(traffic.all(), all);
        assert_eq!(traffic.with(&peer), all[..1]);
        assert_eq!(traffic.with(&PeerId::random()), []);
    }

    #[test]
    fn whatever_peers_speak_there_are_no_other_names() {
        let traffic = Traffic::new("main");
        let connection = traffic.open(PeerId::random(), Class::Wan);
        for (name, expected) in [
            ("/cardume/main/kad/1", "kad"),
            ("/cardume/main/nonsense/1", "other"),
            ("/meshsub/1.2.0", "gossipsub"),
            ("/ipfs/id/push/1.0.0", "identify"),
            ("/libp2p/circuit/relay/0.2.0/stop", "relay"),
            ("/libp2p/autonat/2/dial-back", "autonat"),
            ("/rendezvous/1.0.0", "rendezvous"),
            ("/bitswap/1.2.0", "other"),
            ("", "other"),
        ] {
            assert_eq!(PROTOCOLS[connection.protocol(name)], expected, "{name}");
        }
    }
}
