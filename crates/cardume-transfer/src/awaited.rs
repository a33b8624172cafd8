//! Content that is on its way to us.
use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cardume_access::rates::Budgets;
use libp2p_identity::PeerId;

use crate::lines::Lines;

/// How long our own limits need for what was asked for; nothing where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// For content from all peers, or all peers of that class.
    pub all: Duration,
    /// For content from this peer.
    pub peer: Duration,
}

/// Bytes that peers were asked for and that have not come, at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Awaited(Arc<Mutex<HashMap<PeerId, u64>>>);

/// One request's part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    awaited: Awaited,
    peer: PeerId,
    bytes: u64,
}

impl Awaited {
    pub(crate) fn add(&self, peer: PeerId, bytes: u64) -> Share {
        *self.lock().entry(peer).or_default() += bytes;
        Share {
            awaited: self.clone(),
            peer,
            bytes,
        }
    }

    pub(crate) fn backlog(&self, peer: &PeerId, more: u64, budgets: &Budgets, lines: &Lines) -> Backlog {
        if budgets.is_unlimited() {
            return Backlog::default();
        }
        let class = lines.of_peer(peer);
        let peers = self.lock();
        let all = time(peers.values().sum::<u64>() + more, budgets.total());
        let own = peers.get(peer).copied().unwrap_or(0) + more;
        let of_class = budgets.class(class).map(|_| {
            let alike = peers.iter().filter(|(other, _)| lines.of_peer(other) == class);
            alike.map(|(_, bytes)| bytes).sum::<u64>() + more
        });
        Backlog {
            all: all.max(time(of_class.unwrap_or(0), budgets.class(class))),
            peer: time(own, budgets.per_peer(class)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time(bytes: u64, rate: Option<NonZeroU64>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(bytes as f64 / rate.get() as f64)
    })
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut peers = self.awaited.lock();
        if let Some(bytes) = peers.get_mut(&self.peer) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}
