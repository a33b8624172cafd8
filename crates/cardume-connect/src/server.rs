//! Keeps the address book on disk.
use std::{io, path::PathBuf, time::Duration};

use tokio::task::spawn_blocking;

use crate::book::{file, reader::Shared};

/// The book is written at most once in this time, however often peers come and go.
const PAUSE: Duration = Duration::from_secs(5);
/// A disk that is full stays so for a while; nobody reads the same warning every few seconds.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(300);

/// Writes the address book down when it has changed.
pub struct Server {
    book: Shared,
    path: PathBuf,
}

impl Server {
    pub(crate) fn new(book: Shared, path: PathBuf) -> Self {
        Self { book, path }
    }

    /// Runs until `stop` ends, and then writes what is left.
    ///
    /// A file that cannot be written is reported and tried again later; the node goes on without it.
    ///
    /// # Cancel safety
    /// Dropping it loses at most the changes of the last seconds; the file stays whole.
    pub async fn run(self, stop: impl Future) {
        tokio::select! {
            () = self.keep() => {}
            _ = stop => {}
        }
        let _ = self.write().await;
    }

    async fn keep(&self) {
        loop {
            self.book.changed().await;
            tokio::time::sleep(PAUSE).await;
            if !self.write().await {
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }

    /// Whether the file has what it should.
    async fn write(&self) -> bool {
        let Some(peers) = self.book.take_changed() else {
            return true;
        };
        let path = self.path.clone();
        let written = spawn_blocking(move || file::save(&path, peers)).await;
        let Err(error) = written.map_err(io::Error::other).flatten() else {
            return true;
        };
        self.book.put_back();
        tracing::warn!(file = %self.path.display(), %error, "the address book cannot be written");
        false
    }
}
