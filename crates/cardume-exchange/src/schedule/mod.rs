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

use cardume_content::PieceSet;
use libp2p_identity::PeerId;

use self::{blob::Blob, peer::Peer, small::Pool};

mod blob;
mod peer;
mod small;
#[cfg(test)]
mod tests;

/// A large blob, fetched piece by piece.
pub(crate) type BlobId = u32;
/// A small blob, fetched whole with others.
pub(crate) type ItemId = u32;
/// One request.
pub(crate) type Ticket = u64;

/// Questions about what is held that one peer has not answered, at most.
const MAX_POLLS: usize = 3;
/// How often the end game is looked at.
const END_GAME_TICK: Duration = Duration::from_millis(100);

/// What to ask a peer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// What it holds of a blob.
    Have { blob: BlobId, since: Option<u64> },
    /// One piece of a blob that has `size` bytes, or is claimed to.
    Piece { blob: BlobId, size: u64, piece: u64 },
    /// Small blobs.
    Many { items: Vec<ItemId> },
}

/// A request to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) ticket: Ticket,
    pub(crate) peer: PeerId,
    pub(crate) ask: Ask,
}

/// Why a request brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer does not have it.
    NotFound,
    /// The peer wants to be asked later.
    Busy(Duration),
    /// The request or the connection failed.
    Failed,
}

/// Bounds on what is asked for at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) window: usize,
    pub(crate) in_flight: usize,
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

/// The requests of one fetch over all its peers.
#[derive(Debug)]
pub(crate) struct Schedule {
    bounds: Bounds,
    peers: BTreeMap<PeerId, Peer>,
    banned: BTreeSet<PeerId>,
    blobs: BTreeMap<BlobId, Blob>,
    pool: Pool,
    sent: BTreeMap<Ticket, Sent>,
    last_ticket: Ticket,
    random: Random,
}

impl Schedule {
    pub(crate) fn new(bounds: Bounds, seed: u64) -> Self {
        Self {
            bounds,
            peers: BTreeMap::new(),
            banned: BTreeSet::new(),
            blobs: BTreeMap::new(),
            pool: Pool::default(),
            sent: BTreeMap::new(),
            last_ticket: 0,
            random: Random(seed),
        }
    }

    // -- peers

    /// Takes a peer in; `false` if it was banned or is known.
    pub(crate) fn add_peer(&mut self, peer: PeerId, now: Instant) -> bool {
        if self.banned.contains(&peer) || self.peers.contains_key(&peer) {
            return false;
        }
        self.peers.insert(peer, Peer::new());
        for blob in self.blobs.values_mut() {
            blob.add_peer(peer, now);
        }
        self.pool.forgive();
        true
    }

    /// Lets a peer go; returns the requests to it, which are void.
    pub(crate) fn drop_peer(&mut self, peer: &PeerId) -> Vec<Ticket> {
        let of_peer = self.sent.iter().filter(|(_, sent)| sent.peer == *peer);
        let tickets: Vec<Ticket> = of_peer.map(|(ticket, _)| *ticket).collect();
        for ticket in &tickets {
            if let Some(sent) = self.sent.remove(ticket) {
                self.release(*ticket, &sent);
            }
        }
        self.peers.remove(peer);
        for blob in self.blobs.values_mut() {
            blob.drop_peer(peer);
        }
        tickets
    }

