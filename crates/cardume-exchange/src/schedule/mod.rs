//! Who is asked for what, and when. No I/O and no clock: time comes in with every call.
//!
//! # Invariants
//!
//! * A piece is asked of one peer at a time, unless the answer is overdue or everything else is on its way too.
//! * A peer never has more requests than its window, and none while an answer of it is overdue.
//! * Nothing is asked of a peer that has been banned.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, Instant},
};

use cardume_content::{Hash, PieceSet};
use libp2p_identity::PeerId;

use self::{
    blob::Blob,
    pace::Pace,
    peer::Peer,
    random::Random,
    ready::{Ready, Stand},
    small::Pool,
};

mod answers;
mod blob;
mod crowd;
mod pace;
mod peer;
mod pieces;
mod random;
mod ready;
mod small;
#[cfg(test)]
mod tests;
mod turn;

/// A large blob, fetched piece by piece.
pub type BlobId = u32;
/// A small blob, fetched whole with others.
pub type ItemId = u32;
/// One request.
pub type Ticket = u64;

/// What to ask a peer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What it holds of a blob.
    Have {
        /// Which.
        blob: BlobId,
        /// The version that is known; the answer waits for another.
        since: Option<u64>,
    },
    /// The end of a blob, which proves how large it is.
    Proof {
        /// Which.
        blob: BlobId,
        /// Its bytes, as this peer claims.
        size: u64,
        /// Pieces that a reader waits for and that come along; none where nobody waits.
        along: Range<u64>,
    },
    /// One piece of a blob.
    Piece {
        /// Which.
        blob: BlobId,
        /// Bytes of the blob, as proven.
        size: u64,
        /// The piece's index.
        piece: u64,
    },
    /// Small blobs.
    Many {
        /// Which.
        items: Vec<ItemId>,
    },
}

/// A request to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Names the request in what follows.
    pub ticket: Ticket,
    /// Who is asked.
    pub peer: PeerId,
    /// For what.
    pub ask: Ask,
}

/// Why a request brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The peer does not have it.
    NotFound,
    /// The peer wants to be asked later.
    Busy(Duration),
    /// The peer has given the piece to others, and wants to be asked for another.
    Elsewhere,
    /// The request or the connection failed.
    Failed,
}

/// Bounds on what is asked for at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Requests for content on their way to one peer, at most.
    pub window: usize,
    /// … and to all peers.
    pub in_flight: usize,
}

#[derive(Debug)]
struct Sent {
    peer: PeerId,
    ask: Ask,
    at: Instant,
    due: Instant,
    /// Requests of its peer on their way when it went out, itself included.
    share: usize,
    overdue: bool,
}

/// A peer's place in the order of those who take part in one blob: the same wherever it is worked out.
pub fn rendezvous(peer: &PeerId, hash: Hash) -> u64 {
    crowd::key(peer, salt(hash))
}

/// The same at every node, and another for every blob.
pub(crate) fn salt(hash: Hash) -> u64 {
    let first = hash.as_bytes().first_chunk();
    first.map_or(0, |salt| u64::from_le_bytes(*salt))
}

/// The requests of one fetch over all its peers.
#[derive(Debug)]
pub struct Schedule {
    me: PeerId,
    bounds: Bounds,
    peers: BTreeMap<PeerId, Peer>,
    ready: Ready,
    banned: BTreeSet<PeerId>,
    blobs: BTreeMap<BlobId, Blob>,
    pool: Pool,
    pace: Pace,
    sent: BTreeMap<Ticket, Sent>,
    /// Those of them for content that nobody has answered.
    live: BTreeSet<Ticket>,
    last_ticket: Ticket,
    random: Random,
}

impl Schedule {
    /// Makes an empty schedule for the node `me`; `seed` decides among equals.
    pub fn new(me: PeerId, bounds: Bounds, seed: u64) -> Self {
        Self {
            me,
            bounds,
            peers: BTreeMap::new(),
            ready: Ready::default(),
            banned: BTreeSet::new(),
            blobs: BTreeMap::new(),
            pool: Pool::default(),
            pace: Pace::default(),
            sent: BTreeMap::new(),
            live: BTreeSet::new(),
            last_ticket: 0,
            random: Random(seed),
        }
    }

    /// Requests for content that nobody has answered.
    pub fn in_flight(&self) -> usize {
        self.live.len()
    }

    /// How many there may be: as many as the windows of its peers let through together, within all bounds.
    pub fn window(&self) -> usize {
        let windows = self.peers.values().map(|peer| peer.window(self.bounds.window));
        let most = self.pace.window(self.peers.len(), self.bounds.in_flight);
        windows.sum::<usize>().min(most)
    }

    /// Changes how many there may be at most.
    pub const fn limit(&mut self, in_flight: usize) {
        self.bounds.in_flight = in_flight;
    }

    // -- peers

