//! What a lookup for providers has found.
use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use libp2p_core::Endpoint;
use libp2p_identity::PeerId;
use libp2p_kad::{GetProvidersOk, RecordKey as Key};
use libp2p_swarm::{ConnectionId, NetworkBehaviour as _};
use multiaddr::Multiaddr;
use tokio::sync::mpsc;

use crate::{handle::Provider, inner::Dht, routing::Routing};

/// Providers told of by one lookup; forty answers of different liars fit beside those of honest peers.
const MAX_FOUND: usize = 1024;

/// Providers taken from one answer: an honest one has no more, and a liar may name thousands.
const MAX_ANSWERED: usize = 20;

/// Addresses told of one peer.
const MAX_TOLD: usize = 16;

/// The reader of one lookup, and what it was told.
pub(crate) struct Providers {
    key: Key,
    found: mpsc::Sender<Provider>,
    /// Done when the reader has gone.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    told: HashSet<PeerId>,
    /// Named by somebody, but with no address so far.
    bare: HashSet<PeerId>,
}

impl Providers {
    pub(crate) fn new(key: Key, found: mpsc::Sender<Provider>) -> Self {
        let sender = found.clone();
        Self {
            key,
            found,
            gone: Box::pin(async move { sender.closed().await }),
            told: HashSet::new(),
            bare: HashSet::new(),
        }
    }

    /// Ready when the reader has gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gone.as_mut().poll(cx)
    }

    /// Tells of the peers named in one answer.
    ///
    /// However many there are, the lookup goes on: else a liar would end it with names of nobody.
    ///
    /// Addresses are taken now: those that came with the answer are known only as long as the lookup runs.
    pub(crate) fn on_found(
        &mut self,
        dht: &mut Dht,
        routing: &Routing,
        local: &PeerId,
        found: GetProvidersOk,
    ) {
        let GetProvidersOk::FoundProviders { providers, .. } = found else {
            return;
        };
        let stored: Vec<_> = dht.store_mut().announced(&self.key).cloned().collect();
        for peer in providers.into_iter().take(MAX_ANSWERED) {
            if peer == *local || self.told.contains(&peer) || self.told.len() >= MAX_FOUND {
                continue;
            }
            let mut addresses = addresses(dht, routing, &peer);
            for record in stored.iter().filter(|record| record.provider == peer) {
                append(&mut addresses, &peer, record.addresses.iter().cloned());
            }
            if addresses.is_empty() && !routing.is_connected(&peer) {
                if self.bare.len() < MAX_FOUND {
                    self.bare.insert(peer);
                }
                continue;
            }
            self.bare.remove(&peer);
            self.tell(Provider { peer, addresses });
        }
    }

    pub(crate) fn on_end(mut self) {
        for peer in std::mem::take(&mut self.bare) {
            let addresses = Vec::new();
            self.tell(Provider { peer, addresses });
        }
    }

    /// A full channel drops the provider, not the swarm's time; another peer's answer may name it again.
    fn tell(&mut self, provider: Provider) {
        let peer = provider.peer;
        if self.found.try_send(provider).is_ok() {
            self.told.insert(peer);
        }
    }
}

/// Where a peer is, by the routing table and the lookups that run.
///
/// This is what the behaviour answers when the swarm dials the peer, and has no side effects there.
pub(crate) fn addresses(dht: &mut Dht, routing: &Routing, peer: &PeerId) -> Vec<Multiaddr> {
    let id = ConnectionId::new_unchecked(0);
    let known = dht.handle_pending_outbound_connection(id, Some(*peer), &[], Endpoint::Dialer);
    let mut addresses = Vec::new();
    let mut known = known.unwrap_or_default();
    known.retain(|address| routing.believes(dht, peer, address));
    append(&mut addresses, peer, known);
    addresses
}

/// Adds addresses, each once and each with the peer's id at its end.
pub(crate) fn append(to: &mut Vec<Multiaddr>, peer: &PeerId, from: impl IntoIterator<Item = Multiaddr>) {
    for address in from {
        let Ok(address) = address.with_p2p(*peer) else {
            continue;
        };
        if to.len() < MAX_TOLD && !to.contains(&address) {
            to.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Provider {
        Provider {
            peer: PeerId::random(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_slow_reader_misses_providers_and_holds_up_nothing() {
        let (found, mut reader) = mpsc::channel(1);
        let mut lookup = Providers::new(Key::new(b"key"), found);
        let (first, second) = (provider(), provider());
        lookup.tell(first.clone());
        lookup.tell(second.clone());
        assert_eq!(reader.try_recv().ok(), Some(first));
        assert!(reader.try_recv().is_err());
        lookup.tell(second.clone());
        assert_eq!(reader.try_recv().ok(), Some(second), "it may be told of again");
    }

    #[test]
    fn addresses_are_told_once_each_and_with_the_peer_they_lead_to() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let plain: Multiaddr = "/ip4/192.0.2.1/tcp/4011".parse().unwrap();
        let full = plain.clone().with_p2p(peer).unwrap();
        let foreign = plain.clone().with_p2p(other).unwrap();
        let mut addresses = Vec::new();
        append(&mut addresses, &peer, [plain, full.clone(), foreign]);
        assert_eq!(addresses, [full]);
        let many = (0..100).map(|port| format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap());
        append(&mut addresses, &peer, many);
        assert_eq!(addresses.len(), MAX_TOLD);
    }
}
