//! What runs for each channel: looking for newer records, keeping the newest in the DHT, and talking on its topic.
use std::{collections::BTreeMap, hash::BuildHasher, sync::Arc, time::Duration};

use cardume_kad::KadError;
use cardume_roster::Work;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Id, gossip, record_key,
    shelf::{OfferError, Shelf},
};

/// Time between two lookups of a channel of our own: somebody else may have its key.
pub(crate) const OWN_POLL: Duration = Duration::from_secs(600);
/// Pause after a lookup that found nothing; doubled up to the time between two lookups.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before a record that nobody took is put again.
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// Pause while there is nobody to ask.
const ALONE: Duration = Duration::from_secs(2);
/// Mean time after which a record is put again. Others forget it after 48 h, and every follower puts it.
const PUT_AGAIN: Duration = Duration::from_secs(12 * 3600);

/// Keeps channels up to date, while it is run.
pub struct Server {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) kad: cardume_kad::Handle,
    pub(crate) topics: cardume_gossipsub::Handle,
    pub(crate) polls: watch::Receiver<Polls>,
}

/// The channels to keep, with the time between two lookups of each.
pub(crate) type Polls = BTreeMap<Id, Duration>;

impl Server {
    /// Runs until `stop`.
    ///
    /// # Cancel safety
    /// Everything that was answered is on the disk.
    pub async fn run(self, stop: CancellationToken) {
        cardume_roster::keep(self.polls.clone(), self, stop).await;
    }
}

impl Work<Id, Duration> for Server {
    fn run(&self, id: Id, poll: Duration, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let (shelf, kad, topics) = (self.shelf.clone(), self.kad.clone(), self.topics.clone());
        let keeping = async move {
            let missing = Notify::new();
            tokio::join!(
                look(&shelf, &kad, id, poll, &missing),
                put(&shelf, &kad, id, &missing),
                gossip::run(&shelf, &topics, id),
            );
        };
        stop.run_until_cancelled_owned(keeping).map(drop).boxed()
    }

    fn gone(&self, id: Id) -> BoxFuture<'static, ()> {
        self.shelf.put_down(id);
        ready(()).boxed()
    }
}

/// Looks for a newer record again and again; says through `missing` when the network knows less than we do.
async fn look(shelf: &Arc<Shelf>, kad: &cardume_kad::Handle, id: Id, poll: Duration, missing: &Notify) {
    let mut pause = FIRST_PAUSE.min(poll);
    loop {
        let wait = match kad.get(record_key(id)).await {
            Ok(bytes) => {
                if matches!(offer(shelf, id, bytes).await, Err(OfferError::Refused(_))) {
                    missing.notify_one();
                }
                poll
            }
            Err(KadError::Closed(_)) => return,
            Err(KadError::NoPeers) => {
                tokio::time::sleep(jittered(ALONE.min(poll))).await;
                continue;
            }
            Err(error) => {
                if matches!(error, KadError::NotFound) {
                    missing.notify_one();
                }
                let wait = pause;
                pause = (pause * 2).min(poll);
                wait
            }
        };
        shelf.was_asked(id);
        tokio::time::sleep(jittered(wait)).await;
    }
}

/// Takes a record in, on a blocking thread.
pub(crate) async fn offer(shelf: &Arc<Shelf>, id: Id, bytes: Vec<u8>) -> Result<bool, OfferError> {
    let shelf = shelf.clone();
    let offered = tokio::task::spawn_blocking(move || shelf.offer(id, &bytes)).await;
    let offered = offered.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime is going down.
        Err(_) => Ok(false),
    });
    match &offered {
        Err(OfferError::Failed(error)) => tracing::warn!(channel = %id, %error, "a record was not kept"),
        Err(error) => tracing::debug!(channel = %id, %error, "a record was not taken"),
        Ok(_) => {}
    }
    offered
}

/// Puts the newest record into the DHT: at once when we have signed it or the network lacks it, and now and again.
async fn put(shelf: &Shelf, kad: &cardume_kad::Handle, id: Id, missing: &Notify) {
    let Some(mut newest) = shelf.newest(id) else {
        return;
    };
    let is_own = shelf.is_own(id);
    let mut pause = FIRST_PAUSE;
    // Whether the network has it, the first lookup will say.
    let mut due = Instant::now() + jittered(PUT_AGAIN);
    loop {
        tokio::select! {
            changed = newest.changed() => {
                if changed.is_err() {
                    return;
                }
                if !is_own {
                    // Whoever told us has put it.
                    due = Instant::now() + jittered(PUT_AGAIN);
                    continue;
                }
            }
            () = missing.notified() => {}
            () = tokio::time::sleep_until(due) => {}
        }
        let Some(record) = newest.borrow_and_update().clone() else {
            due = Instant::now() + jittered(PUT_AGAIN);
            continue;
        };
        let wait = match kad.put(record_key(id), record.bytes().to_vec()).await {
            Err(KadError::Closed(_)) => return,
            // If a newer one is there, the next lookup brings it.
            Ok(()) | Err(KadError::Outdated) => {
                pause = FIRST_PAUSE;
                PUT_AGAIN
            }
            Err(error) => {
                tracing::debug!(channel = %id, %error, "a record could not be put yet");
                let wait = pause;
                pause = (pause * 2).min(LAST_PAUSE);
                wait
            }
        };
        due = Instant::now() + jittered(wait);
    }
}

/// Half more or less, so that a fleet does not act in step.
pub(crate) fn jittered(span: Duration) -> Duration {
    let random = std::collections::hash_map::RandomState::new().hash_one(()) % 1_000;
    span.mul_f64(0.5 + random as f64 / 1_000.0)
}
