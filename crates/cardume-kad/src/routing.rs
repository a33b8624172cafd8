//! Who is in the routing table: peers that speak our protocol, alive, and not too many of one subnet.
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use cardume_behaviour::{Listening, Scope};
use libp2p_identity::PeerId;
use libp2p_kad as kad;
use libp2p_swarm::{DialError, FromSwarm};
use multiaddr::Multiaddr;

use crate::{
    address::subnet,
    inner::{Dht, Heard},
    records::MAX_ADDRESSES,
};

/// Peers of one subnet in the whole table.
const SUBNET_IN_TABLE: usize = 3;

/// Peers of one subnet in one bucket.
const SUBNET_IN_BUCKET: usize = 2;

/// Peers remembered with addresses before they are known to speak our protocol.
const MAX_HEARD: usize = 512;

/// A table smaller than this takes in peers that are not connected, so that it finds a way in.
const SMALL_TABLE: usize = kad::K_VALUE.get();

/// Failed dials after which a peer leaves the table.
const MAX_FAILURES: u32 = 3;

/// Failures closer together than this count once: parallel lookups dial the same peer at the same time.
const FAILURE_APART: Duration = Duration::from_secs(10);

/// How long ago a failure no longer matters.
const FAILURE_FORGOTTEN: Duration = Duration::from_secs(3600);

/// What is known of peers besides the table itself.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    connected: HashSet<PeerId>,
    speakers: HashSet<PeerId>,
    heard: HashMap<PeerId, Vec<Multiaddr>>,
    heard_order: VecDeque<PeerId>,
    failures: HashMap<PeerId, (u32, Instant)>,
    listening: Listening,
    /// How far away the farthest connected peer is, which may be told of anything in the table.
    told: Scope,
    /// How far away the farthest peer is that answers lookups, which may have said anything in them.
    heard_from: Scope,
}

