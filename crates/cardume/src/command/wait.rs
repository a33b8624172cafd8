//! Waits: for operations, for the user's Ctrl-C.
use std::{future::Future, pin::pin};

use cardume_api::{Client, Operation, Outcome, Problem, State};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    failure::{Ended, status},
    out::Out,
    progress::Display,
};

/// Runs `work` unless the user interrupts it; `None` then, with what the exit status is to be.
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T, Ended> {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => Ok(done),
        status = interrupted() => Err(Ended::new(status, "interrupted")),
    }
}

/// Waits for SIGINT or SIGTERM, and tells the exit status for it.
pub(super) async fn interrupted() -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => status::INTERRUPTED,
        _ = terminate.recv() => status::TERMINATED,
    }
}

/// Waits for an operation while showing it, and hands on what came of it.
///
/// # Errors
/// The problem it failed with; when interrupted, the operation is cancelled.
pub(super) async fn finish(client: &Client, operation: &Operation, out: &Out) -> anyhow::Result<Outcome> {
    let mut display = Display::new(out);
    let waiting = client.wait(operation, |now| display.show(now));
    match unless_interrupted(waiting).await {
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
