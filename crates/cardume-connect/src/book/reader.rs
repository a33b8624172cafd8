//! The address book in the swarm: it learns from what happens there, and answers with addresses.
use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use cardume_behaviour::Onlooker;
use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, ToSwarm,
    behaviour::ConnectionEstablished, dial_opts::DialOpts,
};
use tokio::sync::Notify;

use super::{Book, Seen};

/// Peers of the last run dialled at the start: enough to find a network again, too few to be a flood.
const GREETED: usize = 32;
/// Of them at once.
const GREETED_AT_ONCE: usize = 8;

/// The book, shared with the task that writes it down. Held for moments only.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    book: Arc<Mutex<Book>>,
    changed: Arc<Notify>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something to write down.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the file should keep, if that has changed since the last call.
    pub(crate) fn take_changed(&self) -> Option<Vec<Seen>> {
        self.lock().take_changed(now())
    }

    /// Says that what was taken did not reach the file.
    pub(crate) fn put_back(&self) {
        self.update(Book::put_back);
    }

    fn update(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.lock();
        change(&mut book);
        if book.changed {
            self.changed.notify_one();
        }
    }
}

/// Learns addresses from the swarm, and gives them to those who dial.
pub struct Reader {
    book: Shared,
    connections: usize,
    /// Peers of the last run that are still to be dialled.
    greet: VecDeque<PeerId>,
    greeting: HashSet<ConnectionId>,
}

impl Reader {
    pub(crate) fn new(book: Shared) -> Self {
        let greet = book
            .lock()
            .seen(0)
            .iter()
            .take(GREETED)
            .map(|seen| seen.peer)
            .collect();
        Self {
            book,
            connections: 0,
            greet,
            greeting: HashSet::new(),
        }
    }

    /// Takes other addresses for those that configuration names.
    pub(crate) fn configure(&self, named: &[(PeerId, Multiaddr)]) {
        self.book.update(|book| book.configure(named.iter()));
    }

    /// Known addresses of a peer, best first.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.book.lock().addresses(peer)
    }

    fn on_established(&mut self, event: ConnectionEstablished<'_>) {
        self.connections += 1;
        self.greeting.remove(&event.connection_id);
        let dialled = match event.endpoint {
            ConnectedPoint::Dialer { address, .. } => Some(address),
            ConnectedPoint::Listener { .. } => None,
        };
        self.book.update(|book| {
            book.connected(event.peer_id, dialled, now());
            for address in event.failed_addresses {
                book.failed(event.peer_id, address);
            }
        });
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        self.connections = self.connections.saturating_sub(1);
        if event.remaining_established == 0 {
            self.book.update(|book| book.parted(event.peer_id, now()));
        }
    }

    fn on_dial_failure(&mut self, event: DialFailure<'_>) {
        self.greeting.remove(&event.connection_id);
        let Some(peer) = event.peer_id else {
            return;
        };
        match event.error {
            // Without any connection it is our own network that is down, and no address is to blame.
            DialError::Transport(errors) if self.connections > 0 => {
                let addresses = errors.iter().map(|(address, _)| address);
                self.book
                    .update(|book| addresses.for_each(|address| book.failed(peer, address)));
            }
            DialError::WrongPeerId { address, .. } | DialError::LocalPeerId { address } => {
                self.book.update(|book| book.disproved(peer, address));
            }
            _ => {}
        }
    }
}

/// Seconds since 1970; only ever compared with and shown to people.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |duration| duration.as_secs().max(1))
}

impl Onlooker for Reader {
    type Event = Infallible;

    fn on_pending_outbound(&mut self, peer: Option<PeerId>) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.addresses(&peer)).unwrap_or_default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(closed),
            FromSwarm::DialFailure(failure) => self.on_dial_failure(failure),
            FromSwarm::NewExternalAddrOfPeer(told) => {
                self.book
                    .update(|book| book.learn(told.peer_id, told.addr, false));
            }
            _ => {}
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        if self.greeting.len() < GREETED_AT_ONCE
            && let Some(peer) = self.greet.pop_front()
        {
            // The addresses come from this behaviour when the swarm asks for them; the default
            // condition leaves peers alone that are connected or being dialled.
            let opts = DialOpts::peer_id(peer).build();
            self.greeting.insert(opts.connection_id());
            return Poll::Ready(ToSwarm::Dial { opts });
        }
        Poll::Pending
    }
}
