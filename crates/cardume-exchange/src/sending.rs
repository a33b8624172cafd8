//! Room for what is being read for others and has not left yet, and whom it is for.
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use cardume_content::{Cid, GROUP, PIECE};
use cardume_transfer::{Response, message::Item};
use libp2p_identity::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::giving::{Giving, Verdict};

/// MiB read for others and not sent yet, at most: without it, peers that read slowly fill our memory.
const ROOM: usize = 32;
/// … of one peer, so that one that reads slowly does not take the room of all. Must fill a long line: 500 Mbit/s and
/// 80 ms have 5 MiB on their way.
const ROOM_OF_PEER: usize = 8;
/// MiB in use above which a crowd counts as one.
const CROWDED: usize = 2;
/// Blobs whose takers are remembered.
const BLOBS: usize = 256;

/// The room, and who has it.
pub(crate) struct Sending {
    room: Arc<Semaphore>,
    of_peers: Mutex<HashMap<PeerId, Arc<Semaphore>>>,
    giving: Mutex<HashMap<Cid, Giving>>,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
            of_peers: Mutex::default(),
            giving: Mutex::default(),
        }
    }
}

/// Room for one answer, given back when its last byte has left.
pub(crate) struct Room(Arc<[OwnedSemaphorePermit; 2]>);

impl Sending {
    /// Notes that we fetch a blob ourselves.
    pub(crate) fn relay(&self, cid: Cid, now: Instant) {
        let mut blobs = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(giving) = of(&mut blobs, cid, now) {
            giving.relay();
        }
    }

    /// Decides whether a peer gets a piece of a blob now.
    ///
    /// What is no larger than `GROUP` proves a size; everybody needs that.
    pub(crate) fn ask(&self, cid: Cid, peer: PeerId, range: &Range<u64>, now: Instant) -> Verdict {
        let is_crowded = self.room.available_permits() < ROOM - CROWDED;
        let mut blobs = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(giving) = of(&mut blobs, cid, now) else {
            return Verdict::Give;
        };
        let piece = range.start / PIECE;
        if range.end.saturating_sub(range.start) <= GROUP {
            giving.saw(piece);
            return Verdict::Give;
        }
        giving.ask(peer, piece, is_crowded, now)
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

/// What is known of one blob, if there is room to know it.
fn of(blobs: &mut HashMap<Cid, Giving>, cid: Cid, now: Instant) -> Option<&mut Giving> {
    if !blobs.contains_key(&cid) && blobs.len() >= BLOBS {
        blobs.retain(|_, giving| !giving.is_idle(now));
    }
    let has_room = blobs.len() < BLOBS || blobs.contains_key(&cid);
    has_room.then(|| blobs.entry(cid).or_default())
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
}
