//! Peers that come and go, and when to give up.
use std::time::{Duration, Instant};

use futures::FutureExt;
use libp2p_identity::PeerId;

use super::{Download, Event};
use crate::{FetchError, schedule::Ticket, sources::Found};

/// A download with requests out counts as stuck only after this much longer.
const IN_FLIGHT_GRACE: Duration = Duration::from_secs(60);
/// How long others are looked for when everybody so far lied.
const CORRUPT_GRACE: Duration = Duration::from_secs(5);

impl Download {
    pub(super) fn on_found(&mut self, found: Found) {
        let now = Instant::now();
        if self.schedule.is_banned(&found.peer) {
            return;
        }
        if self.schedule.add_peer(found.peer, now) {
            tracing::debug!(peer = %found.peer, cid = %self.root, size = found.size, "found a source");
        }
        let of_root = self.blobs.iter().find(|(_, blob)| blob.cid == self.root);
        if let Some(id) = of_root.map(|(id, _)| *id) {
            let pieces = found.pieces.clone();
            if !self
                .schedule
                .know(&found.peer, id, now, found.size, found.version, pieces)
            {
                self.ban(found.peer, "it claims a size that is not the content's");
                return;
            }
        }
        let first = self.claims.is_empty();
        self.claims.insert(found.peer, found);
        if first {
            self.ready.push_back(Event::Claimed);
        }
        self.sources.want(self.schedule.peer_count() < self.max_peers);
    }

    pub(super) fn drop_peer(&mut self, peer: PeerId, reason: &str) {
        tracing::debug!(%peer, cid = %self.root, reason, "a source is let go");
        let tickets = self.schedule.drop_peer(&peer);
        self.let_go(peer, &tickets);
        self.sources.lost(&peer);
    }

    pub(super) fn ban(&mut self, peer: PeerId, reason: &str) {
        tracing::warn!(%peer, cid = %self.root, ?reason, "a peer lies and is cut off");
        let tickets = self.schedule.ban(peer);
        self.let_go(peer, &tickets);
        self.finder.known.forget(&peer);
        let connect = self.finder.connect.clone();
        self.cut.push(
            async move {
                // Fails only when the node is stopping.
                let _ = connect.block(peer).await;
                let _ = connect.disconnect(peer).await;
            }
            .boxed(),
        );
    }

    fn let_go(&mut self, peer: PeerId, tickets: &[Ticket]) {
        self.abort(tickets);
        self.claims.remove(&peer);
        self.sources.want(self.schedule.peer_count() < self.max_peers);
    }

    /// When to give up if nothing moves; an error if that is now.
    pub(super) fn end(&self, now: Instant) -> Result<Instant, FetchError> {
        let alone = self.schedule.peer_count() == 0;
        if alone && self.schedule.has_banned() && self.sources.is_exhausted() {
            let end = self.moved + self.patience.min(CORRUPT_GRACE);
            if now >= end {
                return Err(FetchError::Corrupt);
            }
            return Ok(end);
        }
        let moving = self.tally.fetched_bytes() > 0;
        let patience = if moving {
            self.patience_once_moving
        } else {
            self.patience
        };
        let busy = !self.requests.is_empty() || !self.checks.is_empty();
        let grace = if alone || !busy {
            Duration::ZERO
        } else {
            IN_FLIGHT_GRACE
        };
        let end = self.moved.checked_add(patience.saturating_add(grace));
        let end = end.unwrap_or_else(|| now + Duration::from_secs(86_400));
        if now < end || !self.checks.is_empty() {
            return Ok(end.max(now + Duration::from_millis(10)));
        }
        if self.schedule.has_banned() {
            return Err(FetchError::Corrupt);
        }
        if self.sources.was_denied() {
            return Err(FetchError::Denied(format!(
                "peers have {} and do not give it to this node",
                self.root
            )));
        }
        Err(FetchError::NotFound { cid: self.root })
    }
}
