//! What came, made durable.
use std::{sync::Arc, time::Duration};

use cardume_store::Root;
use tokio::sync::{mpsc, oneshot};

use crate::{FetchError, announce::Board, disk::Disk};

/// Time between two settlings while there is always something to settle.
const SETTLE_PAUSE: Duration = Duration::from_secs(5);

/// A root to be kept, and what comes after that.
pub(super) struct KeepRoot {
    pub(super) root: Option<Root>,
    pub(super) then: Option<Box<dyn FnOnce() + Send>>,
    /// Until it is a root.
    pub(super) hold: cardume_store::Hold,
}

pub(super) type SyncReply = oneshot::Sender<Result<(), FetchError>>;

/// Makes durable what has come, in the background.
pub(super) struct Kept {
    pub(super) disk: Disk,
    pub(super) board: Arc<Board>,
}

impl Kept {
    /// Runs until nobody can send any more and everything is kept.
    pub(super) async fn run(self, mut roots: mpsc::Receiver<KeepRoot>, mut syncs: mpsc::Receiver<SyncReply>) {
        let mut clock = tokio::time::interval(SETTLE_PAUSE);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                _ = clock.tick() => {
                    // Of a disk that has failed the store has told, once.
                    if let Err(error) = self.settle().await
                        && !self.disk.has_failed()
                    {
                        tracing::warn!(%error, "content that was verified is not durable yet");
                    }
                }
                root = roots.recv() => match root {
                    Some(root) => self.keep(root).await,
                    None => break,
                },
                Some(done) = syncs.recv() => waiting.push(done),
            }
            // In one go: a commit costs the same for many.
            while let Ok(root) = roots.try_recv() {
                self.keep(root).await;
            }
            while let Ok(done) = syncs.try_recv() {
                waiting.push(done);
            }
            if !waiting.is_empty() {
                let settled = self.settle().await;
                for done in waiting {
                    let _ = done.send(settled.clone());
                }
            }
        }
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "content that was verified is not durable");
        }
    }

    async fn settle(&self) -> Result<(), FetchError> {
        let (settled, evicted) = self
            .disk
            .run(|store| (store.settle(), store.take_evicted()))
            .await?;
        evicted.into_iter().for_each(|cid| self.board.set(cid, false));
        settled?;
        Ok(())
    }

    async fn keep(&self, keep: KeepRoot) {
        let KeepRoot { root, then, hold } = keep;
        let cid = root.as_ref().map(|root| root.cid);
        let kept = self
            .disk
            .run(move |store| {
                let kept = match root {
                    Some(root) => keep_root(store, root),
                    None => store.settle().map(|_| false),
                };
                drop(hold);
                if let (Ok(_), Some(then)) = (&kept, then) {
                    then();
                }
                kept
            })
            .await;
        match (kept, cid) {
            (Ok(Ok(true)), Some(cid)) => self.board.set(cid, true),
            (Ok(Err(error)), _) => tracing::warn!(%error, "what was fetched is not kept"),
            _ => {}
        }
    }
}

/// Keeps what was fetched. What was decided about it before holds: pinned stays pinned, silent stays silent. Returns
/// whether the DHT is told of it.
fn keep_root(store: &cardume_store::Store, mut root: Root) -> Result<bool, cardume_store::WriteError> {
    if let Ok(Some(before)) = store.root(root.cid) {
        root.pinned |= before.pinned;
        root.announce &= before.announce;
    }
    let announce = root.announce;
    store.add_fetched(root)?;
    Ok(announce)
}
