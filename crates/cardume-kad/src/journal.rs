//! Writing behind: from the swarm's task to the disk.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libp2p_identity::PeerId;
use libp2p_kad::RecordKey as Key;
use multiaddr::Multiaddr;
use redb::Database;
use tokio::{sync::mpsc, time};

use crate::{
    disk,
    records::{Announcement, Held},
};

/// Changes that may wait for the disk.
const QUEUE: usize = 4096;

/// Bytes of values that may wait for the disk; without it 4,096 values of 64 KiB would be 256 MiB.
const QUEUE_BYTES: usize = 4 << 20;

/// How long changes gather before they are committed together: one `fsync` for all of them.
const GATHER: Duration = Duration::from_secs(5);

/// Changes in one transaction, so that other writers of the database wait for milliseconds.
const BATCH: usize = 1024;

/// One row that differs from what is on disk.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    PutValue(Held),
    DropValue(Key),
    PutProvider(Announcement),
    DropProvider(Key, PeerId),
    PutPeer(PeerId, Vec<Multiaddr>),
    DropPeer(PeerId),
    /// Keys of ours that others have just been told of.
    Announced(Vec<Key>),
    Withdrawn(Key),
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::PutValue(held) => held.record.value.len(),
            _ => 0,
        }
    }
}

/// The swarm's end of the queue to the disk: never waits.
#[derive(Debug)]
pub(crate) struct Journal {
    changes: mpsc::Sender<Change>,
    bytes: Arc<AtomicUsize>,
    paused: bool,
    lost: u64,
}

/// Keeps the DHT's records on disk.
#[derive(Debug)]
pub struct Server {
    database: Arc<Database>,
    changes: mpsc::Receiver<Change>,
    bytes: Arc<AtomicUsize>,
    stale: Vec<disk::RowId>,
}

/// Makes both ends; `stale` rows are dropped first.
pub(crate) fn open(database: Arc<Database>, stale: Vec<disk::RowId>) -> (Journal, Server) {
    let (sender, changes) = mpsc::channel(QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    let journal = Journal {
        changes: sender,
        bytes: Arc::clone(&bytes),
        paused: false,
        lost: 0,
    };
    let server = Server {
        database,
        changes,
        bytes,
        stale,
    };
    (journal, server)
}

impl Journal {
    /// Leaves changes out while `paused`: what comes from the disk does not go back to it.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Changes that found the queue full.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn push(&mut self, change: Change) {
        if self.paused {
            return;
        }
        let bytes = change.bytes();
        let fits = self.bytes.load(Ordering::Relaxed) + bytes <= QUEUE_BYTES;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if !fits || self.changes.try_send(change).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.lost += 1;
        }
    }
}

impl Server {
    /// Writes until the behaviour is gone and everything queued is on disk.
    ///
    /// A write that fails is logged and its rows are lost; the DHT goes on without them.
    ///
    /// # Cancel safety
    /// Dropping the future loses what was not yet committed.
    pub async fn run(mut self) {
        let stale = std::mem::take(&mut self.stale);
        if !stale.is_empty() {
            self.blocking(move |database| disk::remove(database, &stale))
                .await;
        }
        let mut batch = Vec::new();
        while self.changes.recv_many(&mut batch, BATCH).await > 0 {
            self.gather(&mut batch).await;
            let bytes = batch.iter().map(Change::bytes).sum();
            let changes = std::mem::take(&mut batch);
            self.blocking(move |database| disk::write(database, &changes))
                .await;
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Waits for more, until the batch is full, the time is up or there is no more.
    async fn gather(&mut self, batch: &mut Vec<Change>) {
        let end = time::Instant::now() + GATHER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match time::timeout_at(end, self.changes.recv_many(batch, room)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    async fn blocking<F>(&self, work: F)
    where
        F: FnOnce(&Database) -> Result<(), redb::Error> + Send + 'static,
    {
        let database = Arc::clone(&self.database);
        match tokio::task::spawn_blocking(move || work(&database)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "records of the DHT were not saved"),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going down and takes no more blocking work.
            Err(_) => {}
        }
    }
}
