//! Keeps the address book on disk.
use std::{io, path::PathBuf, time::Duration};

use tokio::task::spawn_blocking;

use crate::book::{behaviour::Shared, file};

/// The book is written at most once in this time, however often peers come and go.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes the address book down when it has changed.
pub struct Server {
    book: Shared,
    path: PathBuf,
    pause: Duration,
}

impl Server {
    pub(crate) fn new(book: Shared, path: PathBuf) -> Self {
        Self {
            book,
            path,
            pause: PAUSE,
        }
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
        self.write().await;
    }

    async fn keep(&self) {
        loop {
            self.book.changed().await;
            tokio::time::sleep(self.pause).await;
            self.write().await;
        }
    }

    async fn write(&self) {
        let Some(peers) = self.book.lock().take_changed() else {
            return;
        };
        let path = self.path.clone();
        let written = spawn_blocking(move || file::save(&path, peers)).await;
        if let Err(error) = written.map_err(io::Error::other).flatten() {
            self.book.lock().put_back();
            tracing::warn!(file = %self.path.display(), %error, "the address book cannot be written");
        }
    }
}
