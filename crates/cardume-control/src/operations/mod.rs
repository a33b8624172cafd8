//! Long work: a bounded table of what runs and what has ended.
mod care;
mod fetch;
mod hash;
mod table;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use cardume_api::{Code, Event, Failure, Kind, Operation, Outcome, Phase, Progress, State};
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::table::Table;
pub(crate) use self::{
    care::{collect, measure, repair},
    fetch::{fetch, resume},
    hash::{Given, now, share, share_again, verify},
};
use crate::{
    events::Events,
    problem::{Refused, Result},
};

/// Operations at once. Each holds some memory, and a thread or a place in the exchange's queue.
const MAX_RUNNING: usize = 64;
/// How often progress is told at most; faster, and it pushes other events out of the ring.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Work to be driven by the server.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What runs and what has ended. The work itself is driven by the server, which gets it through a channel: it ends
/// with the server and needs no tasks of its own.
pub(crate) struct Operations {
    table: Mutex<Table>,
    starts: mpsc::Sender<Work>,
    events: Arc<Events>,
    stop: CancellationToken,
}

impl Operations {
    /// Makes an empty table, and the other end that work comes out of. `stop` ends work that must not outlast the
    /// server.
    pub(crate) fn new(events: Arc<Events>, stop: CancellationToken) -> (Arc<Self>, mpsc::Receiver<Work>) {
        let (starts, work) = mpsc::channel(MAX_RUNNING);
        let operations = Self {
            table: Mutex::new(Table::default()),
            starts,
            events,
            stop,
        };
        (Arc::new(operations), work)
    }

    /// Begins an operation; `work` runs in the server from now on.
    ///
    /// # Errors
    /// `limit` when too many run, `unavailable` when the node stops.
    pub(crate) fn start<F>(
        self: &Arc<Self>,
        kind: Kind,
        subject: String,
        work: impl FnOnce(Ticket) -> F,
    ) -> Result<Operation>
    where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        if self.stop.is_cancelled() {
            return Err(Refused::stopping());
        }
        let place = self.starts.try_reserve().map_err(|_| too_many())?;
        let cancel = self.stop.child_token();
        let mut table = self.table();
        if table.running() >= MAX_RUNNING {
            return Err(too_many());
        }
        let operation = table.begin(self.events.epoch(), kind, subject, cancel.clone());
        drop(table);
        let ticket = Ticket {
            operations: self.clone(),
            id: operation.id.clone(),
            cancel,
            told: None,
        };
        self.events
            .publish(&Event::Operation(Box::new(operation.clone())));
        let ending = Ending(ticket.clone());
        let work = AssertUnwindSafe(work(ticket)).catch_unwind();
        place.send(Box::pin(async move {
            let result = work.await.unwrap_or_else(|_| {
                tracing::error!(operation = ending.0.id, "an operation panicked");
                Err(Refused::new(
                    Code::Failed,
                    "a fault in the node; its log says more",
                ))
            });
            ending.0.end(result);
        }));
        Ok(operation)
    }

    pub(crate) fn list(&self) -> Vec<Operation> {
        self.table().list()
    }

    pub(crate) fn running(&self) -> usize {
        self.table().running()
    }

    /// How many have ended since the start, by kind and state.
    pub(crate) fn ended(&self) -> Vec<(Kind, State, u64)> {
        self.table().counts()
    }

    /// # Errors
    /// `not_found`.
    pub(crate) fn find(&self, id: &str) -> Result<Operation> {
        self.table().find(id).ok_or_else(|| unknown(id))
    }

    /// Cancels an operation if it runs.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn cancel(&self, id: &str) -> Result<()> {
        // Cancelled after the table is let go: it wakes tasks.
        let found = self.table().cancellation(id).ok_or_else(|| unknown(id))?;
        if let Some(cancel) = found {
            cancel.cancel();
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table
            .lock()
            .expect("nothing panics while it holds the table")
    }
}

fn too_many() -> Refused {
    Refused::new(
        Code::Limit,
        format!("{MAX_RUNNING} operations run already; wait for one to end"),
    )
}

fn unknown(id: &str) -> Refused {
    Refused::not_found(format!(
        "no operation has the id {id:?}, or it ended too long ago"
    ))
}

/// A running operation's hold on its entry.
#[derive(Clone)]
pub(crate) struct Ticket {
    operations: Arc<Operations>,
    id: String,
    cancel: CancellationToken,
    told: Option<(Instant, Phase)>,
}

impl Ticket {
    /// Cancelled when somebody cancels the operation, or the server stops.
    pub(crate) const fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether the server stops, and not just this operation.
    fn is_stopping(&self) -> bool {
        self.operations.stop.is_cancelled()
    }

    /// Keeps how far the work is, and tells it now and then.
    pub(crate) fn advance(&mut self, progress: Progress) {
        let now = Instant::now();
        let phase = progress.phase;
        let operation = self.operations.table().advance(&self.id, progress);
        let due = self
            .told
            .is_none_or(|(then, told)| told != phase || now - then >= TELL_EVERY);
        if let Some(operation) = operation.filter(|_| due) {
            self.told = Some((now, phase));
            self.operations
                .events
                .publish(&Event::Operation(Box::new(operation)));
        }
    }

    fn end(&self, result: Result<Outcome>) {
        let (state, result) = match result {
            Ok(outcome) => (State::Done, Ok(outcome)),
            Err(_) if self.cancel.is_cancelled() => (State::Cancelled, Err(self.why_cancelled())),
            Err(refused) => (State::Failed, Err(Failure::from(refused))),
        };
        let ended = self.operations.table().end(&self.id, state, result);
        if let Some(operation) = ended {
            self.operations
                .events
                .publish(&Event::Operation(Box::new(operation)));
        }
    }

    fn why_cancelled(&self) -> Failure {
        let refused = if self.is_stopping() {
            Refused::stopping()
        } else {
            Refused::new(Code::Cancelled, "cancelled")
        };
        refused.into()
    }
}

/// Ends the entry of work that is dropped before it is done.
struct Ending(Ticket);

impl Drop for Ending {
    fn drop(&mut self) {
        // Nothing happens where it has ended.
        self.0.end(Err(Refused::stopping()));
    }
}
