//! What runs: the requests to all hosts.
use std::sync::Arc;

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Pace, handle::Command, host::Hosts, read};

/// Requests taken up at once, with those that wait for their turn; more wait with whoever asks.
const MAX_TAKEN: usize = 256;

/// Runs the requests. All of them in one task: decrypting is what they cost.
pub struct Server {
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) pace: Pace,
    pub(crate) commands: mpsc::Receiver<Command>,
}

impl Server {
    /// Runs until `stop`, or until nobody can ask any more.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut reading = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                command = self.commands.recv(), if reading.len() < MAX_TAKEN => match command {
                    Some(command) => {
                        reading.push(read::serve(self.hosts.clone(), self.pace.clone(), command).boxed());
                    }
                    None if reading.is_empty() => return,
                    None => {
                        let _: Option<()> = reading.next().await;
                    }
                },
                Some(()) = reading.next() => {}
            }
        }
    }
}
