//! Fetches that were asked for, and the two ends of each.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Span;

use crate::{FetchError, FetchRequest, Fetched, Progress, Running, spans};

/// A fetch that was asked for.
pub(crate) struct FetchJob {
    pub(crate) id: u64,
    /// Its row in the journal.
    pub(crate) key: Option<u64>,
    /// Whether it was begun before this start.
    pub(crate) is_resumed: bool,
    pub(crate) request: FetchRequest,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) finished: oneshot::Sender<Result<Fetched, FetchError>>,
    pub(crate) cancelled: CancellationToken,
    /// From when it was asked for, below what asked for it.
    pub(crate) span: Span,
}

/// Fetches under way, and those of an earlier run that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Register {
    pub(crate) running: BTreeMap<u64, Running>,
    pub(crate) resumed: Vec<(FetchRequest, Fetch)>,
    last_id: u64,
}

/// Makes the two ends of a fetch and lists it as running.
pub(crate) fn prepare(
    register: &Arc<Mutex<Register>>,
    request: FetchRequest,
    key: Option<u64>,
) -> (FetchJob, Fetch) {
    let (sender, progress) = watch::channel(Progress::default());
    let (finished, result) = oneshot::channel();
    let cancelled = CancellationToken::new();
    let span = spans::fetch(&request);
    let mut register = lock(register);
    register.last_id += 1;
    let id = register.last_id;
    let running = Running {
        id,
        request: request.clone(),
        progress: progress.clone(),
    };
    register.running.insert(id, running);
    let job = FetchJob {
        id,
        key,
        is_resumed: key.is_some(),
        request,
        progress: sender,
        finished,
        cancelled: cancelled.clone(),
        span,
    };
    let fetch = Fetch {
        progress,
        result,
        cancel: cancelled.drop_guard(),
    };
    (job, fetch)
}

pub(crate) fn lock(register: &Mutex<Register>) -> MutexGuard<'_, Register> {
    register.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running fetch; dropping it cancels, and leaves what came for the next try.
#[derive(Debug)]
pub struct Fetch {
    progress: watch::Receiver<Progress>,
    result: oneshot::Receiver<Result<Fetched, FetchError>>,
    cancel: DropGuard,
}

impl Fetch {
    /// Follows how far it is; updated at most ten times a second.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it failed.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the fetch.
    pub async fn finished(mut self) -> Result<Fetched, FetchError> {
        self.ended().await
    }

    /// Waits for its end without letting go of it.
    ///
    /// # Errors
    /// Why it failed; `Closed` when its end has been told before.
    ///
    /// # Cancel safety
    /// It goes on.
    pub async fn ended(&mut self) -> Result<Fetched, FetchError> {
        (&mut self.result).await.map_err(|_| FetchError::Closed)?
    }

    /// Lets go of it: it runs on, and nobody follows it.
    pub fn leave(self) {
        // The token itself stays as it is; only its guard is put away.
        drop(self.cancel.disarm());
    }
}
