//! Telling the DHT which roots are here.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cardume_content::Cid;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::Notify;

use crate::disk::Disk;

/// Roots being told at once; kad has its own limit on top.
const MAX_TELLING: usize = 4;
/// Pause before a root is told again that could not be; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// The DHT key under which providers of a root are found: the multihash of its CID, so that kinds do not matter.
pub fn provider_key(cid: Cid) -> Vec<u8> {
    let mut key = vec![0x1e, 0x20];
    key.extend(cid.hash().as_bytes());
    key
}

/// What is to be told, and what of it was not yet. As large as the number of roots that changed.
#[derive(Default)]
pub(crate) struct Board {
    changes: Mutex<BTreeMap<Cid, bool>>,
    changed: Notify,
}

impl Board {
    /// Has a root announced, or withdrawn.
    pub(crate) fn set(&self, cid: Cid, announced: bool) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.insert(cid, announced);
        self.changed.notify_one();
    }

    fn take(&self) -> BTreeMap<Cid, bool> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What was told of a root: it is announced, or withdrawn; or else how long the pause after the next failure is.
type Told = (Cid, bool, Result<(), Duration>);

/// Tells the DHT of every root that may be told of.
pub(crate) async fn all(disk: &Disk, board: &Board) {
    match disk.run(|store| store.roots()).await {
        Ok(Ok(roots)) => {
            let announced = roots.iter().filter(|root| root.announce);
            announced.for_each(|root| board.set(root.cid, true));
        }
        Ok(Err(error)) => tracing::warn!(%error, "shares cannot be announced"),
        Err(_) => {}
    }
}

/// Tells the DHT what the board says, for ever.
pub(crate) async fn run(board: &Board, kad: cardume_kad::Handle) {
    let mut wanted: BTreeMap<Cid, bool> = BTreeMap::new();
    let mut queue: VecDeque<(Cid, Duration)> = VecDeque::new();
    let mut telling: FuturesUnordered<BoxFuture<'static, Told>> = FuturesUnordered::new();
    loop {
        for (cid, announced) in board.take() {
            wanted.insert(cid, announced);
            queue.push_back((cid, FIRST_PAUSE));
        }
        while telling.len() < MAX_TELLING {
            let Some((cid, pause)) = queue.pop_front() else {
                break;
            };
            if let Some(announced) = wanted.get(&cid) {
                telling.push(tell(kad.clone(), cid, *announced, pause).boxed());
            }
        }
        tokio::select! {
            () = board.changed.notified() => {}
            Some((cid, announced, told)) = telling.next() => match told {
                // It may have been changed back meanwhile; then it is queued again.
                Ok(()) if wanted.get(&cid) == Some(&announced) => {
                    wanted.remove(&cid);
                }
                Ok(()) => {}
                Err(pause) => queue.push_back((cid, pause)),
            },
        }
    }
}

/// Tells one root; on failure, after a pause, how long the next pause is.
async fn tell(kad: cardume_kad::Handle, cid: Cid, announced: bool, pause: Duration) -> Told {
    let key = provider_key(cid);
    let told = if announced {
        kad.provide(key).await
    } else {
        kad.withdraw(key).await.map_err(Into::into)
    };
    match told {
        Ok(()) => (cid, announced, Ok(())),
        // There is no DHT here, and there will be none.
        Err(cardume_kad::KadError::Closed(_)) => (cid, announced, Ok(())),
        Err(error) => {
            tracing::debug!(%cid, %error, "a root could not be announced yet");
            tokio::time::sleep(pause).await;
            (cid, announced, Err((pause * 2).min(LAST_PAUSE)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardume_content::Hash;
    use cardume_store::{Config, Root, Store};

    #[tokio::test]
    async fn a_root_that_is_not_to_be_announced_is_not_even_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let database = redb::Database::create(dir.path().join("db")).unwrap();
        let store = Store::open(&dir.path().join("store"), database.into(), &Config::default()).unwrap();
        let [told, silent] = [b"told", b"mute"].map(|bytes| Cid::blob(Hash::of(bytes)));
        for cid in [told, silent] {
            let root = Root {
                cid,
                name: "a name".into(),
                size: 4,
                files: 1,
                path: None,
                pinned: false,
                announce: cid == told,
                allow: None,
                added: 0,
            };
            store.add_root(root).unwrap();
        }
        let board = Board::default();
        all(&Disk::new(store, 1), &board).await;
        assert_eq!(board.take(), BTreeMap::from([(told, true)]));
    }
}
