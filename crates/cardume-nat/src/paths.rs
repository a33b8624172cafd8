//! Closes relayed connections that a direct one has replaced.
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cardume_behaviour::Onlooker;
use libp2p_identity::PeerId;
use libp2p_swarm::{CloseConnection, ConnectionId, FromSwarm, ToSwarm};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time for the other side to have its end of the direct connection too, and for answers on their way to arrive.
const LINGER: Duration = Duration::from_secs(1);

/// The relayed connections of each peer.
///
/// Requests go over any of a peer's connections: one through a relay would go on costing its relay, and be the
/// slowest of them.
#[derive(Debug, Default)]
pub struct Paths {
    relayed: HashMap<PeerId, Vec<ConnectionId>>,
    /// What is to be closed, and when; the first that is due first.
    replaced: VecDeque<(Instant, PeerId, ConnectionId)>,
    /// Made when first needed: only then is there surely a runtime.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paths {
    fn opened(&mut self, peer: PeerId, id: ConnectionId, is_relayed: bool, now: Instant) {
        if is_relayed {
            // The peer may know better than we do that an older direct connection is dead.
            self.relayed.entry(peer).or_default().push(id);
            return;
        }
        for replaced in self.relayed.remove(&peer).into_iter().flatten() {
            tracing::debug!(%peer, "a direct connection replaces one through a relay");
            self.replaced.push_back((now + LINGER, peer, replaced));
        }
    }

    /// The next connection that is to be closed now.
    fn due(&mut self, now: Instant) -> Option<(PeerId, ConnectionId)> {
        let (_, peer, id) = self.replaced.front().filter(|(at, ..)| *at <= now).copied()?;
        self.replaced.pop_front();
        Some((peer, id))
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(relayed) = self.relayed.get_mut(&peer) {
            relayed.retain(|other| *other != id);
            if relayed.is_empty() {
                self.relayed.remove(&peer);
            }
        }
    }
}

impl Onlooker for Paths {
    type Event = Infallible;

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                self.opened(
                    e.peer_id,
                    e.connection_id,
                    e.endpoint.is_relayed(),
                    Instant::now(),
                );
            }
            FromSwarm::ConnectionClosed(e) => self.closed(e.peer_id, e.connection_id),
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        loop {
            if let Some((peer_id, id)) = self.due(Instant::now()) {
                return Poll::Ready(ToSwarm::CloseConnection {
                    peer_id,
                    connection: CloseConnection::One(id),
                });
            }
            let Some((next, ..)) = self.replaced.front() else {
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(*next)));
            timer.as_mut().reset(*next);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_connection_closes_the_relayed_ones_before_it_in_a_while() {
        let (mut paths, peer, other) = (Paths::default(), PeerId::random(), PeerId::random());
        let [first, second, third] = [1, 2, 3].map(ConnectionId::new_unchecked);
        let now = Instant::now();
        paths.opened(peer, first, true, now);
        paths.opened(other, second, true, now);
        paths.opened(peer, third, false, now);
        assert_eq!(paths.due(now), None);
        assert_eq!(paths.due(now + LINGER), Some((peer, first)));
        assert_eq!(paths.due(now + LINGER), None);
        for (peer, id) in [(peer, first), (other, second), (peer, third)] {
            paths.closed(peer, id);
        }
        assert!(paths.relayed.is_empty());
    }

    #[test]
    fn a_relayed_connection_beside_a_direct_one_stays() {
        let (mut paths, peer, now) = (Paths::default(), PeerId::random(), Instant::now());
        paths.opened(peer, ConnectionId::new_unchecked(1), false, now);
        paths.opened(peer, ConnectionId::new_unchecked(2), true, now);
        assert!(paths.replaced.is_empty());
    }
}
