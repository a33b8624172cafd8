//! Waits: for operations, for the user's Ctrl-C.
use std::{future::Future, pin::pin};

use cardume_api::{Client, ClientError, Operation, Outcome, Problem, State};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    failure::{Ended, status},
    out::Out,
    progress::Display,
};

/// Runs `work` unless the user interrupts it.
///
/// # Errors
/// When interrupted: with what the exit status is to be.
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T, Ended> {
    Interrupts::heard_from_now().unless(work).await
}

/// Waits for SIGINT or SIGTERM, and tells the exit status for it.
pub(super) async fn interrupted() -> u8 {
    Interrupts::heard_from_now().heard().await
}

/// SIGINT and SIGTERM, heard from the moment this is made, also while nobody waits.
///
/// Made before a daemon is asked to begin something: a signal that comes before the answer would otherwise end the
/// program at once and leave the operation behind.
pub(super) struct Interrupts(Option<(Signal, Signal)>);

impl Interrupts {
    pub(super) fn heard_from_now() -> Self {
        let both = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        Self(both.0.ok().zip(both.1.ok()))
    }

    async fn heard(&mut self) -> u8 {
        let Some((interrupt, terminate)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => status::INTERRUPTED,
            _ = terminate.recv() => status::TERMINATED,
        }
    }

    /// Runs `work` unless the user interrupts it, or has done so.
    pub(super) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        tokio::select! {
            done = &mut work => Ok(done),
            status = self.heard() => Err(Ended::new(status, "interrupted")),
        }
    }
}

/// Has an operation begin, waits for it while showing it, and hands on what came of it.
///
/// # Errors
/// The problem it failed with; when interrupted, the operation is cancelled.
pub(super) async fn finish(
    client: &Client,
    begin: impl Future<Output = Result<Operation, ClientError>>,
    out: &Out,
) -> anyhow::Result<Outcome> {
    let interrupts = Interrupts::heard_from_now();
    follow(client, &begin.await?, interrupts, out).await
}

/// The same for an operation that has begun; `interrupts` were heard before.
pub(super) async fn follow(
    client: &Client,
    operation: &Operation,
    mut interrupts: Interrupts,
    out: &Out,
) -> anyhow::Result<Outcome> {
    let mut display = Display::new(out);
    let waiting = client.wait(operation, |now| display.show(now));
    match interrupts.unless(waiting).await {
        Ok(ended) => outcome(ended?),
        Err(interrupted) => {
            client.cancel(&operation.id).await.ok();
            Err(interrupted.into())
        }
    }
}

/// What came of an operation that has ended.
pub(super) fn outcome(ended: Operation) -> anyhow::Result<Outcome> {
    match (ended.state, ended.result, ended.error) {
        (State::Done, Some(outcome), _) => Ok(outcome),
        (_, _, Some(failure)) => Err(Problem::from(failure).into()),
        (state, ..) => Err(Ended::new(status::FAILED, format!("the operation ended as {state:?}")).into()),
    }
}

/// The daemon and this program do not agree on what an operation is.
pub(super) fn unexpected() -> Ended {
    Ended::new(
        status::FAILED,
        "the daemon's answer is for another question; is it of another version?",
    )
}