    /// Takes a peer in; `false` if it was banned or is known.
    pub fn add_peer(&mut self, peer: PeerId, now: Instant) -> bool {
        if self.banned.contains(&peer) || self.peers.contains_key(&peer) {
            return false;
        }
        self.peers.insert(peer, Peer::new());
        for blob in self.blobs.values_mut() {
            blob.add_peer(peer, now);
        }
        self.pool.forgive();
        self.place(&peer, now);
        self.stir();
        true
    }

    /// Lets a peer go; returns the requests to it, which are void.
    pub fn drop_peer(&mut self, peer: &PeerId) -> Vec<Ticket> {
        let of_peer = self.sent.iter().filter(|(_, sent)| sent.peer == *peer);
        let tickets: Vec<Ticket> = of_peer.map(|(ticket, _)| *ticket).collect();
        for ticket in &tickets {
            if let Some(sent) = self.sent.remove(ticket) {
                self.release(*ticket, &sent);
            }
        }
        if let Some(gone) = self.peers.remove(peer) {
            self.ready.place(*peer, gone.stand, Stand::Full);
        }
        for blob in self.blobs.values_mut() {
            blob.drop_peer(peer);
        }
        tickets
    }

    /// Lets a peer go for good: it lied.
    pub fn ban(&mut self, peer: PeerId) -> Vec<Ticket> {
        self.banned.insert(peer);
        self.drop_peer(&peer)
    }

    /// Tells whether a peer was let go for good.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    /// Tells whether any was.
    pub fn has_banned(&self) -> bool {
        !self.banned.is_empty()
    }

    /// Number of peers that may be asked.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are peers, and all of them say that they have nothing of what is wanted (any more).
    pub fn is_refused(&self) -> bool {
        let is_refused = !self.blobs.is_empty() && self.blobs.values().all(Blob::is_refused);
        is_refused && self.pool.is_empty() && !self.peers.is_empty()
    }

    // -- work

    /// Adds a blob whose size is not known; with `only_focus`, just what [`focus`](Self::focus) names is fetched.
    ///
    /// `salt` is the same at every node and another for every blob, such as a part of its hash.
    pub fn add_blob(&mut self, id: BlobId, salt: u64, only_focus: bool, now: Instant) {
        let mut blob = Blob::new(&self.me, salt, only_focus);
        for peer in self.peers.keys() {
            blob.add_peer(*peer, now);
        }
        self.blobs.insert(id, blob);
        self.stir();
    }

    /// Starts asking for the pieces of a blob whose size is proven; returns those who claimed another.
    pub fn start_blob(&mut self, id: BlobId, size: u64, held: PieceSet) -> Vec<PeerId> {
        self.stir();
        let blob = self.blobs.get_mut(&id);
        blob.map(|blob| blob.start(size, held)).unwrap_or_default()
    }

    /// Notes that a claimed size is being checked, or was not proven.
    pub fn set_proving(&mut self, id: BlobId, proving: bool) {
        if let Some(blob) = self.blobs.get_mut(&id) {
            blob.set_proving(proving);
        }
        self.stir();
    }

    /// Moves the pieces a reader waits for.
    pub fn focus(&mut self, id: BlobId, pieces: Range<u64>) {
        if let Some(blob) = self.blobs.get_mut(&id) {
            blob.set_focus(pieces);
        }
        self.stir();
    }

    /// Ends the work on a blob; returns requests that are not needed any more.
    pub fn remove_blob(&mut self, id: BlobId) -> Vec<Ticket> {
        self.blobs.remove(&id);
        let of_blob = |sent: &Sent| match sent.ask {
            Ask::Have { blob, .. } | Ask::Proof { blob, .. } | Ask::Piece { blob, .. } => blob == id,
            Ask::Many { .. } => false,
        };
        let tickets: Vec<Ticket> = self
            .sent
            .iter()
            .filter(|(_, sent)| of_blob(sent))
            .map(|(ticket, _)| *ticket)
            .collect();
        self.void(&tickets);
        tickets
    }

    /// Adds a small blob, expected to have this many bytes.
    pub fn add_item(&mut self, id: ItemId, expected: u64) {
        self.pool.add(id, expected);
        self.stir();
    }

    // -- who is asked next

    /// Finds the place of a peer of which something has changed.
    fn place(&mut self, peer: &PeerId, now: Instant) {
        let Self {
            peers,
            ready,
            random,
            bounds,
            ..
        } = self;
        if let Some(known) = peers.get_mut(peer) {
            let stand = known.stands(now, bounds.window, random);
            ready.place(*peer, known.stand, stand);
            known.stand = stand;
        }
    }

    /// Looks again at those that had nothing that was wanted: more is wanted now.
    fn stir(&mut self) {
        for peer in self.ready.barren() {
            if let Some(known) = self.peers.get_mut(&peer) {
                known.barren = false;
                let stand = Stand::Ready(known.in_flight(), known.tie(&mut self.random));
                self.ready.place(peer, known.stand, stand);
                known.stand = stand;
            }
        }
    }

    /// Looks again at one that has something new.
    fn has_more(&mut self, peer: &PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.barren = false;
        }
        self.place(peer, now);
    }
}