    /// Lets a peer go for good: it lied.
    pub(crate) fn ban(&mut self, peer: PeerId) -> Vec<Ticket> {
        self.banned.insert(peer);
        self.drop_peer(&peer)
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    pub(crate) fn has_banned(&self) -> bool {
        !self.banned.is_empty()
    }

    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are peers, and all of them say that they have nothing of what is wanted (any more).
    pub(crate) fn is_refused(&self) -> bool {
        let is_refused = !self.blobs.is_empty() && self.blobs.values().all(Blob::is_refused);
        is_refused && self.pool.is_empty() && !self.peers.is_empty()
    }

    // -- work

    /// Adds a blob whose size is not known; with `only_focus`, just what [`focus`](Self::focus) names is fetched.
    pub(crate) fn add_blob(&mut self, id: BlobId, only_focus: bool, now: Instant) {
        let mut blob = Blob::new(only_focus);
        for peer in self.peers.keys() {
            blob.add_peer(*peer, now);
        }
        self.blobs.insert(id, blob);
    }

    /// Starts asking for the pieces of a blob whose size is proven; returns those who claimed another.
    pub(crate) fn start_blob(&mut self, id: BlobId, size: u64, held: PieceSet) -> Vec<PeerId> {
        let blob = self.blobs.get_mut(&id);
        blob.map(|blob| blob.start(size, held)).unwrap_or_default()
    }

    /// Notes that a claimed size is being checked, or was not proven.
    pub(crate) fn set_proving(&mut self, id: BlobId, proving: bool) {
        if let Some(blob) = self.blobs.get_mut(&id) {
            blob.set_proving(proving);
        }
    }

    /// Moves the pieces a reader waits for.
    pub(crate) fn focus(&mut self, id: BlobId, pieces: Range<u64>) {
        if let Some(blob) = self.blobs.get_mut(&id) {
            blob.set_focus(pieces);
        }
    }

    /// Ends the work on a blob; returns requests that are not needed any more.
    pub(crate) fn remove_blob(&mut self, id: BlobId) -> Vec<Ticket> {
        self.blobs.remove(&id);
        let of_blob = |sent: &Sent| match sent.ask {
            Ask::Have { blob, .. } | Ask::Piece { blob, .. } => blob == id,
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
    pub(crate) fn add_item(&mut self, id: ItemId, expected: u64) {
        self.pool.add(id, expected);
    }

    // -- what to do next

    /// The next request to send, if any.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Order> {
        self.next_poll(now).or_else(|| self.next_content(now))
    }

    /// When to call [`next`](Self::next) and [`expire`](Self::expire) again, if nothing happens before.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        let due = self
            .sent
            .values()
            .filter(|sent| !sent.overdue)
            .map(|sent| sent.due);
        let quiet = self.peers.values().filter_map(|peer| peer.is_quiet(now));
        let polls = self
            .blobs
            .values()
            .filter_map(Blob::next_poll)
            .filter(|at| *at > now);
        let end_game = self
            .blobs
            .values()
            .any(|blob| blob.is_proven() && blob.is_all_asked());
        let tick = end_game.then(|| now + END_GAME_TICK);
        due.chain(quiet).chain(polls).chain(tick).min()
    }

    /// Gives what is overdue to others.
    pub(crate) fn expire(&mut self, now: Instant) {
        for (ticket, sent) in &mut self.sent {
            if sent.overdue || sent.due > now {
                continue;
            }
            sent.overdue = true;
            match &sent.ask {
                Ask::Have { .. } => continue,
                Ask::Piece { blob, piece, .. } => {
                    if let Some(blob) = self.blobs.get_mut(blob) {
                        blob.overdue(*ticket, *piece);
                    }
                }
                Ask::Many { items } => items.iter().rev().for_each(|item| self.pool.reopen(*item)),
            }
            if let Some(peer) = self.peers.get_mut(&sent.peer) {
                peer.overdue(now);
            }
        }
    }

    fn next_poll(&mut self, now: Instant) -> Option<Order> {
        let ask = self.peers.iter().find_map(|(id, peer)| {
            if peer.polls >= MAX_POLLS || peer.is_quiet(now).is_some() {
                return None;
            }
            self.blobs.iter().find_map(|(blob, state)| {
                let since = state.poll_due(id, now)?;
                Some((*id, *blob, since))
            })
        });
        let (peer, blob, since) = ask?;
        self.blobs.get_mut(&blob)?.polled(&peer);
        self.peers.get_mut(&peer)?.polls += 1;
        Some(self.send(peer, Ask::Have { blob, since }, now, 0))
    }

    fn next_content(&mut self, now: Instant) -> Option<Order> {
        if self.sent.values().filter(|sent| sent.share > 0).count() >= self.bounds.in_flight {
            return None;
        }
        for peer in self.peers_with_room(now) {
            if let Some(ask) = self.pick(&peer, now) {
                let share = self.peers.get_mut(&peer).map_or(1, Peer::sent);
                return Some(self.send(peer, ask, now, share));
            }
        }
        None
    }

    /// Peers that may be asked for more, those with the fewest requests first, in random order among equals.
    fn peers_with_room(&mut self, now: Instant) -> Vec<PeerId> {
        let Self {
            peers,
            random,
            bounds,
            ..
        } = self;
        let free = peers.iter().filter(|(_, peer)| peer.has_room(now, bounds.window));
        let mut free: Vec<(usize, u64, PeerId)> = free
            .map(|(id, peer)| (peer.in_flight(), random.next(), *id))
            .collect();
        free.sort_unstable();
        free.into_iter().map(|(_, _, id)| id).collect()
    }

    fn pick(&mut self, peer: &PeerId, now: Instant) -> Option<Ask> {
        if !self.pool.is_empty() {
            let items = self.pool.take(peer, self.peers.len());
            if !items.is_empty() {
                return Some(Ask::Many { items });
            }
        }
        for (id, blob) in &mut self.blobs {
            if let Some((size, piece)) = blob.pick(peer, &mut self.random) {
                return Some(Ask::Piece {
                    blob: *id,
                    size,
                    piece,
                });
            }
        }
        self.pick_end_game(peer, now)
    }

    /// With every piece on its way, asks for one a second time if its answer takes longer than usual.
    fn pick_end_game(&self, peer: &PeerId, now: Instant) -> Option<Ask> {
        if !self
            .blobs
            .values()
            .all(|blob| !blob.is_proven() || blob.is_all_asked())
        {
            return None;
        }
        let usual = self.usual_delay()?.max(END_GAME_TICK);
        let may = |ticket: Ticket| {
            let sent = self.sent.get(&ticket);
            sent.is_some_and(|sent| sent.peer != *peer && sent.at + usual <= now)
        };
        self.blobs.iter().find_map(|(id, blob)| {
            let (size, piece) = blob.pick_again(peer, may)?;
            Some(Ask::Piece {
                blob: *id,
                size,
                piece,
            })
        })
    }

    /// What the faster half of the peers needs for an answer.
    fn usual_delay(&self) -> Option<Duration> {
        let mut delays: Vec<Duration> = self.peers.values().filter_map(Peer::delay).collect();
        delays.sort_unstable();
        delays.get(delays.len().saturating_sub(1) / 2).copied()
    }

    fn send(&mut self, peer: PeerId, ask: Ask, now: Instant, share: usize) -> Order {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        if let Ask::Piece { blob, size, piece } = &ask
            && let Some(blob) = self.blobs.get_mut(blob)
        {
            blob.asked(ticket, *size, *piece);
        }
        let usual = self.usual_delay();
        let patience = self.peers.get(&peer).map(|peer| peer.deadline(usual));
        let due = now + patience.unwrap_or_default();
        let sent = Sent {
            peer,
            ask: ask.clone(),
            at: now,
            // Questions may wait for a change at the peer; the transfer's own timeout ends them.
            due: if share == 0 {
                now + Duration::from_secs(3600)
            } else {
                due
            },
            share,
            overdue: false,
        };
        self.sent.insert(ticket, sent);
        Order { ticket, peer, ask }
    }

    // -- answers

    /// Takes in what a peer holds. `false`: it lies.
    pub(crate) fn on_have(
        &mut self,
        ticket: Ticket,
        now: Instant,
        size: u64,
        version: u64,
        pieces: PieceSet,
    ) -> bool {
        let Some(sent) = self.sent.remove(&ticket) else {
            return true;
        };
        self.release(ticket, &sent);
        let Ask::Have { blob, .. } = sent.ask else {
            return true;
        };
        let blob = self.blobs.get_mut(&blob);
        blob.is_none_or(|blob| blob.have(&sent.peer, now, size, version, pieces))
    }

    /// Tells what a peer holds of a blob, learnt elsewhere. `false`: it lies.
    pub(crate) fn know(
        &mut self,
        peer: &PeerId,
        id: BlobId,
        now: Instant,
        size: u64,
        version: u64,
        pieces: PieceSet,
    ) -> bool {
        let blob = self.blobs.get_mut(&id);
        blob.is_none_or(|blob| blob.have(peer, now, size, version, pieces))
    }

    /// Notes an answer with content, which is then verified: [`verified`](Self::verified) or [`ban`](Self::ban) follow.
    ///
    /// The piece stays off the list meanwhile.
    pub(crate) fn on_content(&mut self, ticket: Ticket, now: Instant) {
        let Some(sent) = self.sent.get_mut(&ticket) else {
            return;
        };
        let delay = now.saturating_duration_since(sent.at);
        let (share, overdue) = (std::mem::take(&mut sent.share), std::mem::take(&mut sent.overdue));
        // Being verified now; it must not expire.
        sent.due = now + Duration::from_secs(3600);
        if overdue {
            match &sent.ask {
                Ask::Have { .. } => {}
                Ask::Piece { blob, piece, .. } => {
                    if let Some(blob) = self.blobs.get_mut(blob) {
                        blob.arrived(ticket, *piece);
                    }
                }
                Ask::Many { items } => items.iter().for_each(|item| self.pool.arrived(*item)),
            }
        }
        if let Some(peer) = self.peers.get_mut(&sent.peer) {
            peer.settled(overdue);
            peer.answered(delay, share, self.bounds.window);
        }
    }

    /// Notes a piece that is verified and written; returns requests that are not needed any more.
    pub(crate) fn verified(&mut self, id: BlobId, piece: u64) -> Vec<Ticket> {
        let Some(blob) = self.blobs.get_mut(&id) else {
            return Vec::new();
        };
        let tickets = blob.verified(piece);
        self.void(&tickets);
        tickets
    }

    /// Notes an item that is verified and kept; whether it was still wanted.
    pub(crate) fn item_verified(&mut self, id: ItemId) -> bool {
        self.pool.remove(id)
    }

    /// Ends a `Many`: what it did not bring is open again; of the rest, `lacking` is what the peer does not have.
    pub(crate) fn end_many(&mut self, ticket: Ticket, now: Instant, lacking: &[ItemId]) {
        let Some(sent) = self.sent.remove(&ticket) else {
            return;
        };
        for item in lacking {
            self.pool.refuse(*item, sent.peer);
        }
        self.release(ticket, &sent);
        if let Ask::Many { items } = &sent.ask
            && !lacking.is_empty()
            && lacking.len() * 2 >= items.len()
            && let Some(peer) = self.peers.get_mut(&sent.peer)
        {
            // It is fetching itself: let it get ahead.
            peer.busy(now + Duration::from_millis(500));
        }
    }

    /// Ends a request whose answer was of no use, though honest.
    pub(crate) fn end(&mut self, ticket: Ticket) {
        if let Some(sent) = self.sent.remove(&ticket) {
            self.release(ticket, &sent);
        }
    }

    /// Notes that a request brought nothing; `false` if the peer has failed too often and is let go.
    pub(crate) fn on_refusal(&mut self, ticket: Ticket, now: Instant, refusal: Refusal) -> bool {
        let Some(sent) = self.sent.remove(&ticket) else {
            return true;
        };
        self.release(ticket, &sent);
        if refusal == Refusal::NotFound || matches!(sent.ask, Ask::Have { .. }) {
            self.lacks(&sent, now);
        }
        let Some(peer) = self.peers.get_mut(&sent.peer) else {
            return true;
        };
        match refusal {
            Refusal::NotFound => true,
            Refusal::Busy(pause) => {
                peer.busy(now + pause.clamp(Duration::from_millis(50), Duration::from_secs(10)));
                true
            }
            Refusal::Failed => peer.failed(now),
        }
    }

    fn lacks(&mut self, sent: &Sent, now: Instant) {
        match &sent.ask {
            Ask::Have { blob, .. } | Ask::Piece { blob, .. } => {
                if let Some(blob) = self.blobs.get_mut(blob) {
                    blob.lacks(&sent.peer, now);
                }
            }
            Ask::Many { items } => {
                for item in items {
                    self.pool.refuse(*item, sent.peer);
                }
            }
        }
    }

    /// Frees what a request that has ended took.
    fn release(&mut self, ticket: Ticket, sent: &Sent) {
        if let Some(peer) = self.peers.get_mut(&sent.peer) {
            match sent.ask {
                Ask::Have { .. } => peer.polls = peer.polls.saturating_sub(1),
                _ if sent.share > 0 => peer.settled(sent.overdue),
                _ => {}
            }
        }
        match &sent.ask {
            Ask::Have { .. } => {}
            Ask::Piece { blob, piece, .. } => {
                if let Some(blob) = self.blobs.get_mut(blob) {
                    blob.unasked(ticket, *piece);
                }
            }
            Ask::Many { items } => items.iter().rev().for_each(|item| self.pool.reopen(*item)),
        }
    }

    fn void(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            if let Some(sent) = self.sent.remove(ticket) {
                self.release(*ticket, &sent);
            }
        }
    }

    /// Asks everybody again for small blobs they did not have.
    pub(crate) fn forgive(&mut self) {
        self.pool.forgive();
    }
}

/// A small generator (SplitMix64): the choice among equal pieces needs to differ between nodes, not to be secret.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }
}
