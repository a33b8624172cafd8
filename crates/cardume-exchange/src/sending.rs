//! Room for what is being read for others and has not left yet, and whom it is for.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cardume_content::{Cid, PIECE};
use cardume_transfer::{Response, message::Item};
use libp2p_identity::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// MiB read for others and not sent yet, at most: without it, peers that read slowly fill our memory.
const ROOM: usize = 32;
/// … of one peer, so that one that reads slowly does not take the room of all. Must fill a long line: 500 Mbit/s and
/// 80 ms have 5 MiB on their way.
const ROOM_OF_PEER: usize = 8;
/// MiB in use above which a crowd counts as one.
const CROWDED: usize = 8;
/// Peers served of one blob while there is a crowd: these bring it to the others, who are told to come back later.
const TAKERS: usize = 16;
/// A peer that has asked for nothing for so long leaves its place to another.
const IDLE: Duration = Duration::from_secs(5);
/// Blobs whose takers are remembered.
const BLOBS: usize = 256;

/// The room, and who has it.
pub(crate) struct Sending {
    room: Arc<Semaphore>,
    of_peers: Mutex<HashMap<PeerId, Arc<Semaphore>>>,
    takers: Mutex<HashMap<Cid, HashMap<PeerId, Instant>>>,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
            of_peers: Mutex::default(),
            takers: Mutex::default(),
        }
    }
}

/// Room for one answer, given back when its last byte has left.
pub(crate) struct Room(Arc<[OwnedSemaphorePermit; 2]>);

impl Sending {
    /// Whether a peer is served now. With little to do everybody is; else those who came first, until they are done.
    pub(crate) fn admits(&self, cid: Cid, peer: PeerId, now: Instant) -> bool {
        let is_crowded = self.room.available_permits() < ROOM - CROWDED;
        let mut blobs = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        if !blobs.contains_key(&cid) && blobs.len() >= BLOBS {
            blobs.retain(|_, takers| takers.values().any(|seen| is_fresh(*seen, now)));
            if blobs.len() >= BLOBS {
                return true;
            }
        }
        let takers = blobs.entry(cid).or_default();
        takers.retain(|_, seen| is_fresh(*seen, now));
        if takers.len() >= TAKERS && !takers.contains_key(&peer) {
            return !is_crowded;
        }
        takers.insert(peer, now);
        true
    }

    /// Waits for room for about so many bytes.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub(crate) async fn room(&self, peer: PeerId, bytes: u64) -> Room {
        let pieces = u32::try_from(bytes.div_ceil(PIECE))
            .unwrap_or(u32::MAX)
            .clamp(1, 4);
        let own = self.of_peer(peer).acquire_many_owned(pieces).await;
        let all = self.room.clone().acquire_many_owned(pieces).await;
        Room(Arc::new(
            [own, all].map(|permit| permit.expect("it is never closed")),
        ))
    }

    fn of_peer(&self, peer: PeerId) -> Arc<Semaphore> {
        let mut of_peers = self.of_peers.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit keeps its semaphore: what only the map knows has all its room.
        of_peers.retain(|_, room| Arc::strong_count(room) > 1);
        let of_peer = of_peers.entry(peer);
        of_peer
            .or_insert_with(|| Arc::new(Semaphore::new(ROOM_OF_PEER)))
            .clone()
    }
}

fn is_fresh(seen: Instant, now: Instant) -> bool {
    now.saturating_duration_since(seen) < IDLE
}

/// Bytes with the room they take.
struct Held {
    bytes: Bytes,
    _room: Arc<[OwnedSemaphorePermit; 2]>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Ties the room to an answer: both go together.
    pub(crate) fn with(self, mut response: Response) -> Response {
        let hold = |bytes: &mut Bytes| {
            *bytes = Bytes::from_owner(Held {
                bytes: std::mem::take(bytes),
                _room: self.0.clone(),
            });
        };
        match &mut response {
            Response::Slices { slices, .. } => slices.iter_mut().for_each(hold),
            Response::Many { items } => items.iter_mut().for_each(|item| {
                if let Item::Blob { slice, .. } = item {
                    hold(slice);
                }
            }),
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;

    use super::*;

    #[tokio::test]
    async fn room_comes_back_with_the_last_byte() {
        let sending = Sending::default();
        let slices = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let room = sending.room(PeerId::random(), 4 * PIECE).await;
        let response = room.with(Response::Slices { size: 6, slices });
        let Response::Slices { mut slices, .. } = response else {
            unreachable!()
        };
        assert_eq!(slices.pop().as_deref(), Some(&b"two"[..]));
        assert_eq!(sending.room.available_permits(), ROOM - 4);
        drop(slices);
        assert_eq!(sending.room.available_permits(), ROOM);
    }

    #[tokio::test]
    async fn in_a_crowd_those_who_came_first_are_served_first() {
        let sending = Sending::default();
        let (cid, now) = (Cid::blob(Hash::of(b"film")), Instant::now());
        let first: Vec<PeerId> = (0..TAKERS).map(|_| PeerId::random()).collect();
        assert!(first.iter().all(|peer| sending.admits(cid, *peer, now)));
        let late = PeerId::random();
        assert!(sending.admits(cid, late, now), "there is room for everybody");
        let mut rooms = Vec::new();
        for _ in 0..=CROWDED {
            rooms.push(sending.room(PeerId::random(), PIECE).await);
        }
        assert!(!sending.admits(cid, late, now));
        assert!(sending.admits(cid, first[0], now));
        assert!(
            sending.admits(cid, late, now + IDLE),
            "their places are free again"
        );
    }
}
