//! What a watchdog asks a node: whether its parts still turn.

use cardume_content::Hash;
use cardume_transfer::rates::Report;

use crate::Node;

impl Node {
    /// Waits for a turn of the swarm, and tells how many peers are connected.
    ///
    /// Nothing on the way is answered by anybody else: a swarm that has stopped turning never ends this, and nor
    /// does one that has been let go.
    pub async fn swarm_turned(&self) -> usize {
        match self.connect().peers().await {
            Ok(peers) => peers.len(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the store has looked something up, whatever it found.
    ///
    /// It is read from, through the locks and the database that every request takes. It is not written to: a disk
    /// that is slow, or has failed, is not mended by a new start, and is told of otherwise.
    pub async fn store_turned(&self) {
        let (store, nothing) = (self.store().clone(), Hash::of(b""));
        let looked = tokio::task::spawn_blocking(move || drop(store.presence(nothing)));
        if looked.await.is_err() {
            std::future::pending().await
        }
    }

    /// How fast content may go, and how fast it goes.
    pub fn traffic(&self) -> Report {
        self.rates().report()
    }
}
