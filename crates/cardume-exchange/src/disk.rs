//! The store, asked from blocking threads, a bounded number at a time.
use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use cardume_content::{Cid, Hash};
use cardume_store::Store;
use tokio::sync::{oneshot, watch};

use crate::FetchError;

/// The store and who waits for it to change. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Disk {
    store: Store,
    turns: Arc<Turns>,
    pub(crate) changes: Arc<Changes>,
}

impl Disk {
    pub(crate) fn new(store: Store, threads: usize) -> Self {
        Self {
            store,
            turns: Arc::new(Turns::new(threads)),
            changes: Arc::default(),
        }
    }

    /// The same, for what only those on the list `allow` may have, and is going to be the root `cid`.
    pub(crate) fn guarding_for(&self, cid: Cid, allow: Vec<String>) -> Self {
        self.through(self.store.guarding_for(cid, allow))
    }

    /// The same, through another handle of the store.
    pub(crate) fn through(&self, store: Store) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    /// Whether nothing can be taken in any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.store.problem().is_some()
    }

    /// Runs `work` on a blocking thread when one is free.
    ///
    /// # Cancel safety
    /// What has not begun when the future is dropped is left.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, FetchError> {
        let store = self.store.clone();
        let (done, result) = oneshot::channel();
        self.turns.begin(Box::new(move || {
            if done.is_closed() {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(|| work(&store)));
            // Whoever waited may have gone meanwhile.
            let _ = done.send(result);
        }));
        match result.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(FetchError::Closed),
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Jobs and the threads for them.
///
/// A job's turn comes whether its future is polled or not: one task has many, and may wait for one of them while the
/// others, given their turn, wait to be polled. As long as the number of those who ask is bounded, so is the queue.
struct Turns {
    threads: usize,
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    running: usize,
    jobs: VecDeque<Job>,
}

impl Turns {
    fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            state: Mutex::default(),
        }
    }

    fn begin(self: &Arc<Self>, job: Job) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.jobs.push_back(job);
        if state.running < self.threads {
            state.running += 1;
            let turns = self.clone();
            // Runs detached; each job tells its own end.
            drop(tokio::task::spawn_blocking(move || turns.work()));
        }
    }

    /// Does jobs until there is none.
    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop_front();
        if job.is_none() {
            state.running -= 1;
        }
        job
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_has_its_turn_though_those_before_it_are_not_polled() {
        let turns = Arc::new(Turns::new(1));
        let (first, waits) = oneshot::channel();
        let (second, done) = oneshot::channel();
        turns.begin(Box::new(move || first.send(()).expect("it is waited for")));
        turns.begin(Box::new(move || second.send(()).expect("it is waited for")));
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, done).await.unwrap().unwrap();
        drop(waits);
    }
}
