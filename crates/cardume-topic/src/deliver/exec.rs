//! A command run for each message.
use std::path::Path;

use cardume_program::{Run, RunError};
use futures::{StreamExt, stream::FuturesUnordered};

use super::Tally;
use crate::{Exec, Item, Reader, Received};

/// Runs the command for each message, at most `concurrency` at once.
pub(super) async fn run(exec: &Exec, mut reader: Reader, tally: &Tally) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(ended) = running.next() => match ended {
                Ok(()) => tally.deliver(1),
                Err(error) => tally.fail(RunError::to_string(&error)),
            },
            item = reader.next(), if running.len() < exec.concurrency => match item {
                Some((Item::Message(message), _)) => running.push(once(exec, message)),
                Some((Item::Lost(count), _)) => tally.lose(count.unwrap_or(1)),
                None => return,
            },
        }
    }
}

async fn once(exec: &Exec, message: Received) -> Result<(), RunError> {
    let run = Run {
        argv: &exec.command,
        variables: vec![
            ("TOPIC_NAME", (&*message.topic).into()),
            ("TOPIC_FROM", message.from.to_string().into()),
            ("TOPIC_ID", message.id.to_string().into()),
        ],
        directory: Path::new("/"),
        input: &message.data,
        limit: exec.timeout.get(),
    };
    let said =
        |line: &str| tracing::info!(topic = %message.topic, id = %message.id, line, "the command says");
    run.run(said).await
}
