//! The next request, and when there may be one.
use std::time::{Duration, Instant};

use cardume_transfer::Backlog;
use libp2p_identity::PeerId;

use super::{
    Ask, Order, Schedule, Sent, Ticket,
    blob::Blob,
    peer::{AT_LEAST, Peer},
};

/// Questions about what is held that one peer has not answered, at most.
const MAX_POLLS: usize = 3;
/// A request that takes twice as long, or twice what is usual, need not hold others up.
const LONG: Duration = Duration::from_millis(200);
/// How often the end game is looked at.
const END_GAME_TICK: Duration = Duration::from_millis(100);

impl Schedule {
    /// Notes how long our own limits need for another piece of each peer; more than that is not asked for.
    pub(crate) fn hold_back(&mut self, backlog: impl Fn(&PeerId) -> Backlog) {
        for (id, peer) in &mut self.peers {
            peer.hold_back(backlog(id));
        }
    }

    /// The next request to send, if any.
    pub fn next(&mut self, now: Instant) -> Option<Order> {
        self.next_poll(now).or_else(|| self.next_content(now))
    }

    /// When to call [`next`](Self::next) and [`expire`](Self::expire) again, if nothing happens before.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
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
        let extra = self.blobs.values().filter_map(|blob| blob.next_extra(now));
        due.chain(quiet).chain(polls).chain(tick).chain(extra).min()
    }

    /// Gives what is overdue to others.
    pub fn expire(&mut self, now: Instant) {
        for (ticket, sent) in &mut self.sent {
            if sent.overdue || sent.due > now {
                continue;
            }
            sent.overdue = true;
            match &sent.ask {
                Ask::Have { .. } => continue,
                Ask::Proof { blob, .. } => {
                    if let Some(blob) = self.blobs.get_mut(blob) {
                        blob.proof_ended(*ticket);
                    }
                }
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
        let in_flight = self.in_flight();
        let window = self.pace.window(self.peers.len(), self.bounds.in_flight);
        if in_flight >= self.bounds.in_flight || self.in_time(now) >= window {
            return None;
        }
        for peer in self.peers_with_room(now, in_flight < AT_LEAST) {
            if let Some(ask) = self.pick(&peer, now) {
                let share = self.peers.get_mut(&peer).map_or(1, Peer::sent);
                return Some(self.send(peer, ask, now, share));
            }
        }
        None
    }

    /// Requests for content that may well be answered soon.
    fn in_time(&self, now: Instant) -> usize {
        let usual = self.usual_delay().unwrap_or(LONG).max(LONG);
        let is_late = |sent: &&Sent| now.saturating_duration_since(sent.at) > usual * 2;
        let content = self.sent.values().filter(|sent| sent.share > 0);
        content.filter(|sent| !is_late(sent)).count()
    }

    /// Peers that may be asked for more, those with the fewest requests first, in random order among equals.
    ///
    /// Our own limits for all peers count unless `at_once`.
    fn peers_with_room(&mut self, now: Instant, at_once: bool) -> Vec<PeerId> {
        let Self {
            peers,
            random,
            bounds,
            ..
        } = self;
        let may = |peer: &Peer| peer.has_room(now, bounds.window) && (at_once || peer.is_in_time());
        let free = peers.iter().filter(|(_, peer)| may(peer));
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
            if let Some(ask) = blob.pick(*id, peer, now, &mut self.random) {
                return Some(ask);
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
        match &ask {
            Ask::Proof { blob, size } => {
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
}