impl Routing {
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains(peer)
    }

    /// Whether the peer has said that it speaks our protocol.
    pub(crate) fn speaks(&self, peer: &PeerId) -> bool {
        self.speakers.contains(peer)
    }

    /// Notes how far away the farthest of all connected peers is, and of those that speak our protocol.
    ///
    /// Addresses of this host leave the table when another host is told what is in it.
    pub(crate) fn settle(&mut self, dht: &mut Dht, farthest: Scope, speaker: Scope) {
        self.heard_from = speaker;
        let before = std::mem::replace(&mut self.told, farthest);
        if before > Scope::Host || farthest == Scope::Host {
            return;
        }
        let mut local = Vec::new();
        for bucket in dht.kbuckets() {
            for entry in bucket.iter() {
                let addresses = entry.node.value.iter().filter(|a| Scope::of(a) == Scope::Host);
                local.extend(addresses.map(|address| (*entry.node.key.preimage(), address.clone())));
            }
        }
        for (peer, address) in local {
            dht.remove_address(&peer, &address);
        }
    }

    /// Whether an address that the DHT knows of a peer is worth a dial.
    ///
    /// Who said it in a lookup is not known any more. As far as it could have been somebody on the internet,
    /// an address of a private network would have us knock at doors of our own; such addresses are taken
    /// from the peer itself and from the link, and stand in the table then.
    pub(crate) fn believes(&self, dht: &mut Dht, peer: &PeerId, address: &Multiaddr) -> bool {
        Scope::of(address) >= self.heard_from || has_address(dht, peer, address)
    }

    pub(crate) fn on_swarm_event(&mut self, dht: &mut Dht, event: &FromSwarm<'_>) {
        self.listening.on_swarm_event(event);
        match event {
            FromSwarm::NewExternalAddrOfPeer(e) => self.learn(dht, e.peer_id, e.addr),
            FromSwarm::ConnectionEstablished(e) => {
                self.failures.remove(&e.peer_id);
                self.connected.insert(e.peer_id);
            }
            FromSwarm::ConnectionClosed(e) if e.remaining_established == 0 => {
                self.connected.remove(&e.peer_id);
                self.speakers.remove(&e.peer_id);
            }
            FromSwarm::DialFailure(e) => {
                if let Some(peer) = e.peer_id {
                    self.failed(dht, peer, e.error);
                }
            }
            _ => {}
        }
    }

    /// A connected peer has said whether it answers our protocol.
    pub(crate) fn on_heard(&mut self, dht: &mut Dht, heard: Heard) {
        let peer = heard.peer;
        if !heard.speaks {
            self.speakers.remove(&peer);
            self.leaves(dht, &peer);
            return;
        }
        if !self.is_connected(&peer) || !self.speakers.insert(peer) {
            return;
        }
        self.heard_order.retain(|p| *p != peer);
        for address in self.heard.remove(&peer).unwrap_or_default() {
            self.admit(dht, &peer, address);
        }
        keep(dht, peer);
    }

    /// Puts the peers of an earlier run into the table.
    pub(crate) fn restore(&mut self, dht: &mut Dht, peers: Vec<(PeerId, Vec<Multiaddr>)>) {
        for (peer, addresses) in peers {
            for address in addresses {
                self.admit(dht, &peer, address);
            }
        }
    }

    /// A peer has taken another's place in the table.
    pub(crate) fn replaced(&mut self, dht: &mut Dht, gone: PeerId) {
        dht.store_mut().forget_peer(gone);
    }

    fn leaves(&mut self, dht: &mut Dht, peer: &PeerId) {
        if dht.remove_peer(peer).is_some() {
            dht.store_mut().forget_peer(*peer);
        }
    }

    /// Learns an address of a peer: from the local network, the address book, a dial, or the peer itself.
    ///
    /// Peers of any kind are heard of, so only those known to speak our protocol are told to others:
    /// confirmed ones, and ones not yet connected while the table is small.
    pub(crate) fn learn(&mut self, dht: &mut Dht, peer: PeerId, address: &Multiaddr) {
        let unproven = !self.is_connected(&peer) && table_size(dht) < SMALL_TABLE;
        if unproven || self.speakers.contains(&peer) || is_in_table(dht, &peer) {
            self.admit(dht, &peer, address.clone());
            if self.speakers.contains(&peer) {
                keep(dht, peer);
            }
        } else {
            self.remember(peer, address);
        }
    }

    fn remember(&mut self, peer: PeerId, address: &Multiaddr) {
        if !self.heard.contains_key(&peer) {
            if self.heard.len() >= MAX_HEARD
                && let Some(oldest) = self.heard_order.pop_front()
            {
                self.heard.remove(&oldest);
            }
            self.heard_order.push_back(peer);
        }
        let addresses = self.heard.entry(peer).or_default();
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }

    fn failed(&mut self, dht: &mut Dht, peer: PeerId, error: &DialError) {
        let counts = match error {
            DialError::Transport(_) | DialError::NoAddresses => 1,
            DialError::WrongPeerId { .. } => MAX_FAILURES,
            _ => return,
        };
        // With no connection at all it is more likely that we are the one off the network.
        if self.connected.is_empty() || !is_in_table(dht, &peer) {
            return;
        }
        if self.failures.len() >= MAX_HEARD {
            self.failures
                .retain(|_, (_, at)| at.elapsed() < FAILURE_FORGOTTEN);
        }
        let (count, at) = self.failures.entry(peer).or_insert_with(|| (0, Instant::now()));
        if *count == 0 || counts > 1 || at.elapsed() >= FAILURE_APART {
            *count += counts;
            *at = Instant::now();
        }
        if *count >= MAX_FAILURES {
            self.failures.remove(&peer);
            self.leaves(dht, &peer);
            tracing::debug!(%peer, "left the routing table, for it does not answer");
        }
    }

    /// Puts an address into the table, unless its subnet has enough peers there or the peer enough addresses.
    fn admit(&self, dht: &mut Dht, peer: &PeerId, address: Multiaddr) {
        let elsewhere = self.told > Scope::Host && Scope::of(&address) == Scope::Host;
        let mut table = 0;
        let mut bucket = 0;
        // A link of ours is a local network, whatever addresses it has.
        if let Some(subnet) = subnet(&address).filter(|_| !self.listening.is_on_link(&address)) {
            let same = |a: &Multiaddr| self::subnet(a) == Some(subnet);
            table = dht.kbuckets().map(|b| neighbours(&b, peer, same)).sum();
            bucket = dht.kbucket(*peer).map_or(0, |b| neighbours(&b, peer, same));
        }
        let addresses = dht.kbucket(*peer).map_or(0, |b| {
            let own = b.iter().find(|e| e.node.key.preimage() == peer);
            own.map_or(0, |e| e.node.value.len())
        });
        let crowded = table >= SUBNET_IN_TABLE || bucket >= SUBNET_IN_BUCKET;
        if elsewhere || crowded || addresses >= MAX_ADDRESSES {
            tracing::debug!(%peer, %address, "not admitted to the routing table");
            return;
        }
        dht.add_address(peer, address);
    }
}

/// Peers in the table.
pub(crate) fn table_size(dht: &mut Dht) -> usize {
    dht.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

/// Has the peer come back after a restart, as it is in the table.
fn keep(dht: &mut Dht, peer: PeerId) {
    let known = dht.kbucket(peer).and_then(|bucket| {
        let mut entries = bucket.iter();
        let own = entries.find(|e| *e.node.key.preimage() == peer)?;
        Some(own.node.value.iter().cloned().collect())
    });
    if let Some(addresses) = known {
        dht.store_mut().keep_peer(peer, addresses);
    }
}

fn is_in_table(dht: &mut Dht, peer: &PeerId) -> bool {
    dht.kbucket(*peer)
        .is_some_and(|bucket| bucket.iter().any(|e| e.node.key.preimage() == peer))
}

fn has_address(dht: &mut Dht, peer: &PeerId, address: &Multiaddr) -> bool {
    let Ok(full) = address.clone().with_p2p(*peer) else {
        return false;
    };
    dht.kbucket(*peer).is_some_and(|bucket| {
        let mut own = bucket.iter().filter(|e| e.node.key.preimage() == peer);
        own.any(|e| e.node.value.iter().any(|a| *a == full))
    })
}

fn neighbours(
    bucket: &kad::KBucketRef<'_, kad::KBucketKey<PeerId>, kad::Addresses>,
    peer: &PeerId,
    same: impl Fn(&Multiaddr) -> bool,
) -> usize {
    let others = bucket.iter().filter(|e| e.node.key.preimage() != peer);
    others.filter(|e| e.node.value.iter().any(&same)).count()
}

#[cfg(test)]
mod tests;
