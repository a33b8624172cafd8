//! What keeps the time.
use std::sync::Arc;

use super::{gate::clock, handle::Shared};

/// Lets those through whose turn has come, and changes the limits when their time comes.
///
/// Once it is dropped nothing is limited any more, so that a node that stops is not held up.
#[derive(Debug)]
pub struct Server(pub(super) Arc<Shared>);

impl Server {
    /// Runs until `stop` ends. It sleeps as long as nobody waits and no other limits are due.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let Self(shared) = &self;
        loop {
            let now = clock();
            let times = [
                shared.look(now),
                shared.upload.turn(now),
                shared.download.turn(now),
            ];
            let next = times.into_iter().flatten().min();
            tokio::select! {
                () = &mut stop => return,
                () = shared.changed.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn sleep_until(next: Option<std::time::Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next.into()).await,
        None => std::future::pending().await,
    }
}
