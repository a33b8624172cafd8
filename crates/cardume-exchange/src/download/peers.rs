//! Peers that come and go.
use std::time::Instant;

use futures::FutureExt;
use libp2p_identity::PeerId;

use super::{Download, Event};
use crate::{schedule::Ticket, sources::Found};

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
        self.hope.found();
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
                let _ = connect.refuse(peer).await;
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
}
