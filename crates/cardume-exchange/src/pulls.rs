//! What this node is reading from web servers, so that others can wait for it instead of doing the same.
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cardume_content::Hash;

/// Blobs being read, as many as fetches keep open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulls(Arc<Mutex<HashMap<Hash, Arc<AtomicU64>>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pulling {
    pulls: Pulls,
    hash: Hash,
    bytes: Arc<AtomicU64>,
}

impl Pulls {
    /// Notes that a blob is being read.
    pub(crate) fn begin(&self, hash: Hash) -> Pulling {
        let bytes = self.lock().entry(hash).or_default().clone();
        Pulling {
            pulls: self.clone(),
            hash,
            bytes,
        }
    }

    /// Bytes of a blob that have come, if it is being read.
    pub(crate) fn of(&self, hash: Hash) -> Option<u64> {
        self.lock().get(&hash).map(|bytes| bytes.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulling {
    pub(crate) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        let mut pulls = self.pulls.lock();
        // Two fetches may read the same.
        if Arc::strong_count(&self.bytes) <= 2 {
            pulls.remove(&self.hash);
        }
    }
}
