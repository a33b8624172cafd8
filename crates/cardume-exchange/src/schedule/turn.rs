//! The next request, and when there may be one.
use std::time::{Duration, Instant};

use cardume_transfer::Backlog;
use libp2p_identity::PeerId;

use super::{
    Ask, BlobId, Order, Schedule, Sent, Ticket,
    blob::Blob,
    peer::{AT_LEAST, Peer},
};

/// Questions about what is held that one peer has not answered, at most.
const MAX_POLLS: usize = 3;
/// When a peer that has as many is looked at again.
const POLLS_PAUSE: Duration = Duration::from_millis(100);
/// A request that takes twice as long, or twice what is usual, need not hold others up.
const LONG: Duration = Duration::from_millis(200);
/// How often the end game is looked at.
const END_GAME_TICK: Duration = Duration::from_millis(100);

impl Schedule {
    /// Notes which peers are not to be asked for content, though they have it: the way to them is not for so much.
    pub(crate) fn bar(&mut self, is_barred: impl Fn(&PeerId) -> bool) {
        for (id, peer) in &mut self.peers {
            peer.is_barred = is_barred(id);
        }
    }

    /// Whether there are peers, and none of them is to be asked for content.
    pub(crate) fn is_barred(&self) -> bool {
        !self.peers.is_empty() && self.peers.values().all(|peer| peer.is_barred)
    }

    /// The next request to send, if any.
    pub fn next(&mut self, now: Instant) -> Option<Order> {
        self.next_within(now, |_| Backlog::default())
    }

    /// The next request to send; `backlog` is how long our own limits need for another piece of a peer, and more than
    /// that is not asked for.
    pub(crate) fn next_within(
        &mut self,
        now: Instant,
        backlog: impl Fn(&PeerId) -> Backlog,
    ) -> Option<Order> {
        while let Some(peer) = self.ready.rested(now) {
            self.place(&peer, now);
        }
        self.next_poll(now).or_else(|| self.next_content(now, backlog))
    }

