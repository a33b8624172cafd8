//! What answers, and their absence, change.
use std::time::{Duration, Instant};

use cardume_content::PieceSet;
use libp2p_identity::PeerId;

use super::{Ask, BlobId, ItemId, Refusal, Schedule, Sent, Ticket};

impl Schedule {
    /// Takes in what a peer holds. `false`: it lies.
    pub fn on_have(
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
        self.know(&sent.peer, blob, now, size, version, pieces)
    }

    /// Tells what a peer holds of a blob, learnt elsewhere. `false`: it lies.
    pub fn know(
        &mut self,
        peer: &PeerId,
        id: BlobId,
        now: Instant,
        size: u64,
        version: u64,
        pieces: PieceSet,
    ) -> bool {
        let blob = self.blobs.get_mut(&id);
        let is_sound = blob.is_none_or(|blob| blob.have(peer, now, size, version, pieces));
        self.has_more(peer, now);
        is_sound
    }

    /// Notes an answer with content, which is then verified: [`verified`](Self::verified) or [`ban`](Self::ban) follow.
    ///
    /// The piece stays off the list meanwhile.
    pub fn on_content(&mut self, ticket: Ticket, now: Instant) {
        let Some(sent) = self.sent.get_mut(&ticket) else {
            return;
        };
        self.live.remove(&ticket);
        let delay = now.saturating_duration_since(sent.at);
        let (share, overdue) = (std::mem::take(&mut sent.share), std::mem::take(&mut sent.overdue));
        // Being verified now; it must not expire.
        sent.due = now + Duration::from_secs(3600);
        if overdue {
            match &sent.ask {
                Ask::Have { .. } | Ask::Proof { .. } => {}
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
            let least = peer.answered(delay, share, self.bounds.window);
            self.pace.answered(now, delay, least);
        }
        let peer = sent.peer;
        self.place(&peer, now);
    }

    /// Notes a piece that is verified and written; returns requests that are not needed any more.
    pub fn verified(&mut self, id: BlobId, piece: u64) -> Vec<Ticket> {
        let Some(blob) = self.blobs.get_mut(&id) else {
            return Vec::new();
        };
        let tickets = blob.verified(piece);
        self.void(&tickets);
        tickets
    }

    /// Notes an item that is verified and kept; whether it was still wanted.
    pub fn item_verified(&mut self, id: ItemId) -> bool {
        self.pool.remove(id)
    }

    /// Ends a `Many`: what it did not bring is open again; of the rest, `lacking` is what the peer does not have.
    pub fn end_many(&mut self, ticket: Ticket, now: Instant, lacking: &[ItemId]) {
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
        self.place(&sent.peer, now);
    }

    /// Ends a request whose answer was of no use, though honest.
    pub fn end(&mut self, ticket: Ticket) {
        if let Some(sent) = self.sent.remove(&ticket) {
            self.release(ticket, &sent);
            self.place(&sent.peer, sent.at);
        }
    }

    /// Notes that a request brought nothing; `false` if the peer has failed too often and is let go.
    pub fn on_refusal(&mut self, ticket: Ticket, now: Instant, refusal: Refusal) -> bool {
        let Some(sent) = self.sent.remove(&ticket) else {
            return true;
        };
        self.release(ticket, &sent);
        if refusal == Refusal::NotFound || matches!(sent.ask, Ask::Have { .. }) {
            self.lacks(&sent, now);
        }
        if let (Refusal::Elsewhere, Ask::Piece { blob, piece, .. }) = (refusal, &sent.ask)
            && let Some(blob) = self.blobs.get_mut(blob)
        {
            blob.is_elsewhere(*piece, now);
        }
        let Some(peer) = self.peers.get_mut(&sent.peer) else {
            return true;
        };
        let is_worth_it = match refusal {
            Refusal::NotFound => true,
            Refusal::Busy(pause) => {
                peer.busy(now + pause.clamp(Duration::from_millis(50), Duration::from_secs(10)));
                true
            }
            Refusal::Elsewhere => {
                peer.sent_elsewhere(now);
                true
            }
            Refusal::Failed => peer.failed(now),
        };
        self.place(&sent.peer, now);
        is_worth_it
    }

    fn lacks(&mut self, sent: &Sent, now: Instant) {
        match &sent.ask {
            Ask::Have { blob, .. } | Ask::Proof { blob, .. } | Ask::Piece { blob, .. } => {
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
    ///
    /// Whoever calls it finds the peer's place anew.
    pub(super) fn release(&mut self, ticket: Ticket, sent: &Sent) {
        self.live.remove(&ticket);
        if let Some(peer) = self.peers.get_mut(&sent.peer) {
            match sent.ask {
                Ask::Have { .. } => peer.polls = peer.polls.saturating_sub(1),
                _ if sent.share > 0 => peer.settled(sent.overdue),
                _ => {}
            }
        }
        let is_open_again = match &sent.ask {
            Ask::Have { .. } => false,
            Ask::Proof { blob, .. } => {
                if let Some(blob) = self.blobs.get_mut(blob) {
                    blob.proof_ended(ticket);
                }
                true
            }
            Ask::Piece { blob, piece, .. } => {
                let blob = self.blobs.get_mut(blob);
                blob.is_some_and(|blob| blob.unasked(ticket, *piece))
            }
            Ask::Many { items } => {
                items.iter().rev().for_each(|item| self.pool.reopen(*item));
                true
            }
        };
        if is_open_again {
            self.stir();
        }
    }

    pub(super) fn void(&mut self, tickets: &[Ticket]) {
        for ticket in tickets {
            if let Some(sent) = self.sent.remove(ticket) {
                self.release(*ticket, &sent);
                self.place(&sent.peer, sent.at);
            }
        }
    }

    /// Asks everybody again for small blobs they did not have.
    pub fn forgive(&mut self) {
        self.pool.forgive();
        self.stir();
    }
}
