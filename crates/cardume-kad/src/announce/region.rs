//! Which peers are told of which keys, after one lookup for one of them.
use std::collections::HashMap;

use libp2p_identity::PeerId;
use libp2p_kad::{KBucketKey, RecordKey as Key, U256};

use super::ring::Place;

/// Peers told of one key.
const REPLICAS: usize = libp2p_kad::K_VALUE.get();

/// The closest peers of a neighbour that the lookup has to have found for certain, of [`REPLICAS`].
const CERTAIN: usize = 10;

/// What one lookup is good for.
pub(super) struct Region {
    /// Each peer with the keys it is to hear of.
    pub(super) told: HashMap<PeerId, Vec<Key>>,
    /// The keys that are served.
    pub(super) served: Vec<Place>,
    /// The keys that are too far from the one looked up.
    pub(super) left: Vec<Place>,
}

/// Shares out the keys among the peers that a lookup for the first of them has found.
///
/// A lookup finds the closest peers of `centre`, the farthest of them at some distance d. Of every subtree
/// of the DHT around the centre that is no larger than d it has found all peers, and these are the closest
/// to all keys in there too. So it serves the keys of the largest such subtree, or, where that has few
/// peers, of one an eighth as large, for which its neighbourhood is nearly the same as the centre's.
pub(super) fn share_out(keys: &[(Place, Key)], peers: &[PeerId]) -> Region {
    let peers: Vec<_> = peers.iter().map(|peer| (place_of(peer), *peer)).collect();
    let centre = keys.first().map_or(U256::zero(), |(place, _)| *place);
    let prefix = prefix(&centre, &peers);
    let mut region = Region {
        told: HashMap::new(),
        served: Vec::new(),
        left: Vec::new(),
    };
    for (place, key) in keys {
        if (*place ^ centre).leading_zeros() < prefix {
            region.left.push(*place);
            continue;
        }
        region.served.push(*place);
        for peer in closest(place, &peers) {
            region.told.entry(peer).or_default().push(key.clone());
        }
    }
    region
}

fn closest(place: &Place, peers: &[(Place, PeerId)]) -> impl Iterator<Item = PeerId> {
    let mut near: Vec<_> = peers.iter().map(|(at, peer)| (*at ^ *place, *peer)).collect();
    near.sort_unstable();
    near.into_iter().take(REPLICAS).map(|(_, peer)| peer)
}

/// The bits that a key has to share with the centre.
fn prefix(centre: &Place, peers: &[(Place, PeerId)]) -> u32 {
    // A lookup that found fewer has found the whole network.
    if peers.len() < REPLICAS {
        return 0;
    }
    let mut distances: Vec<_> = peers.iter().map(|(at, _)| *at ^ *centre).collect();
    distances.sort_unstable();
    let farthest = distances[REPLICAS - 1].leading_zeros();
    let within = |d: &&U256| d.leading_zeros() > farthest;
    let certain = distances.iter().take(REPLICAS).filter(within).count();
    if certain >= CERTAIN {
        farthest + 1
    } else {
        farthest + 4
    }
}

fn place_of(peer: &PeerId) -> Place {
    U256::from_big_endian(KBucketKey::from(*peer).hashed_bytes())
}