    /// When to call [`next`](Self::next) and [`expire`](Self::expire) again, if nothing happens before.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        let live = self.live.iter().filter_map(|ticket| self.sent.get(ticket));
        let due = live.filter(|sent| !sent.overdue).map(|sent| sent.due);
        let quiet = self.ready.next_rested();
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
        let extra = self.blobs.values().filter_map(|blob| blob.next_extra(now));
        due.chain(quiet).chain(polls).chain(tick).chain(extra).min()
    }

    /// Gives what is overdue to others.
    pub fn expire(&mut self, now: Instant) {
        let live = self.live.iter().copied();
        let is_due = |ticket: &Ticket| {
            let sent = self.sent.get(ticket);
            sent.is_some_and(|sent| !sent.overdue && sent.due <= now)
        };
        let due: Vec<Ticket> = live.filter(is_due).collect();
        for ticket in due {
            let Some(sent) = self.sent.get_mut(&ticket) else {
                continue;
            };
            sent.overdue = true;
            let peer = sent.peer;
            match &sent.ask {
                Ask::Have { .. } => {}
                Ask::Proof { blob, .. } => {
                    if let Some(blob) = self.blobs.get_mut(blob) {
                        blob.proof_ended(ticket);
                    }
                }
                Ask::Piece { blob, piece, .. } => {
                    if let Some(blob) = self.blobs.get_mut(blob) {
                        blob.overdue(ticket, *piece);
                    }
                }
                Ask::Many { items } => items.iter().rev().for_each(|item| self.pool.reopen(*item)),
            }
            if let Some(known) = self.peers.get_mut(&peer) {
                known.overdue(now);
            }
            self.place(&peer, now);
            self.stir();
        }
    }

    /// The question about what is held that is due first. Whoever cannot be asked now is asked later.
    fn next_poll(&mut self, now: Instant) -> Option<Order> {
        let ids: Vec<BlobId> = self.blobs.keys().copied().collect();
        for id in ids {
            while let Some((peer, since)) = self.blobs.get(&id).and_then(|blob| blob.poll_due(now)) {
                let known = self.peers.get_mut(&peer);
                let later = match &known {
                    None => None,
                    Some(known) if known.polls >= MAX_POLLS => Some(now + POLLS_PAUSE),
                    Some(known) => known.is_quiet(now),
                };
                if let Some(blob) = self.blobs.get_mut(&id) {
                    blob.poll_at(&peer, later);
                }
                if let (Some(known), None) = (known, later) {
                    known.polls += 1;
                    return Some(self.send(peer, Ask::Have { blob: id, since }, now, 0));
                }
            }
        }
        None
    }

    fn next_content(&mut self, now: Instant, backlog: impl Fn(&PeerId) -> Backlog) -> Option<Order> {
        let in_flight = self.in_flight();
        let window = self.pace.window(self.peers.len(), self.bounds.in_flight);
        if in_flight >= self.bounds.in_flight || self.in_time(now) >= window {
            return None;
        }
        let mut last = None;
        while let Some(entry) = self.ready.after(last) {
            last = Some(entry);
            let (_, _, peer) = entry;
            let Some(known) = self.peers.get_mut(&peer) else {
                continue;
            };
            known.hold_back(backlog(&peer));
            // Our own limits for all peers count unless hardly anything is on its way.
            if known.is_barred || !known.fits() || !(in_flight < AT_LEAST || known.is_in_time()) {
                continue;
            }
            match self.pick(&peer, now) {
                Some(ask) => return Some(self.send_content(peer, ask, now)),
                None => self.note_barren(&peer, now),
            }
        }
        let (peer, ask) = self.pick_end_game(now)?;
        Some(self.send_content(peer, ask, now))
    }

    fn send_content(&mut self, peer: PeerId, ask: Ask, now: Instant) -> Order {
        let share = self.peers.get_mut(&peer).map_or(1, Peer::sent);
        let order = self.send(peer, ask, now, share);
        self.place(&peer, now);
        order
    }

    /// Passes a peer over until it has more, or more is wanted. Sources that are spared are looked at each time.
    fn note_barren(&mut self, peer: &PeerId, now: Instant) {
        if self.blobs.values().any(|blob| blob.is_source(peer)) {
            return;
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.barren = true;
        }
        self.place(peer, now);
    }

    /// Requests for content that may well be answered soon.
    fn in_time(&self, now: Instant) -> usize {
        let usual = self.pace.usual().unwrap_or(LONG).max(LONG);
        let live = self.live.iter().filter_map(|ticket| self.sent.get(ticket));
        live.filter(|sent| now.saturating_duration_since(sent.at) <= usual * 2)
            .count()
    }

    fn pick(&mut self, peer: &PeerId, now: Instant) -> Option<Ask> {
        if !self.pool.is_empty() {
            let items = self.pool.take(peer, self.peers.len());
            if !items.is_empty() {
                return Some(Ask::Many { items });
            }
        }
        let random = &mut self.random;
        self.blobs
            .iter_mut()
            .find_map(|(id, blob)| blob.pick(*id, peer, now, random))
    }

    /// With every piece on its way, one whose answer takes longer than usual is asked for a second time, elsewhere.
    fn pick_end_game(&self, now: Instant) -> Option<(PeerId, Ask)> {
        let is_all_asked = |blob: &Blob| !blob.is_proven() || blob.is_all_asked();
        if !self.blobs.values().all(is_all_asked) {
            return None;
        }
        let usual = self.pace.usual()?.max(END_GAME_TICK);
        let late = |ticket: &Ticket| self.sent.get(ticket).filter(|sent| sent.at + usual <= now);
        for (id, blob) in &self.blobs {
            for (piece, asked) in blob.asked_once() {
                if !asked.iter().all(|ticket| late(ticket).is_some()) {
                    continue;
                }
                let asks = |peer: &PeerId| asked.iter().filter_map(late).any(|sent| sent.peer == *peer);
                let free = self.peers.iter().find(|(peer, known)| {
                    !known.is_barred
                        && known.is_free(now, self.bounds.window)
                        && blob.has(peer, piece)
                        && !asks(peer)
                });
                if let (Some((peer, _)), Some(size)) = (free, blob.size()) {
                    let blob = *id;
                    return Some((*peer, Ask::Piece { blob, size, piece }));
                }
            }
        }
        None
    }

    fn send(&mut self, peer: PeerId, ask: Ask, now: Instant, share: usize) -> Order {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        match &ask {
            Ask::Proof { blob, size, .. } => {
                if let Some(blob) = self.blobs.get_mut(blob) {
                    blob.proof_asked(ticket, *size);
                }
            }
            Ask::Piece { blob, piece, .. } => {
                if let Some(blob) = self.blobs.get_mut(blob) {
                    blob.asked(ticket, *piece);
                }
            }
            Ask::Have { .. } | Ask::Many { .. } => {}
        }
        let patience = self.peers.get(&peer).map(|peer| match ask {
            Ask::Proof { ref along, .. } if along.is_empty() => peer.proof_deadline(),
            _ => peer.deadline(self.pace.usual()),
        });
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
        if share > 0 {
            self.live.insert(ticket);
        }
        self.sent.insert(ticket, sent);
        Order { ticket, peer, ask }
    }
}
