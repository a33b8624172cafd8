//! What configuration says of peers, and what of it a running swarm takes over.
use std::collections::{BTreeMap, HashSet};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};

use crate::{BuildError, Config, Peer, address::bare};

/// What a running driver takes over.
#[derive(Debug)]
pub struct Settings {
    pub(crate) config: Config,
    pub(crate) named: Named,
}

/// Peers that configuration names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) bootstrap: HashSet<PeerId>,
    pub(crate) keep: HashSet<PeerId>,
    /// Those of `[peer.*]`.
    pub(crate) known: HashSet<PeerId>,
    pub(crate) addresses: Vec<(PeerId, Multiaddr)>,
}

impl Config {
    /// What of a configuration can change while the swarm turns.
    ///
    /// # Errors
    /// As [`build`](Self::build) has them for addresses.
    pub(crate) fn settings(
        &self,
        local: PeerId,
        peers: &BTreeMap<String, Peer>,
    ) -> Result<Settings, BuildError> {
        let named = self.named(local, peers)?;
        let config = self.clone();
        Ok(Settings { config, named })
    }

    /// Finds every mistake that [`build`](Self::build) would stop at, but for naming the node itself.
    pub fn check(&self, peers: &BTreeMap<String, Peer>) -> Vec<BuildError> {
        let bootstrap = self
            .bootstrap
            .iter()
            .filter_map(|address| bootstrap(address).err());
        bootstrap
            .chain(peers.iter().flat_map(|(name, peer)| peer.check(name)))
            .collect()
    }

    pub(crate) fn named(&self, local: PeerId, peers: &BTreeMap<String, Peer>) -> Result<Named, BuildError> {
        if let Some(mistake) = self.check(peers).into_iter().next() {
            return Err(mistake);
        }
        let mut named = Named::default();
        for (peer, address) in self
            .bootstrap
            .iter()
            .filter_map(|address| bootstrap(address).ok())
        {
            // One list of bootstrap peers is written for all of them, and so has each of them in it.
            if peer != local {
                named.bootstrap.insert(peer);
                named.addresses.push((peer, address));
            }
        }
        for (name, peer) in peers {
            if peer.id == local {
                return Err(BuildError::Myself(format!("peer.{name}")));
            }
            named
                .addresses
                .extend(peer.addresses.iter().map(|address| (peer.id, bare(address))));
            named.known.insert(peer.id);
            if peer.keep {
                named.keep.insert(peer.id);
            }
        }
        Ok(named)
    }
}

fn bootstrap(address: &Multiaddr) -> Result<(PeerId, Multiaddr), BuildError> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok((peer, bare(address))),
        _ => Err(BuildError::Anonymous(address.clone())),
    }
}

impl Peer {
    fn check(&self, name: &str) -> Vec<BuildError> {
        let other =
            |address: &&Multiaddr| matches!(address.iter().last(), Some(Protocol::P2p(id)) if id != self.id);
        let mistake = |address: &Multiaddr| BuildError::OtherPeer {
            name: name.to_owned(),
            address: address.clone(),
        };
        self.addresses.iter().filter(other).map(mistake).collect()
    }
}
