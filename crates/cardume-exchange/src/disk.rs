//! The store, asked from blocking threads, a bounded number at a time.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cardume_content::Hash;
use cardume_store::Store;
use tokio::sync::{Semaphore, watch};

use crate::FetchError;

/// The store and who waits for it to change. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Disk {
    store: Store,
    permits: Arc<Semaphore>,
    pub(crate) changes: Arc<Changes>,
}

impl Disk {
    pub(crate) fn new(store: Store, threads: usize) -> Self {
        Self {
            store,
            permits: Arc::new(Semaphore::new(threads.max(1))),
            changes: Arc::default(),
        }
    }

    /// Whether nothing can be taken in any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.store.problem().is_some()
    }

    /// Runs `work` on a blocking thread when one is free.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, FetchError> {
        let permit = self.permits.clone().acquire_owned().await;
        let store = self.store.clone();
        let running = tokio::task::spawn_blocking(move || {
            let result = work(&store);
            drop(permit);
            result
        });
        running.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => FetchError::Closed,
        })
    }
}

/// Wakes those who wait for a blob to grow.
#[derive(Default)]
pub(crate) struct Changes {
    waiting: Mutex<HashMap<Hash, watch::Sender<()>>>,
}

impl Changes {
    /// Returns what [`tell`](Self::tell) wakes from now on.
    pub(crate) fn subscribe(&self, hash: Hash) -> watch::Receiver<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting.entry(hash).or_default().subscribe()
    }

    pub(crate) fn tell(&self, hash: Hash) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.get(&hash) {
            sender.send_replace(());
        }
    }
}
