//! What each peer has been given lately, for who looks at it.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cardume_content::{Cid, Kind};
use libp2p_identity::PeerId;

/// Peers remembered; above it the one that was given nothing for longest goes.
const MAX_PEERS: usize = 256;
/// Blobs remembered of one peer: as many as anybody reads at a glance.
const MAX_BLOBS: usize = 4;
/// What was given longer ago is history.
const LATELY: Duration = Duration::from_secs(10);

/// Something that a peer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving {
    /// To whom.
    pub peer: PeerId,
    /// What.
    pub cid: Cid,
    /// The directory that the peer has asked for last: where the blob may well be from.
    pub directory: Option<Cid>,
}

#[derive(Default)]
struct Given {
    /// The newest last.
    blobs: Vec<(Cid, Instant)>,
    directory: Option<Cid>,
}

/// What each peer has been given lately.
#[derive(Default)]
pub(crate) struct Served(Mutex<HashMap<PeerId, Given>>);

impl Served {
    /// Notes that `peer` is given bytes of `cid`.
    pub(crate) fn gave(&self, peer: PeerId, cid: Cid, now: Instant) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            let newest = |given: &Given| given.blobs.last().map(|(_, at)| *at);
            let oldest = peers.iter().min_by_key(|(_, given)| newest(given));
            oldest.map(|(peer, _)| *peer).and_then(|peer| peers.remove(&peer));
        }
        let given = peers.entry(peer).or_default();
        if cid.kind() != Kind::Blob {
            given.directory = Some(cid);
        }
        given.blobs.retain(|(blob, _)| *blob != cid);
        if given.blobs.len() >= MAX_BLOBS {
            given.blobs.remove(0);
        }
        given.blobs.push((cid, now));
    }

    /// What peers have been given in the last ten seconds.
    pub(crate) fn lately(&self, now: Instant) -> Vec<Serving> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = peers.iter().flat_map(|(peer, given)| {
            let blobs = given.blobs.iter().rev();
            let fresh = blobs.filter(|(_, at)| now.saturating_duration_since(*at) < LATELY);
            fresh.map(|(cid, _)| Serving {
                peer: *peer,
                cid: *cid,
                directory: given.directory,
            })
        });
        fresh.collect()
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;

    use super::*;

    fn blob(number: u32) -> Cid {
        Cid::blob(Hash::of(&number.to_le_bytes()))
    }

    #[test]
    fn what_was_given_lately_is_told_the_newest_first_and_stays_bounded() {
        let (served, now) = (Served::default(), Instant::now());
        let peer = PeerId::random();
        for number in 0..9 {
            served.gave(peer, blob(number), now + LATELY / 2 * u32::from(number > 5));
        }
        let told: Vec<Cid> = served.lately(now).iter().map(|one| one.cid).collect();
        assert_eq!(told, [blob(8), blob(7), blob(6), blob(5)]);
        assert_eq!(served.lately(now + LATELY).len(), 3);
        assert!(served.lately(now + LATELY * 2).is_empty());
        let directory = Cid::new(Kind::Directory, Hash::of(b"d"));
        served.gave(peer, directory, now + LATELY);
        served.gave(peer, blob(0), now + LATELY);
        assert_eq!(served.lately(now + LATELY)[0].directory, Some(directory));
        (0..MAX_PEERS).for_each(|_| served.gave(PeerId::random(), blob(1), now + LATELY * 2));
        let told = served.lately(now + LATELY * 2);
        assert_eq!(told.len(), MAX_PEERS);
        assert!(
            told.iter().all(|one| one.peer != peer),
            "the one that waits for longest goes"
        );
    }
}
