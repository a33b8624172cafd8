//! The store kept well by itself: garbage collected, uses noted.

use std::time::Duration;

use cardume_store::{Progress, Store};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Time between two collections when nothing was forgotten: what was uploaded and never shared goes, too.
const COLLECT: Duration = Duration::from_secs(3_600);

/// Collects what nothing needs, and notes when content was last used, until `stop`.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    let mut clock = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut collected = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        let is_due = store.is_littered() || collected.elapsed() >= COLLECT;
        let (store, until) = (store.clone(), Until(stop.clone()));
        let look = move || {
            if let Err(error) = store.note_uses() {
                tracing::warn!(%error, "when content was last used could not be noted");
            }
            is_due && collect(&store, &until)
        };
        let done = tokio::task::spawn_blocking(look).await;
        if done.expect("care for the store does not panic") {
            collected = Instant::now();
        }
    }
}

/// Whether there is nothing left to collect.
fn collect(store: &Store, until: &Until) -> bool {
    match store.collect(until) {
        Ok(collected) => {
            if collected.blobs > 0 || collected.bytes > 0 {
                let (blobs, bytes) = (collected.blobs, collected.bytes);
                tracing::info!(blobs, bytes, "deleted what nothing needs");
            }
            !collected.more
        }
        Err(error) => {
            tracing::warn!(%error, "what nothing needs could not be deleted");
            false
        }
    }
}

/// Work on the disk that ends when the node does.
pub(crate) struct Until(pub(crate) CancellationToken);

impl Progress for Until {
    fn advance(&self, _: u64, _: u64) -> bool {
        !self.0.is_cancelled()
    }
}
